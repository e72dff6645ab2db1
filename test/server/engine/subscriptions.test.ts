/** Tests creating, finding, changing, renewing and ending subscriptions. */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type {
  Delivery,
  Subscription,
  UpdateRequestParams,
} from '../../../spec-schema/draft/schema.ts';
import type { SuggestedLifetime } from '../../../src/protocol/core/index.ts';
import {
  ann,
  bob,
  CALLBACK,
  DAY,
  failed,
  HOUR,
  listen,
  MINUTE,
  numbers,
  position,
  refusal,
  response,
  SECOND,
  secretOf,
  tick,
  tock,
  turns,
  world,
} from './harness.ts';

const select = [{ name: 'tick' }];
const get = async (w: Awaited<ReturnType<typeof world>>, subscriptionId: string) =>
  (await w.engine.get(ann, { subscriptionId })) as Subscription;

describe('subscribe', () => {
  test('[subs-same etag-config] repeated with the same params renews the same subscription', async () => {
    const w = await world();
    const params = {
      key: 'k',
      select: [{ name: 'tick', arguments: {} }],
      callback: CALLBACK,
      ttlMs: HOUR,
    };
    const one = await w.engine.subscribe(ann, params);
    await w.pass(10 * MINUTE);
    // Absent arguments are empty arguments.
    const two = await w.engine.subscribe(ann, { ...params, select });
    assert.deepEqual(
      [one.created, two.created, two.subscriptionId, two.etag],
      [true, false, one.subscriptionId, one.etag],
    );
    assert.equal(Date.parse(two.expiresAt!) - Date.parse(one.expiresAt!), 10 * MINUTE);
    assert.equal(w.endpoints.challenges.length, 1);
    await w.close();
  });

  test('gives ids that no command line reads as an option', async () => {
    const random = { uniform: () => 0.5, token: (bytes: number) => '-'.repeat(bytes + 1) };
    const w = await world({ random });
    const { subscriptionId, epoch } = await w.engine.subscribe(ann, { key: 'k', select });
    assert.doesNotMatch(subscriptionId, /^-/);
    assert.doesNotMatch(epoch, /^-/);
    await w.close();
  });

  test('[subs-conflict gen-atomic] with different params conflicts, shows the current state, and changes nothing', async () => {
    const w = await world();
    const params = { key: 'k', select, callback: CALLBACK };
    const { subscriptionId, etag, expiresAt } = await w.engine.subscribe(ann, params);
    await w.pass(SECOND);
    const others = [
      { ...params, select: [{ name: 'tick', arguments: { topic: 'red' } }] },
      { ...params, callback: { ...CALLBACK, url: 'https://hooks.example/other' } },
      { ...params, callback: { ...CALLBACK, secret: secretOf(2) } },
      { key: 'k', select },
      { ...params, callback: { ...CALLBACK, skipAfterMs: HOUR } },
    ];
    for (const other of others)
      assert.deepEqual((await refusal(w.engine.subscribe(ann, other))).data, {
        kind: 'key',
        subscriptionId,
        etag,
      });
    const now = await get(w, subscriptionId);
    assert.deepEqual([now.etag, now.expiresAt], [etag, expiresAt]);
    await w.close();
  });

  test('[subs-key-scope] keeps the keys of principals apart', async () => {
    const w = await world();
    const one = await w.engine.subscribe(ann, { key: 'k', select });
    const two = await w.engine.subscribe(bob, { key: 'k', select });
    assert.deepEqual([one.created, two.created], [true, true]);
    assert.notEqual(one.subscriptionId, two.subscriptionId);
    assert.deepEqual(
      (await w.engine.subscriptions(bob, {})).subscriptions.map(
        ({ subscriptionId }) => subscriptionId,
      ),
      [two.subscriptionId],
    );
    await w.close();
  });

  test('[subs-unknown-trigger subs-arguments subs-permission subs-unsupported sig-secret-format] rejects bad requests', async () => {
    const w = await world({
      triggers: [
        tick,
        tock,
        { type: { ...tick.type, name: 'pullable', drains: ['pull'] } },
        { type: { ...tock.type, name: 'hidden' } },
      ],
      // Only some values of `tock` may be followed; `hidden` may not be followed at all, and its
      // existence is not revealed.
      authorize: (_caller, { name, arguments: args }) =>
        name === 'tock' ? args['of'] === undefined : name !== 'hidden',
    });
    const key = 'k';
    const cases: readonly [Parameters<typeof w.engine.subscribe>[1], object][] = [
      [{ key, select: [{ name: 'nothing' }] }, { kind: 'trigger' }],
      [{ key, select: [{ name: 'tock', arguments: { of: 'others' } }] }, { kind: 'permission' }],
      [{ key, select: [{ name: 'hidden' }] }, { kind: 'trigger' }],
      [
        { key, select: [{ name: 'pullable' }], callback: CALLBACK },
        { kind: 'feature', feature: 'callback' },
      ],
    ];
    for (const [params, data] of cases)
      assert.deepEqual((await refusal(w.engine.subscribe(ann, params))).data, data);
    const wrong = await refusal(
      w.engine.subscribe(ann, { key, select: [{ name: 'tick', arguments: { topic: 7 } }] }),
    );
    assert.deepEqual(
      [wrong.code, wrong.data['kind'], wrong.data['path']],
      [-32602, 'invalid', '/select/0/arguments/topic'],
    );
    const short = await refusal(
      w.engine.subscribe(ann, { key, select, callback: { ...CALLBACK, secret: 'whsec_AAAA' } }),
    );
    assert.deepEqual([short.code, short.data['path']], [-32602, '/callback/secret']);
    assert.doesNotMatch(JSON.stringify(short), /AAAA/);
    assert.deepEqual(
      (
        await refusal(
          w.engine.subscribe(ann, {
            key,
            select: [{ name: 'pullable' }, { name: 'tick' }],
            callback: CALLBACK,
          }),
        )
      ).data,
      { kind: 'feature', feature: 'callback' },
    );
    assert.equal(
      w.endpoints.challenges.length,
      0,
      'a request that is rejected anyway does not reach the endpoint',
    );
    await w.close();
  });

  test('[ttl-clamp ttl-default ttl-null ttl-renew-hint] grants a lifetime within the bounds', async () => {
    const table: readonly [boolean, SuggestedLifetime, number | null][] = [
      [false, {}, HOUR],
      [false, { ttlMs: 1 }, MINUTE],
      [false, { ttlMs: 5 * MINUTE }, 5 * MINUTE],
      [false, { ttlMs: 90 * DAY }, 30 * DAY],
      [false, { noExpiry: true }, 30 * DAY],
      [true, { noExpiry: true }, null],
    ];
    for (const [durable, asked, granted] of table) {
      const w = await world({ ttl: { allowNoExpiry: durable } });
      const made = await w.engine.subscribe(ann, { key: 'k', select, ...asked });
      if (granted === null) {
        assert.equal('ttlMs' in made || 'expiresAt' in made || 'renewAfterMs' in made, false);
        const pulled = await w.engine.pull(ann, { subscriptionId: made.subscriptionId });
        assert.equal('expiresAt' in pulled, false);
        await w.close();
        continue;
      }
      const { ttlMs, expiresAt, renewAfterMs } = made;
      assert.deepEqual(
        [ttlMs, expiresAt],
        [granted, new Date(w.clock.now() + granted).toISOString()],
      );
      assert.ok(renewAfterMs! >= granted * 0.5 && renewAfterMs! < granted * 0.8);
      await w.close();
    }
  });

  test('[subs-since subs-since-bound subs-since-existing subs-unsupported] begins a log in the past', async () => {
    const w = await world();
    await w.emit(1);
    await w.pass(50 * MINUTE);
    await w.emitAll(2, 3, { topic: 'red' });
    await w.emit(4, { topic: 'blue' });
    await w.pass(20 * MINUTE);
    const asked = new Date(w.clock.now() - DAY).toISOString();
    const { subscriptionId, head, since, epoch } = await w.engine.subscribe(ann, {
      key: 'red',
      select: [{ name: 'tick', arguments: { topic: 'red' } }],
      since: asked,
    });
    assert.deepEqual([head, since], [2, new Date(w.clock.now() - HOUR).toISOString()]);
    await w.emit(5, { topic: 'red' });
    const { events } = (await w.engine.pull(ann, {
      subscriptionId,
      after: position(epoch, 0),
    })) as Delivery;
    assert.deepEqual(
      events.map(({ sequence, eventId }) => [sequence, eventId]),
      [
        [1, 'e2'],
        [2, 'e3'],
        [3, 'e5'],
      ],
    );
    const again = await w.engine.subscribe(ann, {
      key: 'red',
      select: [{ name: 'tick', arguments: { topic: 'red' } }],
      since: asked,
    });
    assert.deepEqual([again.created, again.head, again.since], [false, 3, undefined]);
    assert.deepEqual(
      (
        await refusal(
          w.engine.subscribe(ann, { key: 'tock', select: [{ name: 'tock' }], since: asked }),
        )
      ).data,
      { kind: 'feature', feature: 'since' },
    );
    await w.close();
  });

  test('[subs-since gen-instants] takes every form of an instant, and begins with the event of that millisecond', async () => {
    const w = await world();
    const at = w.clock.now();
    await w.emit(1);
    await w.pass(MINUTE);
    const written = new Date(at).toISOString();
    const local = new Date(at + 2 * HOUR).toISOString().replace('Z', '+02:00');
    for (const [since, head] of [
      [written, 1],
      [local, 1],
      [written.replace('.000Z', 'z').replace('T', 't'), 1],
      [written.replace('Z', '0000001Z'), 0],
      [local.replace('+02:00', '-02:00'), 0],
    ] as const)
      assert.equal(
        (await w.engine.subscribe(ann, { key: since, select, since })).head,
        head,
        since,
      );
    await w.close();
  });

  test('[subs-since log-once log-all-matching] loses and duplicates no event where history meets new events', async () => {
    for (let held = 0; held < 8; held += 1) {
      const w = await world();
      for (let n = 1; n <= 3; n += 1) await w.emit(n);
      let asked = 0;
      let more = 100;
      // Events keep arriving while history is read.
      w.meddled.asked = async (question) => {
        if (question !== 'history' || (asked += 1) > 4) return;
        void w.emit((more += 1));
        await turns(held);
      };
      const { subscriptionId, epoch } = await w.engine.subscribe(ann, {
        key: 'k',
        select,
        since: new Date(0).toISOString(),
      });
      await w.engine.settled();
      await turns();
      const { events } = (await w.engine.pull(ann, {
        subscriptionId,
        after: position(epoch, 0),
      })) as Delivery;
      const ids = events.map(({ eventId }) => eventId);
      assert.deepEqual(
        ids,
        ['e1', 'e2', 'e3', ...Array.from({ length: more - 100 }, (_, at) => `e${101 + at}`)],
        `${held} turns`,
      );
      await w.close();
    }
  });
});

