/**
 * Tests endpoints that misbehave on a real socket: each attempt ends in a fixed outcome, and the
 * next one is clean (SEP: Answers).
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { describe, test } from 'vitest';
import { gzipSync } from 'node:zlib';
import { createEgress } from '../../../../src/server/callback/egress/egress.ts';
import { CALLBACK_ANSWER_BYTES_MAX } from '../../../../src/protocol/wire/limits.ts';
import { answer, bodyOf, closing, endpoint, request, outcomeOf, type Endpoint } from './support.ts';

const DEADLINE_MS = 400;
const GOOD = answer('200 OK', '{"ackSequence":7}');

interface Misbehavior {
  readonly does: (socket: Socket) => void;
  readonly outcome: string;
  /** The body that is kept when the attempt gets a response. */
  readonly body?: string;
}

const bomb = gzipSync(Buffer.alloc(16 << 20));

const MISBEHAVIORS: Readonly<Record<string, Misbehavior>> = {
  'closes at once': { does: (s) => s.destroy(), outcome: 'connection_refused' },
  'half-closes at once': { does: (s) => s.end(), outcome: 'connection_refused' },
  resets: { does: (s) => s.resetAndDestroy(), outcome: 'connection_refused' },
  'resets after the headers': {
    does: (s) => s.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n', () => s.resetAndDestroy()),
    outcome: 'connection_refused',
  },
  'resets in the body': {
    does: (s) =>
      s.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"ac', () => s.resetAndDestroy()),
    outcome: 'connection_refused',
  },
  'speaks garbage': { does: (s) => s.end('\x16\x03\x01\x02\x00'), outcome: 'connection_refused' },
  'speaks another protocol': {
    does: (s) => s.end('220 mail.example ESMTP\r\n'),
    outcome: 'connection_refused',
  },
  'sends half of the headers and closes': {
    does: (s) => s.end('HTTP/1.1 200 OK\r\ncontent-le'),
    outcome: 'connection_refused',
  },
  'sends half of the headers and stops': {
    does: (s) => s.write('HTTP/1.1 200 OK\r\ncontent-le'),
    outcome: 'timeout',
  },
  'promises more than it sends': {
    does: (s) => s.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort'),
    outcome: 'connection_refused',
  },
  'promises more than it sends and stops': {
    does: (s) => s.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort'),
    outcome: 'timeout',
  },
  'ends a chunked body early': {
    does: (s) => s.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{"a'),
    outcome: 'connection_refused',
  },
  'sends a length and chunks together': {
    does: (s) =>
      s.end('HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'),
    outcome: 'connection_refused',
  },
  'sends two lengths': {
    does: (s) => s.end('HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd'),
    outcome: 'connection_refused',
  },
  'breaks a header line': {
    does: (s) => s.end('HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n'),
    outcome: 'connection_refused',
  },
  'floods with 1,000 interim answers': {
    does: (s) => s.end('HTTP/1.1 102 Processing\r\n\r\n'.repeat(1000) + answer('204 No Content')),
    outcome: 'connection_refused',
  },
  'trickles interim answers': {
    does: (s) => every(20, s, 'HTTP/1.1 102 Processing\r\n\r\n'),
    outcome: 'connection_refused',
  },
  'sends two interim answers, then a good one': {
    does: (s) => s.write('HTTP/1.1 102 Processing\r\n\r\n'.repeat(2) + GOOD),
    outcome: 'response 200',
    body: '{"ackSequence":7}',
  },
  'answers 100': {
    does: (s) => s.end('HTTP/1.1 100 Continue\r\n\r\n' + GOOD),
    outcome: 'connection_refused',
  },
  'answers 101': {
    does: (s) =>
      s.end('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
    outcome: 'connection_refused',
  },
  'answers 999': {
    does: (s) => s.write(answer('999 X', '{"ackSequence":7}')),
    outcome: 'response 999',
    body: '',
  },
  'answers 600': { does: (s) => s.write(answer('600 X')), outcome: 'response 600', body: '' },
  'sends a header of 32 KiB': {
    does: (s) => s.end(`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(32_768)}\r\ncontent-length: 0\r\n\r\n`),
    outcome: 'connection_refused',
  },
  'sends endless headers': {
    does: (s) => every(1, s, `x-${'a'.repeat(500)}: b\r\n`, 'HTTP/1.1 200 OK\r\n'),
    outcome: 'connection_refused',
  },
  'sends two responses': {
    does: (s) => s.write(GOOD + answer('500 X', '{"ackSequence":9}')),
    outcome: 'response 200',
    body: '{"ackSequence":7}',
  },
  'sends a response and garbage': {
    does: (s) => s.write(`${GOOD}\x16\x03\x01`),
    outcome: 'response 200',
    body: '{"ackSequence":7}',
  },
  'sends 8 KiB': {
    does: (s) => s.write(answer('200 OK', 'y'.repeat(8192))),
    outcome: 'response 200',
    body: 'y'.repeat(8192),
  },
  'sends 8 KiB and one byte': {
    does: (s) => s.write(answer('200 OK', 'y'.repeat(8193))),
    outcome: 'response 200',
    body: 'y'.repeat(8192),
  },
  'sends 64 KiB': {
    does: (s) => s.write(answer('200 OK', 'y'.repeat(65_536))),
    outcome: 'response 200',
    body: 'y'.repeat(8192),
  },
  'sends an endless body': {
    does: (s) => every(1, s, 'y'.repeat(4096), 'HTTP/1.1 200 OK\r\n\r\n'),
    outcome: 'response 200',
    body: 'y'.repeat(8192),
  },
  'drips a body': {
    does: (s) => every(50, s, 'y', 'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n'),
    outcome: 'timeout',
  },
  'drips headers': {
    does: (s) => every(50, s, 'x: y\r\n', 'HTTP/1.1 200 OK\r\n'),
    outcome: 'timeout',
  },
  'says nothing': { does: () => undefined, outcome: 'timeout' },
  'sends a compressed bomb': {
    does: (s) =>
      s.write(
        Buffer.concat([
          Buffer.from(
            `HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${bomb.length}\r\n\r\n`,
          ),
          bomb,
        ]),
      ),
    outcome: 'response 200',
    body: bomb.subarray(0, 8192).toString('latin1'),
  },
  'claims a keep-alive of a year': {
    does: (s) => s.write(answer('200 OK', '{"ackSequence":7}', 'keep-alive: timeout=31536000\r\n')),
    outcome: 'response 200',
    body: '{"ackSequence":7}',
  },
};

function every(ms: number, socket: Socket, chunk: string, first = ''): void {
  if (first) socket.write(first);
  const timer = setInterval(() => socket.write(chunk), ms);
  socket.on('close', () => clearInterval(timer)).on('error', () => clearInterval(timer));
}

describe('an endpoint that', () => {
  for (const [what, { does, outcome, body }] of Object.entries(MISBEHAVIORS)) {
    test(`[cb-deadline] ${what} → ${outcome}, and the next attempt is clean`, async (t) => {
      const peer = await endpoint(t, (socket, count) =>
        count === 1 ? does(socket) : void socket.write(GOOD),
      );
      const egress = closing(
        t,
        createEgress({ unsafeAllowHttpLoopback: true, connectionsPerOrigin: 1 }),
      );
      // Every other outcome comes long before this deadline, also on a busy machine.
      const deadlineMs = outcome === 'timeout' ? DEADLINE_MS : 10_000;
      const result = await egress.post(request(peer.url, { deadlineMs }));
      assert.equal(outcomeOf(result), outcome);
      if (body !== undefined) assert.equal(bodyOf(result), body);
      if (result.kind === 'response') assert.ok(result.body.length <= CALLBACK_ANSWER_BYTES_MAX);
      const next = await egress.post(request(peer.url));
      assert.equal(outcomeOf(next), 'response 200');
      assert.equal(bodyOf(next), '{"ackSequence":7}');
    });
  }

  test('is not there → connection_refused', async (t) => {
    const peer = await endpoint(t, () => undefined);
    const egress = closing(t, createEgress({ unsafeAllowHttpLoopback: true }));
    const free = peer.port === 1 ? 2 : 1;
    assert.equal(
      outcomeOf(await egress.post(request(`http://127.0.0.1:${free}/`))),
      'connection_refused',
    );
  });
});

describe('an invalid response closes the connection', () => {
  const fresh = [
    'answers 999',
    'sends two responses',
    'sends a response and garbage',
    'sends 8 KiB and one byte',
    'sends 64 KiB',
    'drips a body',
    'sends a compressed bomb',
  ];
  for (const what of fresh) {
    test(`after an endpoint that ${what} another connection is used`, async (t) => {
      const { does } = MISBEHAVIORS[what] as Misbehavior;
      const peer = await endpoint(t, (socket, count) =>
        count === 1 ? does(socket) : void socket.write(GOOD),
      );
      const egress = closing(
        t,
        createEgress({ unsafeAllowHttpLoopback: true, connectionsPerOrigin: 1 }),
      );
      await egress.post(request(peer.url, { deadlineMs: DEADLINE_MS }));
      await egress.post(request(peer.url));
      assert.equal(peer.connections(), 2);
      await until(() => peer.open() <= 1);
    });
  }

  test('control: after a good response the connection is kept', async (t) => {
    const peer = await endpoint(t, (socket) => socket.write(GOOD));
    const egress = closing(
      t,
      createEgress({ unsafeAllowHttpLoopback: true, connectionsPerOrigin: 1 }),
    );
    for (let i = 0; i < 5; i++)
      assert.equal(outcomeOf(await egress.post(request(peer.url))), 'response 200');
    assert.equal(peer.connections(), 1);
  });
});

describe('bounds', () => {
  for (const status of ['300 X', '301 X', '302 X', '303 X', '304 X', '305 X', '307 X', '308 X']) {
    test(`[ans-no-redirect] ${status.slice(0, 3)} is answered without another request`, async (t) => {
      const elsewhere = await endpoint(t, (socket) => socket.end(GOOD));
      const peer = await endpoint(t, (socket) =>
        socket.end(
          answer(status, '', `location: ${elsewhere.url}\r\nrefresh: 0; url=${elsewhere.url}\r\n`),
        ),
      );
      const egress = closing(t, createEgress({ unsafeAllowHttpLoopback: true }));
      assert.equal(
        outcomeOf(await egress.post(request(peer.url))),
        `response ${status.slice(0, 3)}`,
      );
      assert.equal(peer.received.length, 1);
      assert.equal(elsewhere.connections(), 0);
    });
  }

  test('connections to one origin are limited, and idle ones are closed', async (t) => {
    const peer = await endpoint(t, (socket) => void setTimeout(() => socket.write(GOOD), 5));
    const egress = closing(
      t,
      createEgress({
        unsafeAllowHttpLoopback: true,
        connectionsPerOrigin: 4,
        timeouts: { idleMs: 100 },
      }),
    );
    const results = await Promise.all(
      Array.from({ length: 60 }, () => egress.post(request(peer.url))),
    );
    assert.ok(results.every((result) => outcomeOf(result) === 'response 200'));
    assert.equal(peer.connections(), 4);
    await until(() => peer.open() === 0);
  });

  test('[cb-deadline] the deadline covers name resolution', async (t) => {
    const silent = closing(
      t,
      createEgress({ lookup: () => undefined, timeouts: { connectMs: 600 } }),
    );
    assert.equal(
      outcomeOf(await silent.post(request('https://receiver.example/', { deadlineMs: 50 }))),
      'timeout',
    );
  });

  test('[cb-deadline] the deadline covers the wait for a connection: a request that expires in the queue is never sent', async (t) => {
    let waiting = (_: Socket): void => undefined;
    const asked = new Promise<Socket>((resolve) => {
      waiting = resolve;
    });
    const peer = await endpoint(t, (socket, count) =>
      count === 1 ? waiting(socket) : void socket.write(GOOD),
    );
    const egress = closing(
      t,
      createEgress({ unsafeAllowHttpLoopback: true, connectionsPerOrigin: 1 }),
    );
    const first = egress.post(request(peer.url));
    const queued = await Promise.all(
      [1, 2].map(() => egress.post(request(peer.url, { deadlineMs: DEADLINE_MS }))),
    );
    assert.deepEqual(queued.map(outcomeOf), ['timeout', 'timeout']);
    (await asked).write(GOOD);
    assert.equal(outcomeOf(await first), 'response 200');
    assert.equal(outcomeOf(await egress.post(request(peer.url))), 'response 200');
    assert.equal(requestsTo(peer), 2);
  });

  test('[cb-deadline] a queued request whose deadline has passed is not sent although its timer is late', async (t) => {
    const peer = await endpoint(t, (socket) => socket.write(GOOD));
    const egress = closing(
      t,
      createEgress({ unsafeAllowHttpLoopback: true, connectionsPerOrigin: 1 }),
    );
    const first = egress.post(request(peer.url)).then((result) => {
      // The client frees the connection once this has returned, before any timer runs.
      const end = performance.now() + 2 * DEADLINE_MS;
      while (performance.now() < end);
      return result;
    });
    const queued = egress.post(request(peer.url, { deadlineMs: DEADLINE_MS }));
    assert.equal(outcomeOf(await first), 'response 200');
    assert.equal(outcomeOf(await queued), 'timeout');
    assert.equal(outcomeOf(await egress.post(request(peer.url))), 'response 200');
    assert.equal(requestsTo(peer), 2);
  });

  test('one lost connection is one attempt: the client does not resend by itself', async (t) => {
    const peer = await endpoint(t, (socket, count) =>
      count === 2 ? socket.destroy() : void socket.write(GOOD),
    );
    const egress = closing(
      t,
      createEgress({ unsafeAllowHttpLoopback: true, connectionsPerOrigin: 1 }),
    );
    const outcomes = [];
    for (let i = 0; i < 3; i++) outcomes.push(outcomeOf(await egress.post(request(peer.url))));
    assert.deepEqual(outcomes, ['response 200', 'connection_refused', 'response 200']);
    assert.equal(requestsTo(peer), 3);
  });
});

const requestsTo = (peer: Endpoint): number =>
  peer.received.join('').match(/POST \/hook/g)?.length ?? 0;

/** Waits for a condition; gives up after far more time than it needs. */
async function until(holds: () => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`condition not met: ${holds.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
