/**
 * Tests what holds when the store rejects writes, the disk is full, two calls race, or the process
 * dies in the middle.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { LocalError } from '../../../src/protocol/wire/errors.ts';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Delivery, Subscription } from '../../../spec-schema/draft/schema.ts';
import {
  ann,
  bob,
  broken,
  CALLBACK,
  DAY,
  full,
  HOUR,
  kill,
  listen,
  MINUTE,
  numbers,
  position,
  refusal,
  response,
  SECOND,
  secretOf,
  turns,
  world,
} from './harness.ts';

/** A gate that is closed until it is opened. */
function gate() {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open: () => open(), opened };
}

const tmp = () => {
  const directory = mkdtempSync(join(tmpdir(), 'triggers-engine-'));
  return {
    path: join(directory, 'store.db'),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
};

describe('a commit that fails', () => {
  test('[log-durable-number log-durable-accept] reveals nothing of its contents to anybody', async () => {
    const w = await world();
    const { subscriptionId, epoch } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
      callback: CALLBACK,
    });
    const stream = listen(w.engine, ann, { subscriptionId });
    await turns();
    w.meddled.refuse = () => broken();
    await assert.rejects(w.emit(1), { code: 'store_failed' });
    await turns();
    assert.deepEqual(w.endpoints.numbers, []);
    assert.deepEqual(stream.deliveries.map(numbers), [[]]);
    w.meddled.refuse = () => null;
    await w.pass(2 * SECOND);
    await w.emitAll(2, 3);
    await turns();
    // The number that was lost with the commit goes to the next event, and nobody saw it before.
    assert.deepEqual(
      w.endpoints.requests.flatMap(({ delivery }) =>
        delivery.events.map((event) => [event.sequence, event.eventId]),
      ),
      [
        [1, 'e2'],
        [2, 'e3'],
      ],
    );
    assert.deepEqual(stream.deliveries.flatMap(numbers), [1, 2]);
    const pulled = (await w.engine.pull(ann, {
      subscriptionId,
      after: position(epoch, 0),
    })) as Delivery;
    assert.deepEqual(
      pulled.events.map(({ eventId }) => eventId),
      ['e2', 'e3'],
    );
    await w.close();
  });

  test('[log-all-matching upd-select] rolls back its changes to the index of followers', async () => {
    const w = await world();
    const red = await w.engine.subscribe(ann, {
      key: 'red',
      select: [{ name: 'tick', arguments: { topic: 'red' } }],
    });
    const leaver = await w.engine.subscribe(ann, { key: 'leaver', select: [{ name: 'tick' }] });
    w.meddled.refuse = () => broken();
    const calls = await Promise.allSettled([
      w.engine.update(ann, {
        subscriptionId: red.subscriptionId,
        select: [{ name: 'tick', arguments: { topic: 'blue' } }],
      }),
      w.engine.unsubscribe(ann, { subscriptionId: leaver.subscriptionId }),
      w.engine.subscribe(bob, { key: 'never', select: [{ name: 'tick' }] }),
    ]);
    assert.deepEqual(
      calls.map(({ status }) => status),
      ['rejected', 'rejected', 'rejected'],
    );
    w.meddled.refuse = () => null;
    await w.pass(2 * SECOND);
    await w.emit(1, { topic: 'red' });
    await w.engine.settled();
    for (const { subscriptionId } of [red, leaver]) {
      assert.deepEqual(
        numbers((await w.engine.pull(ann, { subscriptionId })) as Delivery),
        [1],
        'the event is in the log of every subscription that still follows it',
      );
    }
    // The rejected subscribe leaves nothing behind that would slow down every later event.
    const accepting = w.meddled.commits.find((writes) =>
      writes.some(({ type }) => type === 'event'),
    );
    assert.equal(
      accepting?.some(({ type }) => type === 'checkpoint'),
      true,
    );
    assert.equal((await w.engine.subscriptions(bob, {})).subscriptions.length, 0);
    await w.close();
  });

  test('[log-all-matching log-no-silent-loss] in the middle of numbering omits no event', async () => {
    const w = await world({ sequencerChunk: 2 });
    const subscriptions = [];
    for (let n = 0; n < 7; n += 1)
      subscriptions.push(
        await w.engine.subscribe(ann, { key: `k${n}`, select: [{ name: 'tick' }] }),
      );
    let chunks = 0;
    w.meddled.refuse = (writes) =>
      writes.some(({ type }) => type === 'entry') && (chunks += 1) % 3 === 2 ? broken() : null;
    await Promise.all([1, 2, 3].map((n) => w.emit(n)));
    for (let second = 0; second < 60; second += 1) await w.pass(SECOND);
    w.meddled.refuse = () => null;
    await w.pass(5 * SECOND);
    await w.engine.settled();
    assert.ok(chunks > 6);
    for (const { subscriptionId } of subscriptions) {
      const { events } = (await w.engine.pull(ann, { subscriptionId })) as Delivery;
      assert.deepEqual(
        events.map(({ sequence, eventId }) => [sequence, eventId]),
        [
          [1, 'e1'],
          [2, 'e2'],
          [3, 'e3'],
        ],
      );
    }
    await w.close();
  });

  test('[cb-one-lease] starts no second attempt beside one that is in flight', async () => {
    const w = await world();
    await w.engine.subscribe(ann, { key: 'k', select: [{ name: 'tick' }], callback: CALLBACK });
    const answer = gate();
    let open = 0;
    let most = 0;
    w.endpoints.answer = async ({ delivery }) => {
      most = Math.max(most, (open += 1));
      await answer.opened;
      open -= 1;
      return response(200, { ackSequence: delivery.events.at(-1)!.sequence });
    };
    await w.emit(1);
    await turns();
    w.meddled.refuse = () => broken();
    await assert.rejects(w.emit(2));
    w.meddled.refuse = () => null;
    await w.pass(3 * SECOND);
    assert.deepEqual([w.endpoints.requests.length, most], [1, 1]);
    answer.open();
    await turns();
    await w.emit(3);
    await turns();
    assert.deepEqual(w.endpoints.numbers, [[1], [2]]);
    await w.close();
  });

  test('[retry-restart] leaves no callback waiting forever', async () => {
    const w = await world({ quotas: { loaded: 1 } });
    // Many more than the cache holds, so that their logs are read from the store.
    for (let n = 0; n < 6; n += 1)
      await w.engine.subscribe(ann, {
        key: `k${n}`,
        select: [{ name: 'tick' }],
        callback: { ...CALLBACK, url: `https://hooks.example/${n}` },
      });
    await w.engine.subscribe(ann, { key: 'quiet', select: [{ name: 'tick' }] });
    let count = 0;
    w.meddled.refuse = () => ((count += 1) % 3 === 0 ? broken() : null);
    for (let n = 1; n <= 12; n += 1) {
      await w.emit(n).catch(() => undefined);
      await w.pass(1500);
    }
    w.meddled.refuse = () => null;
    await w.pass(2 * MINUTE);
    const { subscriptions } = await w.engine.subscriptions(ann, {});
    for (const { acked, head, callback } of subscriptions)
      if (callback !== undefined) assert.equal(acked, head);
    assert.ok((subscriptions[0]?.head ?? 0) > 4);
    assert.equal((await w.engine.health()).attemptsInFlight, 0);
    await w.close();
  });

  test('[log-all-matching] does not let a later log begin after events whose commit failed', async () => {
    const { path, remove } = tmp();
    try {
      const first = await world({ path });
      await first.emit(1);
      first.meddled.refuse = (writes) =>
        writes.some(({ type }) => type === 'event') ? full() : null;
      for (let n = 2; n < 6; n += 1) {
        await assert.rejects(first.emit(n), { code: 'store_full' });
        await first.pass(1100);
      }
      const { subscriptionId } = await first.engine.subscribe(ann, {
        key: 'k',
        select: [{ name: 'tick' }],
      });
      await kill(first);
      const second = await world({ path, clock: first.clock });
      await second.emit(6);
      await second.engine.settled();
      assert.deepEqual(
        ((await second.engine.pull(ann, { subscriptionId })) as Delivery).events.map(
          ({ eventId }) => eventId,
        ),
        ['e6'],
      );
      await second.close();
    } finally {
      remove();
    }
  });

  test('keeps a stream open, which continues once the store recovers', async () => {
    const w = await world();
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
    });
    await w.emitAll(1, 2);
    w.meddled.refuse = () => broken();
    const stream = listen(w.engine, ann, { subscriptionId });
    await w.pass(3 * SECOND);
    assert.deepEqual(stream.deliveries, [], 'an event that cannot be recorded as sent is not sent');
    w.meddled.refuse = () => null;
    await w.pass(3 * SECOND);
    assert.deepEqual(stream.deliveries.flatMap(numbers), [1, 2]);
    stream.abort.abort();
    await stream.ended;
    await w.close();
  });

  test('of which the store cannot read the events back delays the callback only until the next attempt', async () => {
    const w = await world();
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
      callback: CALLBACK,
    });
    await w.engine.update(ann, { subscriptionId, paused: true });
    // More events than the engine keeps in memory.
    await w.emitAll(1, 600);
    let failures = 0;
    w.meddled.asked = (question) => {
      if (question === 'read' && (failures += 1) <= 2) throw broken();
    };
    await w.engine.update(ann, { subscriptionId, paused: false });
    await turns();
    assert.deepEqual([failures, w.endpoints.numbers], [1, []]);
    await w.pass(10 * SECOND);
    assert.ok(failures > 2);
    assert.deepEqual(
      w.endpoints.numbers.flat(),
      Array.from({ length: 600 }, (_, at) => at + 1),
    );
    await w.close();
  });

  test('does not keep the engine from closing', async () => {
    const w = await world();
    await w.engine.subscribe(ann, { key: 'k', select: [{ name: 'tick' }], callback: CALLBACK });
    w.meddled.refuse = () => broken();
    await assert.rejects(w.emit(1));
    const late = w.emit(2);
    await assert.rejects(late);
    await w.close();
    assert.equal(w.endpoints.closed, true);
    await assert.rejects(w.emit(3), { code: 'closed' });
  });
});

