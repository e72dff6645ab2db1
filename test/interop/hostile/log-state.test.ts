/**
 * Tests peers that are wrong about the state of a log: epochs, identity, lifetime,
 * acknowledgements.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { triggersClient } from '../../../src/client/client.ts';
import { connect } from '../../../src/client/sdk/connection.ts';
import type { Item } from '../../../src/client/options.ts';
import { words } from '../../client/support.ts';
import {
  EPOCH,
  OTHER_EPOCH,
  HostilePeer,
  OTHER_ID,
  pause,
  Refused,
  type Call,
  type Json,
} from './peer.ts';
import { ALL, testRows, within, type Row } from './run-row.ts';

const epochConflict = (epoch: string): never => {
  throw new Refused(-32602, { kind: 'epoch', epoch, head: 0, acked: 0 });
};
const positionConflict = (data: object): never => {
  throw new Refused(-32602, { kind: 'position', epoch: EPOCH, head: 6, acked: 0, ...data });
};
const gone = (data: object = {}): never => {
  throw new Refused(-32023, { kind: 'subscription', ...data });
};
/** Installs a hook for both methods that read. */
const reads = (hook: (call: Call) => Json): Pick<Row, 'calls'> => ({
  calls: { 'triggers/stream': hook, 'triggers/pull': hook },
});
/** Replaces members of the subscription in every answer that has one. */
const subscriptions = (members: (peer: HostilePeer) => object): NonNullable<Row['calls']> =>
  Object.fromEntries(
    ['triggers/subscribe', 'triggers/get', 'triggers/update'].map((method) => [
      method,
      async (call: Call) => ({ ...(await call.honest()), ...members(call.peer) }),
    ]),
  );
const subscribed = (members: object): Pick<Row, 'calls'> => ({
  calls: subscriptions(() => members),
});
/** The first read succeeds; then `change` alters the log. */
const after = (change: (peer: HostilePeer, delivery: Json) => Json): Pick<Row, 'delivery'> => ({
  delivery: (delivery, _n, peer) =>
    delivery.afterSequence > 0 && (peer.eventPrefix === '' || peer.epoch === OTHER_EPOCH)
      ? change(peer, delivery)
      : delivery,
});
/** Not more than one renewal per pause that `tuning` sets for failures. */
const noMoreThan =
  (everyMs: number) =>
  ({ peer, elapsedMs }: { readonly peer: HostilePeer; readonly elapsedMs: number }): void => {
    const renewals = peer.count('triggers/update');
    assert.ok(renewals <= elapsedMs / everyMs + 1, `${renewals} renewals in ${elapsedMs} ms`);
  };

