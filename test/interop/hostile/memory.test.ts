/**
 * Tests peers that send more than a client can keep. The client runs with little memory, in a
 * process that would crash if it kept everything.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { createGzip } from 'node:zlib';
import type { Drain } from '../../../spec-schema/draft/schema.ts';
import {
  ANSWERED,
  eventOf,
  HostilePeer,
  pause,
  type Call,
  type EventStream,
  type Hook,
  type Json,
  type Misbehavior,
} from './peer.ts';
import { within } from './run-row.ts';

const HEAP_MIB = 96;
/** Memory off the heap counts too, and nothing controls when it is returned. */
const GROWN_MIB_MAX = 320;
const MIB = 2 ** 20;

interface Outcome {
  readonly end: string;
  readonly last: number;
  readonly grownMiB: number;
}

async function follow(wrong: Misbehavior, drain: Drain, most: number): Promise<Outcome> {
  await using peer = await HostilePeer.start(wrong);
  const child = spawn(
    process.execPath,
    [
      `--max-old-space-size=${HEAP_MIB}`,
      '--conditions=mcp-triggers-source',
      join(import.meta.dirname, 'memory-client.ts'),
      peer.url,
      drain,
      `${most}`,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  try {
    const code = await within(
      new Promise((resolve) => {
        child.on('close', resolve);
      }),
      200_000,
    );
    assert.equal(code, 0, err.slice(0, 2000));
    return JSON.parse(out) as Outcome;
  } finally {
    child.kill('SIGKILL');
  }
}

/** Sends this many mebibytes, as fast as they are read. */
async function pour(events: Pick<EventStream, 'raw' | 'closed'>, mebibytes: number): Promise<void> {
  const chunk = Buffer.alloc(MIB / 4, 'x');
  for (let sent = 0; sent < mebibytes * 4 && !events.closed; sent++) await events.raw(chunk);
}
const reading = (hook: Hook): Misbehavior => ({
  calls: { 'triggers/pull': hook, 'triggers/stream': hook },
});
/** An answer whose body begins with `before` and is this many mebibytes long. */
const poured =
  (status: number, type: string, before: string, mebibytes: number): Hook =>
  async ({ response }) => {
    response.writeHead(status, { 'content-type': type });
    response.write(before);
    await pour(
      {
        get closed() {
          return response.destroyed;
        },
        raw: (bytes) =>
          new Promise<void>((resolve) => {
            if (response.destroyed || response.write(bytes)) return void setImmediate(resolve);
            response.once('drain', resolve);
            response.once('close', resolve);
          }),
      },
      mebibytes,
    );
    response.end();
    return ANSWERED;
  };
/** 256 MiB of blanks in 256 KiB. */
const bomb: Hook = async ({ response }) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
  const gzip = createGzip();
  gzip.on('error', () => undefined);
  gzip.pipe(response);
  for (let sent = 0; sent < 256 && !response.destroyed; sent++)
    if (!gzip.write(Buffer.alloc(MIB, ' ')))
      await new Promise<void>((resolve) => {
        gzip.once('drain', resolve);
        response.once('close', resolve);
      });
  gzip.end();
  return ANSWERED;
};
const delivery = (call: Call, after: number, more: Json): Json => ({
  ...call.peer.delivery(0, 0),
  afterSequence: after,
  ...more,
});
/** A stream that stays open after everything has been sent, so that the reader may continue. */
const stream = (
  head: number,
  send: (call: Call, events: EventStream, from: number) => Promise<void>,
): Misbehavior => {
  let sent = (): void => undefined;
  const first = new Promise<void>((resolve) => {
    sent = resolve;
  });
  return {
    calls: {
      'triggers/stream': async (call) => {
        call.peer.head = head;
        const events = call.events();
        await send(call, events, call.params.after.sequence);
        sent();
        while (!events.closed) await pause(20);
        return ANSWERED;
      },
      GET: async (call) => {
        await first;
        return call.send(200, 'text/plain', '');
      },
    },
  };
};
/** A member of a delivery: `MANY` deliveries with it are 100 MiB. */
const PADDING = 'p'.repeat(20_000);
const MANY = 5000;

const rows: readonly [name: string, wrong: Misbehavior, drain: Drain, most: number, end: string][] =
  [
    [
      '64 MiB in one answer',
      reading(poured(200, 'application/json', '{"jsonrpc":"', 64)),
      'pull',
      1,
      'peer_misbehaved too_large',
    ],
    ['256 MiB compressed into one answer', reading(bomb), 'pull', 1, 'peer_misbehaved too_large'],
    [
      'an error page of 64 MiB',
      reading(poured(418, 'text/html', '<h1>', 64)),
      'pull',
      1,
      'peer_misbehaved too_large',
    ],
    [
      '100 MiB of one event',
      reading(poured(200, 'text/event-stream', 'data: ', 100)),
      'stream',
      1,
      'peer_misbehaved too_large',
    ],
    [
      '100 MiB of one event in many lines',
      stream(1, async (_call, events) => {
        for (let sent = 0; sent < 100 * 16 && !events.closed; sent++)
          await events.raw(`data: ${'x'.repeat(65_000)}\n`);
      }),
      'stream',
      1,
      'peer_misbehaved too_large',
    ],
    [
      '100 MiB of events beyond the window, to a slow reader',
      stream(50, async (call, events, from) => {
        for (let n = from + 1; n <= 50 && !events.closed; n++)
          await events.delivery(
            delivery(call, n - 1, {
              head: 50,
              events: [{ ...eventOf(n), data: 'x'.repeat(2 * MIB) }],
            }),
          );
      }),
      'stream',
      50,
      'all',
    ],
    [
      '100 MiB of gaps to a slow reader',
      stream(MANY, async (call, events, from) => {
        for (let n = from + 1; n <= MANY && !events.closed; n++)
          await events.delivery(
            delivery(call, n - 1, {
              head: MANY,
              events: [],
              gaps: [{ from: n, to: n, reason: 'redacted' }],
              padding: PADDING,
            }),
          );
      }),
      'stream',
      MANY,
      'all',
    ],
    [
      '100 MiB of repeated deliveries to a slow reader',
      stream(2, async (call, events, from) => {
        for (let n = 0; n < MANY && from === 0 && !events.closed; n++)
          await events.delivery(
            delivery(call, 0, { head: 2, events: [eventOf(1)], padding: PADDING }),
          );
        await events.delivery(
          delivery(call, Math.max(1, from), { head: 2, events: [eventOf(2)].slice(from - 1) }),
        );
      }),
      'stream',
      2,
      'all',
    ],
    [
      '100 MiB of termination notices to a slow reader',
      stream(1, async (call, events, from) => {
        for (let n = 0; n < MANY && !events.closed; n++)
          await events.delivery(
            delivery(call, from, {
              head: 1,
              events: from === 0 ? [eventOf(1)] : [],
              terminated: { reason: 'revoked' },
              padding: PADDING,
            }),
          );
      }),
      'stream',
      2,
      'terminated revoked',
    ],
  ];

describe('memory', { concurrent: true }, () => {
  for (const [name, wrong, drain, most, end] of rows) {
    test(`${name} → ${end}`, async () => {
      const outcome = await follow(wrong, drain, most);
      assert.equal(outcome.end, end);
      assert.ok(outcome.grownMiB <= GROWN_MIB_MAX, `grown by ${outcome.grownMiB} MiB`);
      if (end === 'all') assert.equal(outcome.last, most);
    });
  }
});