describe('a full store', () => {
  const eventsOnly = (w: Awaited<ReturnType<typeof world>>): void => {
    w.meddled.refuse = (writes) =>
      writes.some(({ type }) => type === 'event' || type === 'create') ? full() : null;
  };

  test('[lim-drain-works lim-refuse-upstream] rejects events and still acknowledges, pulls and unsubscribes in the same turn', async () => {
    const w = await world();
    const { subscriptionId, epoch } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
    });
    const other = await w.engine.subscribe(ann, { key: 'other', select: [{ name: 'tick' }] });
    await w.emitAll(1, 3);
    await w.engine.pull(ann, { subscriptionId });
    eventsOnly(w);
    const [emitted, acked, ended, pulled] = await Promise.allSettled([
      w.emit(4),
      w.engine.ack(ann, { subscriptionId, position: position(epoch, 2) }),
      w.engine.unsubscribe(ann, { subscriptionId: other.subscriptionId }),
      w.engine.pull(ann, { subscriptionId }),
    ]);
    assert.equal(emitted?.status, 'rejected');
    assert.deepEqual(
      [acked, ended, pulled].map((one) => one?.status),
      ['fulfilled', 'fulfilled', 'fulfilled'],
    );
    assert.equal(((await w.engine.get(ann, { subscriptionId })) as { acked: number }).acked, 2);
    await w.close();
  });

  test("[ans-ack] keeps an endpoint's acknowledgement when an event of the same turn does not fit", async () => {
    const w = await world();
    await w.engine.subscribe(ann, { key: 'k', select: [{ name: 'tick' }], callback: CALLBACK });
    const late: Promise<unknown>[] = [];
    w.endpoints.answer = ({ delivery }) => {
      if (late.length === 0) {
        eventsOnly(w);
        late.push(w.emit(2).catch(() => undefined));
      }
      return response(200, { ackSequence: delivery.events.at(-1)!.sequence });
    };
    await w.emit(1);
    await turns();
    await Promise.all(late);
    w.meddled.refuse = () => null;
    await w.pass(5 * SECOND);
    assert.deepEqual(w.endpoints.numbers, [[1]], 'it is not sent again');
    await w.close();
  });

  test('[lim-refuse-upstream] that its own quota filled accepts events again once retention has made room', async () => {
    const { path, remove } = tmp();
    try {
      const w = await world({
        path,
        maxBytes: 1024 * 1024,
        triggers: [
          {
            type: {
              name: 'tick',
              description: 'x',
              inputSchema: { type: 'object' },
              payloadSchema: { type: 'object' },
              retention: { maxAgeMs: MINUTE, maxEvents: 5000 },
            },
          },
        ],
      });
      const { subscriptionId, epoch } = await w.engine.subscribe(ann, {
        key: 'k',
        select: [{ name: 'tick' }],
        ttlMs: 30 * DAY,
      });
      let accepted = 0;
      let refused: unknown;
      for (; refused === undefined && accepted < 2000; accepted += refused === undefined ? 1 : 0) {
        await w.engine
          .emit({ name: 'tick', data: { text: 'x'.repeat(4000) } })
          .catch((cause: unknown) => {
            refused = cause;
          });
      }
      assert.equal((refused as { code?: string }).code, 'store_full');
      const pulled = (await w.engine.pull(ann, { subscriptionId, maxEvents: 1000 })) as Delivery;
      await w.engine.ack(ann, {
        subscriptionId,
        position: position(epoch, pulled.events.at(-1)!.sequence),
      });
      // Retention trims by age, acknowledged or not; maintenance then deletes the events.
      w.clock.jump(8 * DAY);
      await w.pass(5 * MINUTE);
      await w.emit(1);
      const { head, oldest } = (await w.engine.get(ann, { subscriptionId })) as {
        head: number;
        oldest: number;
      };
      assert.deepEqual([head, oldest], [accepted + 1, accepted + 1]);
      await w.close();
    } finally {
      remove();
    }
  });
});