describe('update', () => {
  test('[upd-if-match gen-atomic etag-config subs-key-scope] changes all or nothing, and the etag with it', async () => {
    const w = await world();
    const { subscriptionId, etag, key } = await w.engine.subscribe(ann, { key: 'k', select });
    const etags = [etag];
    const changes: readonly Omit<UpdateRequestParams, 'subscriptionId'>[] = [
      { paused: true },
      { ttlMs: 2 * HOUR },
      { select: [{ name: 'tock' }] },
      { callback: CALLBACK },
      { callback: { ...CALLBACK, secret: CALLBACK.secret } },
      { callback: { ...CALLBACK, skipAfterMs: HOUR } },
      { removeCallback: true },
      { paused: false },
    ];
    for (const change of changes) {
      const updated = await w.engine.update(ann, {
        subscriptionId,
        ifMatch: etags.at(-1)!,
        ...change,
      });
      assert.equal(updated.key, key);
      if (updated.etag !== etags.at(-1)) etags.push(updated.etag);
    }
    // The same callback again changes nothing.
    assert.equal(etags.length, 8);
    assert.equal(new Set(etags).size, 8);
    const stale = await refusal(
      w.engine.update(ann, { subscriptionId, ifMatch: etag, paused: true, ttlMs: 3 * HOUR }),
    );
    assert.deepEqual([stale.code, stale.data], [-32602, { kind: 'etag', etag: etags.at(-1) }]);
    const now = await get(w, subscriptionId);
    assert.deepEqual(
      [now.paused, now.ttlMs, now.select, now.retention],
      [undefined, 2 * HOUR, [{ name: 'tock', arguments: {} }], { maxAgeMs: HOUR, maxEvents: 10 }],
    );
    await w.close();
  });

  test('[ttl-clamp] leaves the expiry unchanged unless a lifetime is requested', async () => {
    const w = await world();
    const { subscriptionId, expiresAt } = await w.engine.subscribe(ann, {
      key: 'k',
      select,
      ttlMs: HOUR,
    });
    await w.pass(50 * MINUTE);
    const paused = await w.engine.update(ann, { subscriptionId, paused: true });
    assert.equal(paused.expiresAt, expiresAt);
    assert.ok(paused.renewAfterMs! < 10 * MINUTE, 'the hint comes before the current expiry');
    const renewed = await w.engine.update(ann, { subscriptionId, ttlMs: HOUR });
    assert.equal(Date.parse(renewed.expiresAt!) - Date.parse(expiresAt!), 50 * MINUTE);
    assert.equal(renewed.etag, paused.etag);
    await w.close();
  });

  test('[sub-paused retry-suspend sub-resume-continues] pauses and resumes', async () => {
    const w = await world();
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select,
      callback: CALLBACK,
    });
    await w.emit(1);
    await turns();
    await w.engine.update(ann, { subscriptionId, paused: true });
    await w.emitAll(2, 4);
    await w.pass(MINUTE);
    assert.deepEqual([w.endpoints.numbers, (await get(w, subscriptionId)).head], [[[1]], 4]);
    await w.engine.update(ann, { subscriptionId, paused: false });
    await turns();
    assert.deepEqual(w.endpoints.numbers, [[1], [2, 3, 4]]);
    await w.close();
  });

  test('[upd-verify cbv-before-events gen-atomic] replaces nothing when the new callback does not prove consent', async () => {
    const w = await world();
    const { subscriptionId, etag } = await w.engine.subscribe(ann, {
      key: 'k',
      select,
      callback: CALLBACK,
    });
    w.endpoints.prove = () => response(200, { hello: 'world' });
    const refused = await refusal(
      w.engine.update(ann, {
        subscriptionId,
        callback: { ...CALLBACK, url: 'https://other.example/in' },
        paused: true,
      }),
    );
    assert.deepEqual(refused.data, { kind: 'callback', category: 'challenge_failed' });
    const now = await get(w, subscriptionId);
    assert.deepEqual(
      [now.etag, now.callback?.origin, now.callback?.state, now.paused],
      [etag, 'https://hooks.example', 'ok', undefined],
    );
    await w.close();
  });

  test('[upd-select] applies to later events; assigned numbers stay', async () => {
    const w = await world();
    const { subscriptionId, epoch } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick', arguments: { topic: 'red' } }],
    });
    await w.emit(1, { topic: 'red' });
    await w.engine.update(ann, {
      subscriptionId,
      select: [{ name: 'tick', arguments: { topic: 'blue' } }],
    });
    await w.emit(2, { topic: 'red' });
    await w.emit(3, { topic: 'blue' });
    const { events } = (await w.engine.pull(ann, {
      subscriptionId,
      after: position(epoch, 0),
    })) as Delivery;
    assert.deepEqual(
      events.map(({ sequence, eventId }) => [sequence, eventId]),
      [
        [1, 'e1'],
        [2, 'e3'],
      ],
    );
    await w.close();
  });
});

