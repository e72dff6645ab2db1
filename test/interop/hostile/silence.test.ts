/** Tests peers that send nothing, send too much, or stop in the middle. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { triggersClient } from '../../../src/client/client.ts';
import { connect } from '../../../src/client/sdk/connection.ts';
import { LocalError } from '../../../src/protocol/wire/errors.ts';
import { ANSWERED, EPOCH, HostilePeer, pause, Refused, type Call, type Json } from './peer.ts';
import { ALL, BOTH_ERAS, testRows, within, type Row } from './run-row.ts';

const never = (): Promise<never> => new Promise(() => undefined);
const stream = (hook: (call: Call) => Json): Pick<Row, 'calls' | 'drains'> => ({
  drains: ['stream'],
  calls: { 'triggers/stream': hook },
});
const pull = (hook: (call: Call) => Json): Pick<Row, 'calls' | 'drains'> => ({
  drains: ['pull'],
  calls: { 'triggers/pull': hook },
});
const SILENT = { silenceMs: 150 };
/** Sends repeatedly until the other side disconnects. */
const drip =
  (bytes: string, everyMs = 20) =>
  async (call: Call): Promise<Json> => {
    const events = call.events();
    while (!events.closed) {
      await events.raw(bytes);
      await pause(everyMs);
    }
    return ANSWERED;
  };
const head = (call: Call): Json => ({ ...call.peer.delivery(0, 0), head: 0 });