describe('concurrent calls', () => {
  test('[end-key-free] may free a key and take it again in one turn', async () => {
    const w = await world();
    const one = await w.engine.subscribe(ann, { key: 'k', select: [{ name: 'tick' }] });
    const [ended, two, emitted] = await Promise.all([
      w.engine.unsubscribe(ann, { subscriptionId: one.subscriptionId }),
      w.engine.subscribe(ann, { key: 'k', select: [{ name: 'tick' }] }),
      w.emit(1),
    ]);
    assert.deepEqual([ended, two.created, emitted.duplicate], [{}, true, false]);
    assert.notEqual(two.subscriptionId, one.subscriptionId);
    assert.notEqual(two.epoch, one.epoch);
    await w.close();
  });

  test('[subs-same] make one subscription when they are equal subscribes', async () => {
    const w = await world();
    const all = await Promise.all(
      Array.from({ length: 8 }, () =>
        w.engine.subscribe(ann, { key: 'k', select: [{ name: 'tick' }], callback: CALLBACK }),
      ),
    );
    assert.equal(new Set(all.map(({ subscriptionId }) => subscriptionId)).size, 1);
    assert.deepEqual(all.map(({ created }) => created).filter(Boolean).length, 1);
    assert.equal(w.endpoints.challenges.length, 1);
    await w.close();
  });

  test('[lim-quota-named] never exceed the quota with many subscribes', async () => {
    const w = await world({ quotas: { subscriptionsPerPrincipal: 3 } });
    const calls = await Promise.allSettled(
      Array.from({ length: 9 }, (_, n) =>
        w.engine.subscribe(ann, { key: `k${n}`, select: [{ name: 'tick' }] }),
      ),
    );
    assert.equal(calls.filter(({ status }) => status === 'fulfilled').length, 3);
    assert.deepEqual(
      (await refusal(w.engine.subscribe(ann, { key: 'more', select: [{ name: 'tick' }] }))).data,
      { kind: 'limit', limit: 'subscriptions', max: 3 },
    );
    assert.equal(
      (await w.engine.subscribe(bob, { key: 'k', select: [{ name: 'tick' }] })).created,
      true,
      'another principal has a quota of its own',
    );
    await w.close();
  });

  test('[upd-if-match upd-writers] let one of two updates with the same etag win', async () => {
    const w = await world();
    const { subscriptionId, etag } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
    });
    const calls = await Promise.allSettled([
      w.engine.update(ann, { subscriptionId, ifMatch: etag, paused: true }),
      w.engine.update(ann, { subscriptionId, ifMatch: etag, ttlMs: 7_200_000 }),
    ]);
    assert.deepEqual(
      calls.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    );
    const now = (await w.engine.get(ann, { subscriptionId })) as Subscription;
    assert.deepEqual([now.paused, now.ttlMs], [true, HOUR]);
    await w.close();
  });

  test('[upd-select log-all-matching] an update of the selection applies to later events only, however far numbering is behind', async () => {
    const w = await world({ sequencerChunk: 1 });
    const subscriptions = [];
    for (let n = 0; n < 4; n += 1)
      subscriptions.push(
        await w.engine.subscribe(ann, {
          key: `k${n}`,
          select: [{ name: 'tick', arguments: { topic: 'red' } }],
        }),
      );
    const { subscriptionId } = subscriptions.at(-1)!;
    // The event is accepted, and numbering stops before the last log.
    const stopped = gate();
    w.meddled.before = (writes) =>
      writes.some((write) => write.type === 'entry' && write.row === 2)
        ? stopped.opened
        : undefined;
    await w.emit(1, { topic: 'red' });
    await turns();
    const updated = w.engine.update(ann, {
      subscriptionId,
      select: [{ name: 'tick', arguments: { topic: 'blue' } }],
    });
    await turns();
    stopped.open();
    await updated;
    await w.emit(2, { topic: 'red' });
    await w.emit(3, { topic: 'blue' });
    await w.engine.settled();
    assert.deepEqual(
      ((await w.engine.pull(ann, { subscriptionId })) as Delivery).events.map(
        ({ eventId }) => eventId,
      ),
      ['e1', 'e3'],
    );
    await w.close();
  });

  test('[gap-same-everywhere gap-final] a redaction reaches the logs that numbering has not reached yet', async () => {
    const w = await world({ sequencerChunk: 1 });
    const subscriptions = [];
    for (let n = 0; n < 4; n += 1)
      subscriptions.push(
        await w.engine.subscribe(ann, { key: `k${n}`, select: [{ name: 'tick' }] }),
      );
    const last = listen(w.engine, ann, { subscriptionId: subscriptions.at(-1)!.subscriptionId });
    await turns();
    const stopped = gate();
    w.meddled.before = (writes) =>
      writes.some((write) => write.type === 'entry' && write.row === 2)
        ? stopped.opened
        : undefined;
    await w.emit(1);
    await turns();
    const redacted = w.engine.redact({ name: 'tick', eventId: 'e1' });
    await turns();
    stopped.open();
    await redacted;
    await w.engine.settled();
    const gap = { from: 1, to: 1, reason: 'redacted' };
    assert.deepEqual(
      last.deliveries.flatMap(({ events, gaps = [] }) => [...events, ...gaps]),
      [gap],
      'a stream',
    );
    for (const { subscriptionId } of subscriptions) {
      const { events, gaps } = (await w.engine.pull(ann, { subscriptionId })) as Delivery;
      assert.deepEqual([events, gaps], [[], [gap]]);
    }
    await w.close();
  });

  test('[log-stable gap-same-everywhere] a redaction whose commit failed redacts nothing, however far numbering is behind', async () => {
    const w = await world({ sequencerChunk: 1 });
    const subscriptions = [];
    for (let n = 0; n < 4; n += 1)
      subscriptions.push(
        await w.engine.subscribe(ann, { key: `k${n}`, select: [{ name: 'tick' }] }),
      );
    const stopped = gate();
    w.meddled.before = (writes) =>
      writes.some((write) => write.type === 'entry' && write.row === 2)
        ? stopped.opened
        : undefined;
    await w.emit(1);
    await turns();
    w.meddled.refuse = (writes) =>
      writes.some((write) => write.type === 'redact')
        ? new LocalError('store_failed', 'the commit failed')
        : null;
    const redacted = assert.rejects(w.engine.redact({ name: 'tick', eventId: 'e1' }));
    await turns();
    stopped.open();
    await redacted;
    w.meddled.refuse = () => null;
    await w.pass(5 * SECOND);
    await w.engine.settled();
    for (const { subscriptionId } of subscriptions) {
      const { events, gaps } = (await w.engine.pull(ann, { subscriptionId })) as Delivery;
      assert.deepEqual([events.map(({ eventId }) => eventId), gaps], [['e1'], undefined]);
    }
    await w.close();
  });

  test('[type-breaking] a trigger type can be removed while a callback is being verified', async () => {
    const w = await world();
    const proved = gate();
    w.endpoints.prove = async (request) => {
      await proved.opened;
      return response(200, w.endpoints.proof(request));
    };
    const call = w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
      callback: CALLBACK,
    });
    await turns();
    await w.engine.remove('tick');
    proved.open();
    assert.deepEqual((await refusal(call)).data, { kind: 'trigger' });
    assert.equal((await w.engine.subscriptions(ann, {})).subscriptions.length, 0);
    await w.close();
  });

  test('[upd-detach cb-one-lease] a callback that is removed and put back waits for the request that is still in flight', async () => {
    const w = await world();
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
      callback: CALLBACK,
    });
    const answer = gate();
    let first = true;
    w.endpoints.answer = async ({ delivery }) => {
      if (first) {
        first = false;
        await answer.opened;
      }
      return response(200, { ackSequence: delivery.events.at(-1)!.sequence });
    };
    await w.emit(1);
    await turns();
    await w.engine.update(ann, { subscriptionId, removeCallback: true });
    await w.engine.update(ann, { subscriptionId, callback: CALLBACK });
    await turns();
    assert.equal(w.endpoints.requests.length, 1);
    answer.open();
    await turns();
    assert.deepEqual(w.endpoints.numbers, [[1], [1]]);
    await w.close();
  });
});

