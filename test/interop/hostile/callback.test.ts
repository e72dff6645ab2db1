/**
 * Tests requests to a callback from anyone: senders who know the URL or nothing, a server that
 * breaks the protocol, and the network in between.
 */
import { REVISION } from '../../../spec-schema/draft/schema.ts';
import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { connect as dial } from 'node:net';
import { describe, test } from 'vitest';
import { gzipSync } from 'node:zlib';
import { triggersClient } from '../../../src/client/client.ts';
import { connect } from '../../../src/client/sdk/connection.ts';
import type { CallbackEndpoint, Item } from '../../../src/client/options.ts';
import type { ReceiverItem } from '../../../src/receiver/applier.ts';
import type { RejectedRequestCode } from '../../../src/receiver/request.ts';
import { words } from '../../client/support.ts';
import { deliveryOf, mount, WHO, words as receiverWords } from '../../receiver/support.ts';
import { EPOCH, eventOf, HostilePeer, OTHER_EPOCH, OTHER_ID, pause, type Json } from './peer.ts';
import { ALL, violations, within } from './run-row.ts';

interface Target {
  readonly url: string;
  readonly secret: string;
}

/** Signs by hand, as any server would. */
function headersOf(
  body: Uint8Array,
  secret: string,
  { subscriptionId, at = Date.now() }: { subscriptionId: string; at?: number },
): Record<string, string> {
  const [id, timestamp] = [`msg_${randomBytes(12).toString('hex')}`, `${Math.floor(at / 1000)}`];
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const signature = createHmac('sha256', key)
    .update(`${id}.${timestamp}.`)
    .update(body)
    .digest('base64');
  return {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${signature}`,
    'mcp-subscription-id': subscriptionId,
  };
}
const bodyOf = (delivery: Json): Buffer =>
  Buffer.from(
    JSON.stringify({ jsonrpc: '2.0', method: 'notifications/triggers/delivery', params: delivery }),
  );

/** Status and error code of the answer. */
async function outcome(response: Promise<Response>): Promise<string> {
  const answer = await within(response);
  const said = (await answer.json()) as { ackSequence?: number; code?: string };
  return answer.status === 200 ? `ack ${said.ackSequence}` : `${answer.status} ${said.code}`;
}
const post = (
  target: Target,
  delivery: Json,
  more: { at?: number; secret?: string; headers?: Record<string, string> } = {},
): Promise<string> => {
  const body = bodyOf(delivery);
  return outcome(
    fetch(target.url, {
      method: 'POST',
      body,
      headers: {
        ...headersOf(body, more.secret ?? target.secret, {
          subscriptionId: delivery.subscriptionId,
          ...more,
        }),
        ...more.headers,
      },
    }),
  );
};

/** A client that waits for callbacks, and the peer that it is registered with. */
async function calling(
  run: (setting: {
    open: () => void;
    arrived: (count: number) => Promise<void>;
    peer: HostilePeer;
    target: Target;
    items: Item[];
    read: (count: number) => Promise<void>;
    send: (delivery: Json, more?: object) => Promise<string>;
  }) => Promise<void>,
  {
    error: expected,
    answerWithinMs = 15_000,
    busy = false,
  }: { error?: string; answerWithinMs?: number; busy?: boolean } = {},
): Promise<void> {
  await using mounted = await mount({ answerWithinMs });
  await using peer = await HostilePeer.start({
    settings: () => ({ revision: REVISION, levels: ['log', 'callback', 'durable'] }),
  });
  let taken = 0;
  const callback: CallbackEndpoint = {
    register: (who) => mounted.receiver.register(who),
    attach: (who, sink) =>
      mounted.receiver.attach(who, (delivery, signal) => {
        taken += 1;
        return sink(delivery, signal);
      }),
  };
  const client = triggersClient(await connect({ url: peer.url }, { protocol: '2026-07-28' }));
  const subscription = client.subscribe({
    select: [{ name: 'timer' }],
    key: 'k',
    drain: 'callback',
    callback,
    tuning: { backoff: { baseMs: 5, maxMs: 40 }, waitMs: 0, checkMs: 60_000, ackDelayMs: 5 },
  });
  const items: Item[] = [];
  let error: unknown;
  let open = (): void => undefined;
  const free = busy
    ? new Promise<void>((resolve) => {
        open = resolve;
      })
    : Promise.resolve();
  const reading = (async () => {
    for await (const item of subscription) {
      items.push(item);
      await free;
    }
  })().catch((thrown: unknown) => {
    error = thrown;
  });
  try {
    await within(subscription.ready());
    const target = peer.callback!;
    while (subscription.state.phase !== 'draining') await pause(2);
    const send = (delivery: Json, more = {}): Promise<string> => {
      peer.noteSent(delivery);
      return post(target, delivery, more);
    };
    const read = (count: number): Promise<void> =>
      within(
        (async () => {
          while (items.length < count) await pause(2);
        })(),
      );
    const arrived = (count: number): Promise<void> =>
      within(
        (async () => {
          while (taken < count) await pause(2);
        })(),
      );
    await run({ open, arrived, peer, target, items, read, send });
  } finally {
    open();
    await subscription.close().catch(() => undefined);
    await within(reading);
    await client.close();
  }
  assert.deepEqual(violations({ items, error, waits: [], peer }), []);
  assert.equal((error as { code?: string } | undefined)?.code, expected);
}

describe('callbacks of a server that breaks the protocol', { concurrent: true }, () => {
  test('every delivery fifty times, concurrently: acknowledged each time, read once', () =>
    calling(async ({ peer, items, send, read }) => {
      for (const from of [0, 2, 4]) {
        const said = await Promise.all(Array.from({ length: 50 }, () => send(peer.delivery(from))));
        assert.deepEqual([...new Set(said)], [`ack ${from + 2}`]);
      }
      await read(6);
      assert.deepEqual(words(items), ALL);
    }));

  test('all deliveries at once, in any order: missing ones are pulled, everything is read once', () =>
    calling(async ({ peer, items, send, read }) => {
      const said = await Promise.all([4, 2, 0, 2, 4, 0].map((from) => send(peer.delivery(from))));
      assert.ok(
        said.every((one) => /^(ack \d|503 (missing_numbers|no_progress|not_ready))$/.test(one)),
        said.join(', '),
      );
      peer.noteSent(peer.delivery(0, 6));
      await read(6);
      assert.deepEqual(words(items), ALL);
      assert.equal(await send(peer.delivery(4)), 'ack 6');
    }));

  test('[recv-left-epoch] a new epoch is reported and the old one rejected from then on, however often they alternate', () =>
    calling(async ({ peer, items, send, read }) => {
      assert.equal(await send(peer.delivery(0)), 'ack 2');
      const old = peer.delivery(2);
      peer.renew({ epoch: OTHER_EPOCH });
      assert.equal(await send(peer.delivery(0)), 'ack 2');
      for (let n = 0; n < 5; n++) {
        assert.equal(await send(old), '409 stale');
        assert.equal(await send(peer.delivery(0)), 'ack 2');
      }
      assert.equal(await send(peer.delivery(2, 4)), 'ack 6');
      await read(9);
      assert.deepEqual(words(items), ['1', '2', 'epoch 2→0', ...ALL]);
    }));

  test('a delivery and a termination notice of another subscription are rejected at once and end nothing', () =>
    calling(async ({ peer, items, send, read }) => {
      const other = { ...peer.delivery(0), subscriptionId: OTHER_ID };
      assert.equal(await send(other), '503 no_progress');
      for (const foreign of [
        { ...other, epoch: OTHER_EPOCH },
        { ...other, epoch: OTHER_EPOCH, events: [], terminated: { reason: 'revoked' } },
      ])
        assert.equal(await send(foreign), '409 stale');
      assert.equal(await send({ ...peer.delivery(0), key: 'another' }), '401 wrong_key');
      for (const from of [0, 2, 4])
        assert.equal(await send(peer.delivery(from)), `ack ${from + 2}`);
      await read(6);
      assert.deepEqual(words(items), ALL);
    }));

  test('its own termination notice ends the subscription, and nothing after it is read', () =>
    calling(
      async ({ peer, items, send, read }) => {
        assert.equal(await send(peer.delivery(0)), 'ack 2');
        await read(2);
        await send({ ...peer.delivery(2), terminated: { reason: 'revoked' } });
        assert.match(
          await send(peer.delivery(4)),
          /^503 (not_ready|no_progress|missing_numbers)$|^ack/,
        );
        assert.deepEqual(words(items), ALL.slice(0, 4));
      },
      { error: 'terminated' },
    ));

  test('the termination notice of a former epoch, while the application is busy, ends nothing', () =>
    calling(
      async ({ open, arrived, peer, items, send, read }) => {
        const said = [send(peer.delivery(0))];
        await read(1);
        const late = { ...peer.delivery(2, 0), terminated: { reason: 'revoked' } };
        peer.renew({ epoch: OTHER_EPOCH });
        said.push(send(peer.delivery(0)));
        await arrived(2);
        said.push(send(late));
        await arrived(3);
        open();
        await Promise.all(said);
        assert.equal(await send(peer.delivery(2, 4)), 'ack 6');
        await read(9);
        assert.deepEqual(words(items), ['1', '2', 'epoch 2→0', ...ALL]);
      },
      { busy: true, answerWithinMs: 2000 },
    ));

  test('hundreds of epochs at once, while the application is busy: at most a hundred wait, and the others are to be retried', () =>
    calling(
      async ({ open, peer, items, send, read }) => {
        const said = await Promise.all(
          Array.from({ length: 400 }, (_, n) =>
            send({
              ...peer.delivery(0, 0),
              epoch: `epoch-flood-${n}-aaaaaaaa`,
              head: 1,
              events: [eventOf(1, `flood${n}-`)],
            }),
          ),
        );
        assert.ok(
          said.every((one) =>
            /^(ack [01]|409 stale|503 (no_progress|missing_numbers|not_ready))$/.test(one),
          ),
          [...new Set(said)].join(', '),
        );
        open();
        await read(1);
        await pause(300);
        assert.ok(items.length <= 2 * 101 + 2, `${items.length} items`);
      },
      { busy: true, answerWithinMs: 800 },
    ));

  test('impossible numbers are rejected before they are processed', () =>
    calling(async ({ peer, items, send, read }) => {
      for (const wrong of [
        { events: [eventOf(2), eventOf(1)] },
        { events: [eventOf(1), eventOf(1)] },
        { events: [eventOf(0)] },
        { afterSequence: -1 },
        { head: 1 },
        { acked: 9 },
        { gaps: [{ from: 1, to: 2, reason: 'retention' }] },
        { epoch: 7 },
      ]) {
        assert.equal(await post(peer.callback!, { ...peer.delivery(0), ...wrong }), '400 body');
      }
      assert.equal(await send(peer.delivery(0, 6)), 'ack 6');
      await read(6);
      assert.deepEqual(words(items), ALL);
    }));
});

describe('callbacks from other senders', { concurrent: true }, () => {
  const one = deliveryOf(0, [1]);
  async function receiving(
    run: (setting: {
      target: Target;
      applied: ReceiverItem[];
      refused: RejectedRequestCode[];
      fetch: (request: Request) => Promise<Response>;
      endpoint: string;
    }) => Promise<void>,
  ): Promise<void> {
    const applied: ReceiverItem[] = [];
    const refused: RejectedRequestCode[] = [];
    await using mounted = await mount({
      apply: (item) => {
        applied.push(item);
      },
      onRejectedRequest: (code) => {
        refused.push(code);
      },
      answerWithinMs: 1500,
    });
    const target = await mounted.receiver.register(WHO);
    await run({
      target,
      applied,
      refused,
      endpoint: mounted.endpoint,
      fetch: (request) => mounted.receiver.fetch(request),
    });
    assert.ok(!refused.includes('internal'), 'no internal failure');
  }

  test('10,000 garbage requests reach no application, and the valid one among them is acknowledged', () =>
    receiving(async ({ target, applied, refused, fetch: handle, endpoint }) => {
      const body = bodyOf(one);
      const good = headersOf(body, target.secret, one);
      const junk = randomBytes(64);
      const garbage: readonly (() => Request)[] = [
        () => new Request(endpoint),
        () =>
          new Request(endpoint, {
            method: 'POST',
            body: junk,
            headers: { 'content-type': 'application/json' },
          }),
        () =>
          new Request(`${endpoint}?cb=${junk.toString('base64url')}`, {
            method: 'POST',
            body,
            headers: good,
          }),
        () => new Request(`${target.url}x`, { method: 'POST', body, headers: good }),
        () => new Request(target.url, { method: 'POST', body: junk, headers: good }),
        () =>
          new Request(target.url, {
            method: 'POST',
            body,
            headers: {
              ...good,
              'webhook-signature': `v1,${junk.toString('base64').slice(0, 43)}=`,
            },
          }),
        () =>
          new Request(target.url, {
            method: 'POST',
            body,
            headers: { ...good, 'webhook-timestamp': '9'.repeat(4000) },
          }),
        () =>
          new Request(target.url, {
            method: 'POST',
            body,
            headers: { ...good, 'content-type': 'text/html' },
          }),
        () =>
          new Request(target.url, {
            method: 'POST',
            body: gzipSync(body),
            headers: { ...good, 'content-encoding': 'gzip' },
          }),
        () =>
          new Request(target.url, {
            method: 'POST',
            body: 'x',
            headers: headersOf(
              Buffer.from('x'),
              `whsec_${Buffer.alloc(32).toString('base64')}`,
              one,
            ),
          }),
      ];
      const statuses = new Set<number>();
      for (let n = 0; n < 10_000; n += 100) {
        const answers = await Promise.all(
          Array.from({ length: 100 }, (_, k) => handle(garbage[(n + k) % garbage.length]!())),
        );
        for (const { status } of answers) statuses.add(status);
        if (n === 5000) assert.equal(await post(target, one), 'ack 1');
      }
      assert.deepEqual([...statuses].sort(), [401, 405, 415]);
      assert.equal(refused.length, 10_000);
      assert.deepEqual(receiverWords(applied), ['1']);
    }));

  test('a captured request is acknowledged without effect when repeated in time, and rejected later', () =>
    receiving(async ({ target, applied }) => {
      const body = bodyOf(one);
      const captured = { method: 'POST', body, headers: headersOf(body, target.secret, one) };
      const said = await Promise.all(
        Array.from({ length: 100 }, () => outcome(fetch(target.url, captured))),
      );
      assert.deepEqual([...new Set(said)], ['ack 1']);
      assert.equal(await post(target, deliveryOf(1, [2])), 'ack 2');
      assert.equal(await outcome(fetch(target.url, captured)), 'ack 1');
      assert.equal(
        await post(target, deliveryOf(2, [3]), { at: Date.now() - 301_000 }),
        '401 signature',
      );
      assert.deepEqual(receiverWords(applied), ['1', '2']);
    }));

  test('a body that drips, and one that is cut, are abandoned', () =>
    receiving(async ({ target, applied, refused }) => {
      const { hostname, port, pathname, search } = new URL(target.url);
      const half = async (end: boolean): Promise<string> => {
        const socket = dial(Number(port), hostname);
        let answer = '';
        socket.on('data', (chunk) => {
          answer += chunk;
        });
        socket.on('error', () => undefined);
        socket.write(
          `POST ${pathname}${search} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`,
        );
        if (end) {
          await pause(50);
          socket.destroy();
          return '';
        }
        const drip = setInterval(() => {
          if (!socket.destroyed) socket.write(' ');
        }, 50);
        try {
          await within(
            (async () => {
              while (!answer.includes('\r\n')) await pause(10);
            })(),
          );
        } finally {
          clearInterval(drip);
          socket.destroy();
        }
        return answer.slice(0, answer.indexOf('\r\n'));
      };
      assert.match(await half(false), /^HTTP\/1\.1 408/);
      await half(true);
      await within(
        (async () => {
          while (refused.length < 2) await pause(10);
        })(),
      );
      assert.deepEqual(refused, ['incomplete', 'incomplete']);
      assert.equal(await post(target, one), 'ack 1');
      assert.deepEqual(receiverWords(applied), ['1']);
    }));

  test('deliveries of another subscription, another epoch or a former epoch are reported or rejected, never mixed', () =>
    receiving(async ({ target, applied }) => {
      assert.equal(await post(target, deliveryOf(0, [1, 2])), 'ack 2');
      assert.equal(
        await post(target, deliveryOf(0, [1], { epoch: OTHER_EPOCH, events: [eventOf(1, 'x')] })),
        'ack 1',
      );
      assert.equal(await post(target, deliveryOf(2, [3])), '409 stale');
      assert.equal(
        await post(target, deliveryOf(0, [1], { subscriptionId: OTHER_ID, epoch: EPOCH })),
        '409 stale',
      );
      assert.equal(
        await post(target, deliveryOf(1, [2], { epoch: OTHER_EPOCH, events: [eventOf(2, 'x')] }), {
          headers: { 'mcp-subscription-id': OTHER_ID },
        }),
        '401 subscription_id',
      );
      assert.deepEqual(receiverWords(applied), ['1', '2', 'epoch 2→0', '1']);
    }));
});