describe('silence', { concurrent: true }, () => {
  testRows([
    {
      name: 'a stream without an answer',
      proves: 'stream-client-dead',
      eras: BOTH_ERAS,
      ...stream(never),
      tuning: SILENT,
      always: 'waits timeout silence',
    },
    {
      name: 'a stream of headers only',
      proves: 'stream-client-dead',
      eras: BOTH_ERAS,
      ...stream((call) => (call.events(), never())),
      tuning: SILENT,
      always: 'waits timeout silence',
    },
    {
      name: 'endless comments',
      proves: 'stream-client-dead',
      ...stream(drip(': still here\n\n')),
      tuning: SILENT,
      always: 'waits timeout silence',
    },
    {
      name: 'one endless line',
      proves: 'stream-client-dead',
      ...stream(drip('x')),
      tuning: SILENT,
      always: 'waits timeout silence',
    },
    {
      name: 'a stream of another notification',
      proves: 'stream-client-dead',
      ...stream(
        drip(
          'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}\n\n',
        ),
      ),
      tuning: SILENT,
      always: 'waits timeout silence',
    },
    {
      name: 'deliveries of another request',
      proves: 'stream-tag',
      ...stream(async (call) => {
        const events = call.events();
        for (let n = 0; !events.closed; n++) {
          await events.delivery(call.peer.delivery(0), 999_999);
          await pause(20);
        }
        return ANSWERED;
      }),
      tuning: SILENT,
      always: 'waits timeout silence',
    },
    {
      name: 'deliveries with the request id as a string',
      proves: 'stream-tag',
      ...stream(async (call) => {
        const events = call.events();
        while (!events.closed) {
          await events.delivery(call.peer.delivery(0), String(call.id));
          await pause(20);
        }
        return ANSWERED;
      }),
      tuning: SILENT,
      always: 'waits timeout silence',
    },
    {
      name: 'deliveries without a request id',
      proves: 'stream-tag',
      ...stream(async (call) => {
        const events = call.events();
        while (!events.closed) {
          await events.raw(
            `data: ${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/triggers/delivery', params: call.peer.delivery(0) })}\n\n`,
          );
          await pause(20);
        }
        return ANSWERED;
      }),
      tuning: SILENT,
      always: 'waits timeout silence',
    },
    {
      name: 'two events, then silence',
      proves: 'stream-client-dead',
      ...stream(async (call) => {
        await call.events().delivery(call.peer.delivery(call.params.after.sequence));
        return never();
      }),
      tuning: SILENT,
      always: 'waits timeout silence',
      read: 'some',
      healed: ALL,
    },
    {
      name: 'half an event, then silence',
      ...stream(async (call) => {
        const events = call.events();
        await events.raw(`data: ${events.notification(call.peer.delivery(0)).slice(0, 60)}`);
        return never();
      }),
      tuning: SILENT,
      always: 'waits timeout silence',
    },
    {
      name: 'ends every stream at once',
      eras: BOTH_ERAS,
      ...stream(async (call) => {
        const events = call.events();
        await events.result();
        return events.end();
      }),
      always: 'waits unreachable ended',
    },
    {
      name: 'ends every stream without a result',
      eras: BOTH_ERAS,
      ...stream((call) => call.events().end()),
      always: 'waits unreachable',
    },
    {
      name: 'cuts every stream',
      eras: BOTH_ERAS,
      ...stream((call) => call.events().cut()),
      always: 'waits unreachable',
    },
    {
      name: 'cuts every stream in the middle of an event',
      ...stream(async (call) => {
        const events = call.events();
        await events.raw(`data: ${events.notification(call.peer.delivery(0)).slice(0, 60)}`);
        await pause(5);
        return events.cut();
      }),
      always: 'waits unreachable',
    },
    {
      name: 'cuts every stream after two events',
      ...stream(async (call) => {
        const events = call.events();
        await events.delivery(call.peer.delivery(call.params.after.sequence));
        await pause(20);
        return events.cut();
      }),
      always: 'waits unreachable',
      read: ALL,
    },
    {
      name: 'a result in place of a stream',
      ...stream(() => ({})),
      always: 'waits unreachable ended',
    },
    {
      name: 'a result with all events in place of a stream',
      ...stream((call) => ({ ...call.peer.delivery(0, 100) })),
      always: 'waits unreachable ended',
    },
    {
      name: 'heartbeats of an empty log',
      ...stream(async (call) => {
        const events = call.events();
        for (let n = 0; n < 5; n++) {
          await events.delivery(head(call));
          await pause(10);
        }
        return events.end();
      }),
      always: 'waits unreachable',
    },

    {
      name: 'a pull without an answer',
      eras: BOTH_ERAS,
      ...pull(never),
      timeoutMs: 250,
      always: 'waits timeout',
    },
    {
      name: 'a pull answered one byte at a time',
      ...pull(async ({ response }) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        while (!response.destroyed) {
          response.write(' ');
          await pause(20);
        }
        return ANSWERED;
      }),
      timeoutMs: 250,
      always: 'waits timeout',
    },
    {
      name: 'a pull that is cut before an answer',
      eras: BOTH_ERAS,
      ...pull(({ response }) => (response.destroy(), ANSWERED)),
      always: 'waits unreachable',
    },
    {
      name: 'a pull that is cut in the middle',
      ...pull(async ({ response }) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
        response.write('{"jsonrpc":');
        await pause(5);
        response.destroy();
        return ANSWERED;
      }),
      always: 'waits unreachable',
    },
    {
      name: 'a pull answered with a stream that stays silent',
      ...pull((call) => (call.events(), never())),
      timeoutMs: 250,
      always: 'waits timeout',
    },
    {
      name: 'a pull answered with a stream that ends',
      ...pull((call) => call.events().end()),
      always: 'waits unreachable',
    },

    {
      name: 'no answer to an acknowledgement',
      drains: ['stream'],
      calls: { 'triggers/ack': never },
      timeoutMs: 250,
      always: 'all',
    },
    {
      name: 'no answer to subscribe',
      eras: BOTH_ERAS,
      drains: ['pull'],
      calls: { 'triggers/subscribe': never },
      timeoutMs: 250,
      always: 'waits timeout',
    },
  ]);

  /** The renewer checks the clock at this interval. */
  const RENEWAL_MS = [60_000];

  /** Records the pauses that the client requests; its clock shortens each to 5 ms. */
  async function pausesOf(
    hook: (call: Call) => Json,
    waitMs: number,
  ): Promise<{ pauses: number[]; calls: number }> {
    await using peer = await HostilePeer.start({ calls: { 'triggers/pull': hook } });
    const client = triggersClient(await connect({ url: peer.url }, { protocol: '2026-07-28' }));
    const pauses: number[] = [];
    let done = (): void => undefined;
    const enough = new Promise<void>((resolve) => {
      done = resolve;
    });
    const clock = {
      now: () => Date.now(),
      after: (delayMs: number, run: () => void) => {
        if (!RENEWAL_MS.includes(delayMs)) pauses.push(delayMs);
        if (pauses.length >= 5) done();
        const timer = setTimeout(run, Math.min(delayMs, 5));
        return () => clearTimeout(timer);
      },
    };
    const subscription = client.subscribe({
      select: [{ name: 'timer' }],
      key: 'k',
      drain: 'pull',
      tuning: { clock, waitMs, backoff: { random: () => 1 } },
    });
    const reading = (async () => {
      for await (const item of subscription) assert.equal(item.type, 'epoch');
    })();
    await within(enough);
    const calls = peer.count('triggers/pull');
    await subscription.close();
    await reading;
    await client.close();
    return { pauses, calls };
  }

  const nothing =
    (nextPollMs: number) =>
    (call: Call): Json => ({ ...head(call), hasMore: false, nextPollMs });
  const asks: readonly [string, (call: Call) => Json, number, number, number][] = [
    ['a long poll that returns at once', nothing(0), 25_000, 1000, 1000],
    ['nothing, with a poll interval of zero', nothing(0), 0, 100, 100],
    ['nothing, with a poll interval of a year', nothing(31_536_000_000), 0, 3_600_000, 3_600_000],
    [
      'a long poll that returns at once, with a poll interval of 2^53 - 1 ms',
      nothing(Number.MAX_SAFE_INTEGER),
      25_000,
      3_600_000,
      3_600_000,
    ],
    [
      'exhausted for a year',
      () => {
        throw new Refused(-32025, { kind: 'limit', limit: 'x', retryAfterMs: 31_536_000_000 });
      },
      25_000,
      3_600_000,
      3_600_000,
    ],
    [
      'exhausted for no time',
      () => {
        throw new Refused(-32025, { kind: 'limit', limit: 'x', retryAfterMs: 0 });
      },
      25_000,
      500,
      30_000,
    ],
    [
      'another epoch every time',
      (call) => {
        call.peer.renew({ epoch: `${EPOCH}-${call.n}` });
        return { ...head(call), hasMore: true, nextPollMs: 0 };
      },
      25_000,
      1000,
      1000,
    ],
  ];
  for (const [name, hook, waitMs, least, most] of asks) {
    test(`${name}: pauses of ${least} to ${most} ms`, async () => {
      const { pauses, calls } = await pausesOf(hook, waitMs);
      assert.ok(
        pauses.every((ms) => ms >= least && ms <= most),
        pauses.join(' '),
      );
      assert.ok(calls <= pauses.length + 2, `${calls} pulls in ${pauses.length} pauses`);
    });
  }

  for (const protocol of BOTH_ERAS) {
    test(`${protocol}: closing does not wait for a server that does not answer`, async () => {
      await using peer = await HostilePeer.start({
        calls: {
          initialize: async (call) =>
            call.send(
              200,
              'application/json',
              JSON.stringify({ jsonrpc: '2.0', id: call.id, result: await call.honest() }),
              { 'mcp-session-id': 's-1' },
            ),
          DELETE: never,
          'triggers/ack': never,
          'triggers/unsubscribe': never,
        },
      });
      const client = triggersClient(await connect({ url: peer.url }, { protocol, timeoutMs: 300 }));
      const subscription = client.subscribe({
        select: [{ name: 'timer' }],
        key: 'k',
        tuning: { ackDelayMs: 60_000 },
      });
      let read = 0;
      const reading = (async () => {
        for await (const item of subscription)
          if (item.type === 'event' && (read = item.event.sequence) === 3) break;
      })();
      await within(reading);
      assert.equal(read, 3);
      assert.ok(
        subscription.state.phase === 'ended' &&
          subscription.state.error instanceof LocalError &&
          subscription.state.error.code === 'timeout',
      );
      await within(assert.rejects(subscription.close({ unsubscribe: true }), { code: 'timeout' }));
      await within(client.close());
      assert.equal(peer.count('DELETE'), protocol === '2025-11-25' ? 1 : 0);
    });
  }
});