describe('an event that becomes a gap', () => {
  test('[gap-final] is no longer sent by a drain that has loaded it', async () => {
    const w = await world();
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
    });
    await w.engine.subscribe(ann, {
      key: 'called',
      select: [{ name: 'tick' }],
      callback: CALLBACK,
    });
    const stream = listen(w.engine, ann, { subscriptionId });
    await turns();
    // The commits that record what is sent: first the claim, which comes with the event, then the
    // stream's.
    const written = gate();
    let held = 0;
    w.meddled.after = (writes) => {
      if (!writes.some((write) => write.type === 'progress' && write.state.sent > 0)) return;
      held += 1;
      return written.opened;
    };
    const emitted = w.emit(1);
    await turns();
    const redacted = w.engine.redact({ name: 'tick', eventId: 'e1' });
    await turns();
    written.open();
    await Promise.all([emitted, redacted]);
    await turns();
    assert.ok(held > 0);
    const gaps = [{ from: 1, to: 1, reason: 'redacted' }];
    assert.deepEqual(
      w.endpoints.requests.map(({ delivery }) => [numbers(delivery), delivery.gaps]),
      [[[], gaps]],
    );
    assert.deepEqual(
      stream.deliveries.flatMap((delivery) => delivery.gaps ?? []),
      gaps,
    );
    assert.deepEqual(stream.deliveries.flatMap(numbers), []);
    await w.close();
  });
});