describe('reading', () => {
  test('[get-not-modified get-full ttl-not-by-reading etag-config] returns a subscription, or not modified, without side effects', async () => {
    const w = await world();
    const { subscriptionId, etag, epoch, expiresAt } = await w.engine.subscribe(ann, {
      key: 'k',
      select,
      callback: CALLBACK,
    });
    await w.emitAll(1, 3);
    await turns();
    await w.pass(MINUTE);
    const same = await w.engine.get(ann, { subscriptionId, ifNoneMatch: etag });
    const lastDeliveryAt = new Date(w.clock.now() - MINUTE).toISOString();
    assert.deepEqual(same, {
      notModified: true,
      etag,
      epoch,
      head: 3,
      acked: 3,
      oldest: 1,
      expiresAt,
      callback: { state: 'ok', health: { attempts: 0, lastDeliveryAt } },
    });
    const whole = (await w.engine.get(ann, {
      subscriptionId,
      ifNoneMatch: 'another',
    })) as Subscription;
    assert.deepEqual([whole.head, whole.oldest, whole.expiresAt], [3, 1, expiresAt]);
    assert.doesNotMatch(JSON.stringify(whole), /whsec_|\/in"/);
    await w.close();
  });

  test('[get-not-modified] not modified still tells what changes by itself: the state and the health of the callback, and the oldest number', async () => {
    const w = await world({ ttl: { allowNoExpiry: true } });
    const params = { select: [{ name: 'tock' }], noExpiry: true as const };
    const { subscriptionId, etag } = await w.engine.subscribe(ann, {
      ...params,
      key: 'k',
      callback: CALLBACK,
    });
    const condition = async () => {
      const same = await w.engine.get(ann, { subscriptionId, ifNoneMatch: etag });
      assert.ok('notModified' in same);
      assert.equal('expiresAt' in same, false);
      const { oldest, callback } = await get(w, subscriptionId);
      assert.equal(same.oldest, oldest);
      assert.deepEqual(same.callback, { state: callback!.state, health: callback!.health });
      return [same.oldest > 1, same.callback?.state, same.callback?.health.lastError];
    };
    assert.deepEqual(await condition(), [false, 'ok', undefined]);
    w.endpoints.answer = () => response(404);
    for (let n = 1; n <= 100; n += 1) await w.emit(n, {}, 'tock');
    await turns();
    assert.deepEqual(await condition(), [true, 'failing', 'http_4xx']);
    w.endpoints.prove = () => response(404);
    await w.pass(HOUR - MINUTE);
    assert.deepEqual(await condition(), [true, 'suspended', 'http_4xx']);

    const without = await w.engine.subscribe(ann, { ...params, key: 'without' });
    const same = await w.engine.get(ann, {
      subscriptionId: without.subscriptionId,
      ifNoneMatch: without.etag,
    });
    assert.deepEqual(Object.keys(same).sort(), [
      'acked',
      'epoch',
      'etag',
      'head',
      'notModified',
      'oldest',
    ]);
    await w.close();
  });

  test("[list-subs-own] lists the caller's subscriptions page by page", async () => {
    const w = await world();
    const made = [];
    for (let n = 0; n < 120; n += 1)
      made.push(
        (await w.engine.subscribe(n % 4 === 3 ? bob : ann, { key: `k${n}`, select }))
          .subscriptionId,
      );
    const found: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await w.engine.subscriptions(ann, cursor === undefined ? {} : { cursor });
      found.push(...page.subscriptions.map(({ subscriptionId }) => subscriptionId));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    assert.deepEqual(
      found,
      made.filter((_, n) => n % 4 !== 3),
    );
    assert.equal(
      (await refusal(w.engine.subscriptions(ann, { cursor: 'nonsense' }))).data['path'],
      '/cursor',
    );
    await w.close();
  });

  test('[list-not-modified list-etag-pages list-private list-only-usable] lists the usable trigger types', async () => {
    const many = Array.from({ length: 130 }, (_, n) => ({
      type: { ...tick.type, name: `t${String(n).padStart(3, '0')}` },
    }));
    const open = await world({ triggers: many });
    const one = await open.engine.list(ann, {});
    assert.ok(
      'triggers' in one &&
        one.nextCursor !== undefined &&
        one.triggers.length === 100 &&
        one.cacheScope === 'public',
    );
    const two = await open.engine.list(ann, { cursor: one.nextCursor });
    assert.ok('triggers' in two && two.nextCursor === undefined && two.etag === one.etag);
    assert.deepEqual(
      [...one.triggers, ...two.triggers].map(({ name }) => name),
      many.map(({ type }) => type.name),
    );
    assert.ok('notModified' in (await open.engine.list(ann, { ifNoneMatch: one.etag })));
    let told = 0;
    open.engine.onListChanged(() => {
      told += 1;
    });
    open.engine.declare(tock);
    assert.notEqual((await open.engine.list(ann, {})).etag, one.etag);
    assert.equal(told, 1);
    await open.close();
    const shut = await world({
      authorize: ({ principal }, { name }) => principal === 'ann' || name === 'tick',
    });
    const seen = await shut.engine.list(bob, {});
    assert.ok('triggers' in seen && seen.cacheScope === 'private');
    assert.deepEqual(
      seen.triggers.map(({ name }) => name),
      ['tick'],
    );
    await shut.close();
  });
});

describe('isolation', () => {
  test('[iso-own iso-not-found] answers another principal exactly as for an unknown subscription', async () => {
    const w = await world();
    const { subscriptionId, epoch, etag } = await w.engine.subscribe(ann, { key: 'k', select });
    await w.emit(1);
    const never = 'sub_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa';
    const sink = { send: async () => undefined };
    const calls = (id: string) => [
      w.engine.get(bob, { subscriptionId: id }),
      w.engine.update(bob, { subscriptionId: id, ifMatch: etag, paused: true }),
      w.engine.unsubscribe(bob, { subscriptionId: id }),
      w.engine.pull(bob, { subscriptionId: id }),
      w.engine.ack(bob, { subscriptionId: id, position: position(epoch, 1) }),
      w.engine.stream(bob, { subscriptionId: id }, sink, new AbortController().signal),
    ];
    const all = await Promise.all(
      [...calls(subscriptionId), ...calls(never)].map(async (call) =>
        JSON.stringify(await refusal(call)),
      ),
    );
    assert.equal(new Set(all).size, 1);
    assert.deepEqual(JSON.parse(all[0]!), {
      code: -32023,
      message: 'Subscription not found. Call triggers/subscribe to create it.',
      data: { kind: 'subscription' },
    });
    // The answer stays the same after the end, of which only the owner learns.
    await w.engine.unsubscribe(ann, { subscriptionId });
    assert.equal(JSON.stringify(await refusal(w.engine.get(bob, { subscriptionId }))), all[0]);
    assert.deepEqual((await refusal(w.engine.get(ann, { subscriptionId }))).data, {
      kind: 'subscription',
      reason: 'unsubscribed',
      final: { epoch, head: 1, acked: 0 },
    });
    await w.close();
  });
});

describe('the end', () => {
  test('[ttl-kept end-tombstone end-key-free log-epoch-rotate] comes with expiry', async () => {
    const w = await world();
    const { subscriptionId, epoch } = await w.engine.subscribe(ann, {
      key: 'k',
      select,
      callback: CALLBACK,
      ttlMs: 10 * MINUTE,
    });
    await w.emit(1);
    await turns();
    const stream = listen(w.engine, ann, { subscriptionId });
    await w.pass(10 * MINUTE - SECOND);
    assert.equal((await get(w, subscriptionId)).head, 1);
    await w.pass(2 * SECOND);
    await stream.ended;
    assert.deepEqual(stream.deliveries.at(-1)?.terminated, { reason: 'expired' });
    assert.deepEqual(w.endpoints.requests.at(-1)?.delivery.terminated, { reason: 'expired' });
    const final = { kind: 'subscription', reason: 'expired', final: { epoch, head: 1, acked: 1 } };
    assert.deepEqual((await refusal(w.engine.pull(ann, { subscriptionId }))).data, final);
    await w.pass(23 * HOUR);
    assert.deepEqual((await refusal(w.engine.get(ann, { subscriptionId }))).data, final);
    await w.pass(2 * HOUR);
    assert.deepEqual((await refusal(w.engine.get(ann, { subscriptionId }))).data, {
      kind: 'subscription',
    });
    const next = await w.engine.subscribe(ann, { key: 'k', select, callback: CALLBACK });
    assert.equal(next.created, true);
    assert.notEqual(next.subscriptionId, subscriptionId);
    assert.notEqual(next.epoch, epoch);
    assert.match(next.epoch, /^ep_[\w-]{22}$/);
    await w.close();
  });

  test('[uns-ends upd-if-match] comes with unsubscribe', async () => {
    const w = await world();
    const { subscriptionId, etag } = await w.engine.subscribe(ann, {
      key: 'k',
      select,
      callback: CALLBACK,
    });
    const { etag: now } = await w.engine.update(ann, { subscriptionId, paused: true });
    assert.deepEqual(
      (await refusal(w.engine.unsubscribe(ann, { subscriptionId, ifMatch: etag }))).data,
      { kind: 'etag', etag: now },
    );
    assert.deepEqual(await w.engine.unsubscribe(ann, { subscriptionId, ifMatch: now }), {});
    await w.emit(1);
    await w.pass(MINUTE);
    assert.equal(w.endpoints.requests.length, 0);
    await w.close();
  });

  test('[type-breaking end-revoked] comes when a trigger type is removed or a principal loses its permission', async () => {
    const w = await world();
    const one = await w.engine.subscribe(ann, {
      key: 'one',
      select: [{ name: 'tick' }, { name: 'tock' }],
    });
    const two = await w.engine.subscribe(ann, { key: 'two', select: [{ name: 'tick' }] });
    const three = await w.engine.subscribe(ann, { key: 'three', select: [{ name: 'tick' }] });
    await w.engine.remove('tock');
    assert.equal(
      (await refusal(w.engine.get(ann, { subscriptionId: one.subscriptionId }))).data['reason'],
      'trigger_removed',
    );
    assert.equal(
      await w.engine.terminate({ principal: 'ann', subscriptionId: two.subscriptionId }, 'revoked'),
      1,
    );
    assert.equal(
      (await refusal(w.engine.get(ann, { subscriptionId: two.subscriptionId }))).data['reason'],
      'revoked',
    );
    assert.equal((await get(w, three.subscriptionId)).key, 'three');
    assert.equal(await w.engine.terminate({ principal: 'ann' }, 'failed'), 1);
    await w.close();
  });

  test('[end-tombstone] is forgotten a day later, even if the sweep is late', async () => {
    const w = await world();
    const { subscriptionId } = await w.engine.subscribe(ann, { key: 'k', select });
    await w.engine.unsubscribe(ann, { subscriptionId });
    w.clock.jump(DAY - SECOND);
    assert.equal(
      (await refusal(w.engine.get(ann, { subscriptionId }))).data['reason'],
      'unsubscribed',
    );
    w.clock.jump(SECOND);
    assert.deepEqual((await refusal(w.engine.get(ann, { subscriptionId }))).data, {
      kind: 'subscription',
    });
    await w.close();
  });

  test('[end-recheck end-revoked] comes a minute after a start that finds the permission gone', async () => {
    const w = await world({ reauthorize: () => false });
    const { subscriptionId } = await w.engine.subscribe(ann, { key: 'k', select });
    await w.pass(MINUTE - SECOND);
    assert.equal((await get(w, subscriptionId)).key, 'k');
    await w.pass(2 * SECOND);
    assert.equal((await refusal(w.engine.get(ann, { subscriptionId }))).data['reason'], 'revoked');
    await w.close();
  });

  test('[ttl-survives log-stable sub-id-unguessable] does not come with a restart, which changes nothing', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'triggers-engine-'));
    try {
      const path = join(directory, 'store.db');
      const first = await world({ path });
      const { subscriptionId, epoch, etag } = await first.engine.subscribe(ann, {
        key: 'k',
        select,
        noExpiry: true,
      });
      await first.emitAll(1, 3);
      const before = (await first.engine.pull(ann, { subscriptionId })) as Delivery;
      await first.close();
      const second = await world({ path, clock: first.clock, seed: 2 });
      const after = (await second.engine.pull(ann, { subscriptionId })) as Delivery;
      assert.deepEqual(after, before);
      assert.deepEqual([after.epoch, after.etag, numbers(after)], [epoch, etag, [1, 2, 3]]);
      assert.equal(
        (await second.engine.emit({ name: 'tick', eventId: 'e2', data: {} })).duplicate,
        true,
      );
      await second.close();
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

describe('verification', () => {
  test('[subs-verified cbv-one-request cbv-proof] reports a category for each way to fail, and stores nothing', async () => {
    const table: readonly [
      string,
      (
        | Parameters<typeof response>
        | 'timeout'
        | 'tls_error'
        | 'connection_refused'
        | 'echo'
        | 'wrong'
      ),
    ][] = [
      ['timeout', 'timeout'],
      ['tls_error', 'tls_error'],
      ['connection_refused', 'connection_refused'],
      ['http_4xx', [302]],
      ['http_4xx', [404]],
      ['gone', [410]],
      ['http_5xx', [500]],
      ['challenge_failed', [200]],
      ['challenge_failed', [200, '<html>']],
      ['challenge_failed', 'echo'],
      ['challenge_failed', 'wrong'],
    ];
    for (const [at, [reason, how]] of table.entries()) {
      const w = await world();
      w.endpoints.prove = (request) => {
        if (how === 'echo') return response(200, { challenge: request.challenge.challenge });
        if (how === 'wrong') return response(200, w.endpoints.proof(request, secretOf(9)));
        return typeof how === 'string' ? failed(how) : response(...how);
      };
      const refused = await refusal(
        w.engine.subscribe(ann, { key: 'k', select, callback: CALLBACK }),
      );
      assert.deepEqual(
        [refused.code, refused.data],
        [-32027, { kind: 'callback', category: reason }],
        `case ${at}`,
      );
      assert.equal(w.endpoints.challenges.length, 1);
      assert.equal((await w.engine.subscriptions(ann, {})).subscriptions.length, 0);
      await w.close();
    }
  });

  test('[subs-id-first cbv-challenge cb-id-random] sends a challenge that names the future subscription, and nothing else', async () => {
    const w = await world();
    const { subscriptionId, key } = await w.engine.subscribe(ann, {
      key: 'k',
      select,
      callback: CALLBACK,
    });
    const { challenge, headers } = w.endpoints.challenges[0]!;
    assert.deepEqual(challenge, { subscriptionId, key, challenge: challenge.challenge });
    assert.match(challenge.challenge, /^[\w-]{22,128}$/);
    assert.equal(headers['mcp-subscription-id'], subscriptionId);
    assert.match(headers['webhook-id']!, /^msg_[\w-]{32}$/);
    await w.close();
  });

  test('[cbv-cache cbv-before-events] is valid for the same principal and URL for a day', async () => {
    const w = await world();
    const subscribe = (caller: typeof ann, key: string) =>
      w.engine.subscribe(caller, { key, select, callback: CALLBACK });
    await subscribe(ann, 'one');
    await subscribe(ann, 'two');
    assert.equal(w.endpoints.challenges.length, 1);
    await subscribe(bob, 'one');
    assert.equal(w.endpoints.challenges.length, 2);
    await w.pass(DAY);
    await subscribe(ann, 'three');
    assert.equal(w.endpoints.challenges.length, 3);
    await w.close();
  });

  test('[cbv-cache cbv-before-events] is not valid for another secret, which the endpoint may not know', async () => {
    const w = await world();
    await w.engine.subscribe(ann, { key: 'one', select, callback: CALLBACK });
    const other = { ...CALLBACK, secret: secretOf(2) };
    const refused = await refusal(w.engine.subscribe(ann, { key: 'two', select, callback: other }));
    assert.deepEqual(refused.data, { kind: 'callback', category: 'challenge_failed' });
    assert.equal(w.endpoints.challenges.length, 2);
    await w.close();
  });

  test('[cbv-rate] pauses for a host that fails', async () => {
    const w = await world();
    w.endpoints.prove = () => response(404);
    const reasons = [];
    for (let n = 0; n < 5; n += 1)
      reasons.push(
        (await refusal(w.engine.subscribe(ann, { key: `k${n}`, select, callback: CALLBACK }))).data,
      );
    assert.deepEqual(
      reasons.slice(0, 3),
      Array(3).fill({ kind: 'callback', category: 'http_4xx' }),
    );
    assert.ok(
      reasons
        .slice(3)
        .every(({ limit, retryAfterMs }) => limit === 'verifications' && Number(retryAfterMs) > 0),
    );
    assert.equal(w.endpoints.challenges.length, 3);
    await w.pass(MINUTE);
    w.endpoints.prove = (request) => response(200, w.endpoints.proof(request));
    assert.equal(
      (await w.engine.subscribe(ann, { key: 'k', select, callback: CALLBACK })).created,
      true,
    );
    await w.close();
  });

  test('[cbv-rate] the failures of one owner do not lock the host for another, up to the larger bound of the host', async () => {
    const w = await world();
    w.endpoints.prove = () => response(404);
    const subscribe = (principal: string, key: string) =>
      w.engine.subscribe({ principal }, { key, select, callback: CALLBACK });
    const failing = async (principal: string): Promise<string[]> => {
      const names = [];
      for (let n = 0; n < 5; n += 1)
        names.push(
          await subscribe(principal, `k${n}`).then(
            () => 'created',
            ({ name }: Error) => name,
          ),
        );
      return names;
    };
    const [failed, full] = ['CallbackEndpointError', 'ResourceExhausted'];
    assert.deepEqual(await failing('ann'), [failed, failed, failed, full, full]);
    assert.deepEqual(await failing('bob'), [failed, failed, failed, full, full]);
    w.endpoints.prove = (request) => response(200, w.endpoints.proof(request));
    assert.equal((await subscribe('eve', 'k')).created, true);
    w.endpoints.prove = () => response(404);
    for (let n = 0; n < 20; n += 1) await failing(`another ${n}`);
    assert.ok(w.endpoints.challenges.length <= 31, 'the host gets a bounded number of challenges');
    assert.deepEqual(await failing('last'), Array(5).fill(full));
    await w.pass(MINUTE);
    w.endpoints.prove = (request) => response(200, w.endpoints.proof(request));
    assert.equal((await subscribe('last', 'k')).created, true);
    await w.close();
  });

  test('[cbv-rate] an endpoint that answers slowly delays the challenges of its owner only', async () => {
    const w = await world();
    w.endpoints.prove = (request) =>
      request.url.endsWith('/slow')
        ? new Promise(() => undefined)
        : response(200, w.endpoints.proof(request));
    const slow = { ...CALLBACK, url: `${CALLBACK.url}/slow` };
    void w.engine.subscribe(ann, { key: 'k', select, callback: slow }).catch(() => undefined);
    await turns();
    assert.equal(
      (await w.engine.subscribe(bob, { key: 'k', select, callback: CALLBACK })).created,
      true,
    );
    await w.close();
  });

  test('[cbv-rate] a host that consented once and then fails is challenged no more often than any other', async () => {
    const w = await world();
    const callbackTo = (n: number) => ({ ...CALLBACK, url: `${CALLBACK.url}/${n}` });
    const subscribe = (n: number) =>
      w.engine.subscribe(ann, { key: `k${n}`, select, callback: callbackTo(n) });
    await subscribe(0);
    w.endpoints.prove = async () => {
      await turns();
      return response(404);
    };
    await assert.rejects(subscribe(1), { name: 'CallbackEndpointError' });
    await w.pass(2 * MINUTE);
    const before = w.endpoints.challenges.length;
    const names = await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        subscribe(n + 2).then(
          () => 'created',
          ({ name }: Error) => name,
        ),
      ),
    );
    assert.equal(w.endpoints.challenges.length - before, 3);
    assert.deepEqual(
      names.map((name) => (name === 'ResourceExhausted' ? 'exhausted' : name)),
      [...Array<string>(3).fill('CallbackEndpointError'), ...Array<string>(7).fill('exhausted')],
    );
    await w.close();
  });

  test('[cbv-daily sub-only-client-resumes] repeats daily without expiry, and suspends when consent ends', async () => {
    const w = await world({ ttl: { allowNoExpiry: true } });
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select,
      callback: CALLBACK,
      noExpiry: true,
    });
    await w.pass(3 * DAY + MINUTE);
    assert.equal(w.endpoints.challenges.length, 4);
    w.endpoints.prove = () => response(404);
    await w.pass(DAY);
    const { callback } = await get(w, subscriptionId);
    assert.deepEqual(
      [callback?.state, callback?.health.lastError],
      ['suspended', 'challenge_failed'],
    );
    await w.emit(1);
    await w.pass(3 * DAY);
    assert.deepEqual([w.endpoints.requests.length, (await get(w, subscriptionId)).acked], [0, 0]);
    w.endpoints.prove = (request) => response(200, w.endpoints.proof(request));
    await w.engine.update(ann, { subscriptionId, resume: true });
    await turns();
    assert.deepEqual(
      [(await get(w, subscriptionId)).callback?.state, w.endpoints.numbers],
      ['ok', [[1]]],
    );
    await w.close();
  });

  test('[cbv-daily] a failed daily challenge does not suspend a callback that replaced the challenged one meanwhile', async () => {
    const w = await world({ ttl: { allowNoExpiry: true } });
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select,
      callback: CALLBACK,
      noExpiry: true,
    });
    let refuse: (() => void) | undefined;
    w.endpoints.prove = (request) =>
      request.url === CALLBACK.url
        ? new Promise((resolve) => {
            refuse = () => resolve(response(404));
          })
        : response(200, w.endpoints.proof(request));
    await w.pass(DAY + MINUTE);
    assert.ok(refuse);
    const callback = { url: 'https://other.example.com/hook', secret: CALLBACK.secret };
    await w.engine.update(ann, { subscriptionId, callback });
    refuse();
    await turns();
    assert.equal((await get(w, subscriptionId)).callback?.state, 'ok');
    await w.emit(1);
    await turns();
    assert.deepEqual(
      w.endpoints.requests.map(({ url }) => url),
      [callback.url],
    );
    await w.close();
  });
});