describe('state of a log', { concurrent: true }, () => {
  testRows([
    {
      name: 'another epoch without notice',
      proves: 'recv-epoch',
      ...after((peer, delivery) =>
        peer.epoch === EPOCH ? (peer.renew({ epoch: OTHER_EPOCH }), peer.delivery(0)) : delivery,
      ),
      always: 'all',
      read: ['1', '2', 'epoch 2→0', ...ALL],
      drains: ['pull'],
    },
    {
      name: 'another epoch without notice on an open stream',
      proves: 'recv-epoch',
      drains: ['stream'],
      calls: {
        'triggers/stream': async (call) => {
          const stream = call.events();
          await stream.delivery(call.peer.delivery(0));
          call.peer.renew({ epoch: OTHER_EPOCH });
          await stream.raw(
            [0, 2, 4]
              .map((from) => `data: ${stream.notification(call.peer.delivery(from))}\n\n`)
              .join(''),
          );
          return new Promise(() => undefined);
        },
      },
      always: 'all',
      read: ['1', '2', 'epoch 2→0', ...ALL],
    },
    {
      name: 'another epoch, and back',
      proves: 'recv-left-epoch',
      ...after((peer) => {
        peer.renew({ epoch: peer.epoch === EPOCH ? OTHER_EPOCH : EPOCH });
        return peer.delivery(0);
      }),
      always: 'peer_misbehaved epoch',
      read: ['1', '2', 'epoch 2→0', '1', '2'],
      healed: false,
    },
    {
      name: 'a conflict about the epoch that names the same epoch',
      ...reads(() => epochConflict(EPOCH)),
      always: 'peer_misbehaved epoch',
    },
    {
      name: 'a conflict about the epoch that names a former epoch',
      proves: 'recv-left-epoch',
      ...reads(({ n }) => epochConflict(n % 2 === 1 ? OTHER_EPOCH : EPOCH)),
      always: 'peer_misbehaved epoch',
      read: ['epoch 0→0'],
      healed: false,
    },
    {
      name: 'a conflict about a valid position',
      ...reads(() => positionConflict({})),
      always: 'peer_misbehaved position',
    },
    {
      name: 'a conflict about a position, far ahead',
      ...reads(() => positionConflict({ head: 1000, acked: 500 })),
      always: 'peer_misbehaved position',
    },
    {
      name: 'a conflict about a position in another epoch',
      ...reads(() => positionConflict({ epoch: OTHER_EPOCH })),
      always: 'peer_misbehaved position',
      read: ['epoch 0→0'],
      healed: false,
    },
    {
      name: 'deleted again and again, whatever the client subscribes to',
      ...reads(() => gone()),
      always: 'waits NotFound subscription',
      read: Array.from({ length: 3 }, () => 'lost unknown at 0'),
      healed: ['lost unknown at 0', ...ALL],
    },
    {
      name: 'deleted, then another subscription than requested',
      calls: {
        'triggers/stream': (call) => (call.n === 1 ? gone() : call.honest()),
        'triggers/pull': (call) => (call.n === 1 ? gone() : call.honest()),
        'triggers/subscribe': async (call) => ({
          ...(await call.honest()),
          ...(call.n === 2 ? { key: 'another' } : {}),
        }),
      },
      always: 'all',
      read: ['lost unknown at 0', ...ALL],
    },
    {
      name: 'unsubscribed by another client',
      ...reads(() => gone({ reason: 'unsubscribed', final: { epoch: EPOCH, head: 6, acked: 0 } })),
      always: 'terminated unsubscribed',
      healed: false,
    },
    {
      name: 'ended for an unknown reason',
      ...reads(() => gone({ reason: 'boredom' })),
      always: 'terminated boredom',
      healed: false,
    },

    {
      name: 'another subscription in the answer to a read',
      ...reads(async (call) => ({ ...(await call.honest()), subscriptionId: OTHER_ID })),
      drains: ['pull'],
      always: 'peer_misbehaved stale',
    },
    {
      name: 'another key than requested',
      ...subscribed({ key: 'another', created: false }),
      always: 'peer_misbehaved subscription',
      healed: false,
    },
    {
      name: 'acked beyond head at the start',
      ...subscribed({ acked: 7 }),
      always: 'peer_misbehaved subscription',
      healed: false,
    },
    {
      name: 'an empty epoch',
      ...subscribed({ epoch: '' }),
      always: 'peer_misbehaved result',
      healed: false,
    },
    {
      name: 'expiresAt in the past',
      ...subscribed({ expiresAt: '2001-01-01T00:00:00.000Z' }),
      always: 'all',
    },
    {
      name: 'expiresAt in the year 9999',
      ...subscribed({ expiresAt: '9999-12-31T23:59:59.999Z' }),
      always: 'all',
    },
    {
      name: 'expiresAt on an impossible date',
      ...subscribed({ expiresAt: '2026-99-99T99:99:99.999Z' }),
      always: 'all',
    },
    {
      name: 'expiresAt without decimals',
      ...subscribed({ expiresAt: '2026-01-01T00:00:00Z' }),
      always: 'all',
    },
    {
      name: 'expiresAt without a time',
      ...subscribed({ expiresAt: '2026-01-01' }),
      always: 'peer_misbehaved result',
      healed: false,
    },
    ...['expiresAt', 'ttlMs', 'renewAfterMs'].map((member): Row => ({
      name: `${member} null instead of absent`,
      ...subscribed({ [member]: null }),
      always: 'peer_misbehaved result',
      healed: false,
    })),
    {
      name: 'no expiry, but a renewal that is due at once',
      ...subscribed({ expiresAt: undefined, ttlMs: undefined, renewAfterMs: 0 }),
      tuning: { backoff: { baseMs: 20, maxMs: 40 } },
      always: 'all',
      also: noMoreThan(20),
    },
    {
      name: 'renewAfterMs 0',
      ...subscribed({ renewAfterMs: 0 }),
      tuning: { backoff: { baseMs: 20, maxMs: 40 } },
      always: 'all',
      also: noMoreThan(20),
    },
    {
      name: 'renewAfterMs -1',
      ...subscribed({ renewAfterMs: -1 }),
      always: 'peer_misbehaved result',
      healed: false,
    },
    {
      name: 'renewAfterMs 1e308',
      ...subscribed({ renewAfterMs: 1e308 }),
      always: 'peer_misbehaved result',
      healed: false,
    },
    {
      name: 'renewAfterMs 2^53 - 1',
      ...subscribed({ renewAfterMs: Number.MAX_SAFE_INTEGER }),
      always: 'all',
      also: ({ peer }) => assert.equal(peer.count('triggers/update'), 0),
    },
    {
      name: 'another etag every time',
      calls: subscriptions(() => ({ etag: `e-${Math.random()}` })),
      always: 'all',
    },
    {
      name: 'renewed as another subscription',
      calls: {
        ...subscriptions(() => ({ renewAfterMs: 10 })),
        'triggers/update': async (call) => ({ ...(await call.honest()), subscriptionId: OTHER_ID }),
      },
      always: 'peer_misbehaved subscription',
      read: ALL,
    },

    {
      name: 'an acknowledgement that it forgets',
      drains: ['stream'],
      calls: { 'triggers/ack': async (call) => ({ ...(await call.honest()), acked: 0 }) },
      always: 'peer_misbehaved ack',
      read: ALL,
    },
    {
      name: 'an acknowledgement in another epoch',
      drains: ['stream'],
      calls: { 'triggers/ack': async (call) => ({ ...(await call.honest()), epoch: OTHER_EPOCH }) },
      always: 'peer_misbehaved ack',
      read: ALL,
    },
    {
      name: 'a conflict about an acknowledged position, as if it was never sent',
      drains: ['stream'],
      calls: { 'triggers/ack': () => positionConflict({ sent: 0 }) },
      tuning: { ackDelayMs: 400, backoff: { baseMs: 5, maxMs: 40, random: () => 1 } },
      always: 'waits Conflict position',
      read: 'some',
      healed: false,
      also: ({ items, waits }) => {
        assert.ok(items.some((item) => item.type === 'lost' && item.reason === 'rewound'));
        assert.ok(waits.at(-1)!.delayMs > waits[0]!.delayMs, 'a repeated delivery is not progress');
      },
    },
    {
      name: 'acked that moves back in a pull',
      drains: ['pull'],
      delivery: (delivery) => ({ ...delivery, acked: 0 }),
      always: 'peer_misbehaved ack',
      read: ['1', '2'],
      healed: ALL,
    },
  ]);

  test('another epoch on an open stream loses nothing while the application is busy', async () => {
    let [open, told] = [(): void => undefined, 0];
    const free = new Promise<void>((resolve) => {
      open = resolve;
    });
    await using peer = await HostilePeer.start({
      calls: {
        'triggers/stream': async (call) => {
          const stream = call.events();
          for (const from of [0, 2]) await stream.delivery(call.peer.delivery(from));
          call.peer.renew({ epoch: OTHER_EPOCH });
          for (const from of [0, 2, 4]) await stream.delivery(call.peer.delivery(from));
          await pause(100);
          open();
          return new Promise(() => undefined);
        },
      },
    });
    const client = triggersClient(await connect({ url: peer.url }, { protocol: '2026-07-28' }));
    const subscription = client.subscribe({
      select: [{ name: 'timer' }],
      key: 'k',
      drain: 'stream',
      ack: 'manual',
      onState: ({ phase }) => {
        if (phase === 'waiting') told += 1;
      },
    });
    const read: Item[] = [];
    await within(
      (async () => {
        for await (const item of subscription) {
          read.push(item);
          await free;
          if (read.length === 11) break;
        }
      })(),
    );
    assert.deepEqual(words(read), ['1', '2', '3', '4', 'epoch 4→0', ...ALL]);
    assert.equal(told, 0);
    await client.close();
  });

  test('an acknowledgement that the server forgets fails, and reading continues', async () => {
    await using peer = await HostilePeer.start({
      calls: { 'triggers/ack': async (call) => ({ ...(await call.honest()), acked: 0 }) },
    });
    const client = triggersClient(await connect({ url: peer.url }, { protocol: '2026-07-28' }));
    const subscription = client.subscribe({
      select: [{ name: 'timer' }],
      key: 'k',
      drain: 'stream',
      ack: 'manual',
      tuning: { ackDelayMs: 5, backoff: { baseMs: 5, maxMs: 40 } },
    });
    const read: number[] = [];
    const reading = (async () => {
      for await (const item of subscription) {
        if (item.type !== 'event') continue;
        read.push(item.event.sequence);
        await within(assert.rejects(item.ack(), { code: 'peer_misbehaved', reason: 'ack' }));
        if (read.length === 6) break;
      }
    })();
    await within(reading);
    assert.deepEqual(read, [1, 2, 3, 4, 5, 6]);
    await subscription.close().catch(() => undefined);
    await client.close();
  });
});