describe('many callbacks', () => {
  test('[retry-success] a few busy ones do not keep the others waiting', async () => {
    const w = await world({ quotas: { attempts: 1 }, batchEvents: 1 });
    for (const key of ['a', 'b', 'c', 'd'])
      await w.engine.subscribe(ann, {
        key,
        select: [{ name: 'tick' }],
        callback: { ...CALLBACK, url: `https://hooks.example/${key}` },
      });
    w.endpoints.answer = async ({ delivery }) => {
      await new Promise<void>((resolve) => {
        w.clock.after(100, resolve);
      });
      return response(200, { ackSequence: delivery.events.at(-1)!.sequence });
    };
    await w.emitAll(1, 20);
    await w.pass(1000);
    const served = new Set(w.endpoints.requests.map(({ url }) => url));
    assert.equal(served.size, 4, 'every callback was called within a second');
    await w.pass(10_000);
    assert.equal(w.endpoints.requests.length, 80);
    await w.close();
  });

  test('never have more requests in flight than the quota, even after a restart', async () => {
    const { path, remove } = tmp();
    try {
      const first = await world({ path });
      for (let n = 0; n < 12; n += 1)
        await first.engine.subscribe(ann, {
          key: `k${n}`,
          select: [{ name: 'tick' }],
          callback: { ...CALLBACK, url: `https://hooks.example/${n}` },
        });
      first.endpoints.answer = () => new Promise(() => undefined);
      await first.emitAll(1, 1);
      await kill(first);
      const second = await world({ path, clock: first.clock, quotas: { attempts: 3 } });
      let open = 0;
      let most = 0;
      second.endpoints.answer = async ({ delivery }) => {
        most = Math.max(most, (open += 1));
        await new Promise<void>((resolve) => {
          second.clock.after(50, resolve);
        });
        open -= 1;
        return response(200, { ackSequence: delivery.events.at(-1)!.sequence });
      };
      await turns();
      // Requests that were sent before this answer was installed were answered at once.
      await second.pass(5000);
      assert.equal(second.endpoints.requests.length, 12);
      assert.ok(most > 0 && most <= 3, `${most} at once`);
      await second.close();
    } finally {
      remove();
    }
  });

  test('[cbv-daily] a slow verification does not delay the others', async () => {
    const w = await world({ ttl: { allowNoExpiry: true } });
    await w.engine.subscribe(ann, {
      key: 'forever',
      select: [{ name: 'tock' }],
      callback: { ...CALLBACK, url: 'https://slow.example/in' },
      noExpiry: true,
    });
    await w.pass(23 * 60 * MINUTE);
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'mortal',
      select: [{ name: 'tick' }],
      ttlMs: 60 * MINUTE + 2 * SECOND,
    });
    w.endpoints.prove = () => new Promise(() => undefined);
    await w.pass(60 * MINUTE + 5 * SECOND);
    assert.equal(w.endpoints.challenges.length, 2, 'the first is being verified again');
    assert.equal((await w.inner.tombstone(subscriptionId))?.reason, 'expired');
    await w.close();
  });

  test('[cbv-rate cbv-daily] our own verification rate limit suspends no subscription', async () => {
    const w = await world({ ttl: { allowNoExpiry: true } });
    for (const key of ['a', 'b', 'c', 'd', 'e'])
      await w.engine.subscribe(ann, {
        key,
        select: [{ name: 'tick' }],
        callback: { ...CALLBACK, url: `https://shared.example/${key}` },
        noExpiry: true,
      });
    w.endpoints.prove = (request) =>
      /[abc]$/.test(request.url) ? response(404) : response(200, w.endpoints.proof(request));
    await w.pass(DAY + 10 * MINUTE);
    const { subscriptions } = await w.engine.subscriptions(ann, {});
    assert.deepEqual(
      subscriptions.map(({ key, callback }) => [key, callback?.state]),
      [
        ['a', 'suspended'],
        ['b', 'suspended'],
        ['c', 'suspended'],
        ['d', 'ok'],
        ['e', 'ok'],
      ],
    );
    await w.close();
  });

  test('a subscription whose row cannot be read delays no other, and is tried again once a minute', async () => {
    const w = await world();
    await w.engine.subscribe(ann, { key: 'bad', select: [{ name: 'tock' }], ttlMs: DAY });
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'good',
      select: [{ name: 'tick' }],
      ttlMs: 2 * HOUR,
    });
    await w.emit(1, {}, 'tock');
    // Retention reads the first row an hour later, and fails.
    let tries = 0;
    w.meddled.asked = (question) => {
      if (question !== 'agedOut') return;
      tries += 1;
      throw broken();
    };
    await w.pass(2 * HOUR + MINUTE);
    assert.equal((await w.inner.tombstone(subscriptionId))?.reason, 'expired');
    assert.ok(tries > 10 && tries <= 61, `one try per minute, but there were ${tries}`);
    await w.close();
  });
});