test('[end-revoked] a permission check that finds a selection forbidden ends no subscription that has left it meanwhile', async () => {
  const gates: (() => void)[] = [];
  const w = await world({
    reauthorize: (_, { name }) =>
      new Promise((resolve) => gates.push(() => resolve(name !== 'tick'))),
  });
  const made = [];
  for (const key of ['stays', 'leaves'])
    made.push(await w.engine.subscribe(ann, { key, select, ttlMs: DAY }));
  const [stays, leaves] = made.map(({ subscriptionId }) => subscriptionId);
  await w.pass(2 * MINUTE);
  gates.shift()!();
  await turns();
  await w.engine.update(ann, { subscriptionId: leaves!, select: [{ name: 'tock' }] });
  gates.shift()!();
  await turns();
  await w.pass(SECOND);
  assert.equal((await w.inner.tombstone(stays!))?.reason, 'revoked');
  assert.equal((await get(w, leaves!)).key, 'leaves');
  await w.close();
});

describe('permission of a request', () => {
  test('[end-revoked] a call that finds the permission of the owner gone ends the subscription', async () => {
    let allowed = true;
    const w = await world({ authorize: () => allowed, reauthorize: () => allowed });
    const { subscriptionId, epoch } = await w.engine.subscribe(ann, { key: 'k', select });
    await w.emit(1);
    allowed = false;
    const gone = { kind: 'subscription', reason: 'revoked', final: { epoch, head: 1, acked: 0 } };
    assert.deepEqual((await refusal(w.engine.pull(ann, { subscriptionId }))).data, gone);
    allowed = true;
    assert.deepEqual((await refusal(w.engine.get(ann, { subscriptionId }))).data, gone);
    await w.close();
  });

  test('[iso-scopes] a new selection and a new callback need the scopes of the request that brings them', async () => {
    const w = await world({
      authorize: ({ claims }, { name }) =>
        (claims?.['scopes'] as string[] | undefined)?.includes(name) === true,
    });
    // Two requests of one owner, with tokens of different scopes.
    const full = { principal: 'ann', claims: { scopes: ['tick', 'tock'] } };
    const narrow = { principal: 'ann', claims: { scopes: ['tock'] } };
    const { subscriptionId, etag } = await w.engine.subscribe(full, { key: 'k', select });
    for (const change of [
      { callback: CALLBACK },
      { select: [{ name: 'tick', arguments: { topic: 'red' } }] },
      { select: [{ name: 'tick' }, { name: 'tock' }] },
    ])
      assert.equal(
        (await refusal(w.engine.update(narrow, { subscriptionId, ...change }))).data['kind'],
        'trigger',
      );
    assert.equal(
      (await refusal(w.engine.subscribe(narrow, { key: 'k', select, callback: CALLBACK }))).data[
        'kind'
      ],
      'trigger',
    );
    assert.equal(w.endpoints.challenges.length, 0);
    assert.equal((await get(w, subscriptionId)).etag, etag);
    const moved = await w.engine.update(full, { subscriptionId, select: [{ name: 'tock' }] });
    assert.equal(moved.select[0]?.name, 'tock');
    await w.close();
  });
});