describe('the end of a subscription', () => {
  test('[stream-end end-last] reaches a stream that reads while the end is being written', async () => {
    const w = await world();
    const { subscriptionId, epoch } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
    });
    await w.emitAll(1, 2);
    const stream = listen(w.engine, ann, { subscriptionId });
    await turns();
    const written = gate();
    w.meddled.before = (writes) =>
      writes.some(({ type }) => type === 'end') ? written.opened : undefined;
    const ended = w.engine.terminate({ principal: 'ann' }, 'revoked');
    await turns();
    // The heartbeat wakes the stream in the meantime.
    await w.pass(16 * SECOND);
    written.open();
    await Promise.all([ended, stream.ended]);
    assert.deepEqual(stream.deliveries.at(-1)?.terminated, { reason: 'revoked' });
    assert.deepEqual([stream.deliveries.at(-1)?.head, stream.deliveries.at(-1)?.epoch], [2, epoch]);
    assert.equal(stream.deliveries.filter(({ terminated }) => terminated !== undefined).length, 1);
    await w.close();
  });

  test('[end-pull] answers a waiting pull at once', async () => {
    const w = await world();
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
    });
    const pulled = w.engine.pull(ann, { subscriptionId, waitMs: 20_000 });
    await turns();
    await w.engine.terminate({ principal: 'ann', subscriptionId }, 'revoked');
    const answer = (await pulled) as Delivery & { hasMore: boolean };
    assert.deepEqual(
      [answer.terminated, answer.events, answer.hasMore],
      [{ reason: 'revoked' }, [], false],
    );
    await w.close();
  });

  test('[end-callback] is announced to the callback, unless the client ended it', async () => {
    const w = await world();
    const one = await w.engine.subscribe(ann, {
      key: 'one',
      select: [{ name: 'tick' }],
      callback: CALLBACK,
    });
    await w.engine.subscribe(ann, { key: 'two', select: [{ name: 'tick' }], callback: CALLBACK });
    await w.engine.unsubscribe(ann, { subscriptionId: one.subscriptionId });
    await turns();
    assert.equal(w.endpoints.requests.length, 0);
    await w.engine.terminate({ principal: 'ann' }, 'revoked');
    await turns();
    assert.deepEqual(
      w.endpoints.requests.map(({ delivery }) => [delivery.key, delivery.terminated?.reason]),
      [['two', 'revoked']],
    );
    await w.close();
  });
});

test('a secret that rotates twice within the window signs with the newest two', async () => {
  const w = await world();
  const { subscriptionId } = await w.engine.subscribe(ann, {
    key: 'k',
    select: [{ name: 'tick' }],
    callback: CALLBACK,
  });
  for (const fill of [2, 3]) {
    w.endpoints.prove = (request) => response(200, w.endpoints.proof(request, secretOf(fill)));
    await w.engine.update(ann, {
      subscriptionId,
      callback: { ...CALLBACK, secret: secretOf(fill) },
    });
  }
  await w.emit(1);
  await turns();
  assert.equal(w.endpoints.requests[0]?.headers['webhook-signature']?.split(' ').length, 2);
  await w.close();
});
