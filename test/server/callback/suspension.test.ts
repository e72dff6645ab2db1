/**
 * Tests suspended callbacks: the lease does not depend on the endpoint, nothing but the client's
 * word or a proof of the endpoint resumes, and reading changes nothing.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import type { Subscription } from '../../../spec-schema/draft/schema.ts';
import {
  ann,
  CALLBACK,
  DAY,
  failed,
  HOUR,
  kill,
  lastOf,
  listen,
  MINUTE,
  refusal,
  response,
  turns,
  world,
  type WorldOptions,
} from '../engine/harness.ts';
import { place } from '../store/place.ts';

const SUBSCRIBE = {
  key: 'k',
  select: [{ name: 'tick' }],
  callback: CALLBACK,
  ttlMs: 7 * DAY,
};

/** A world with one subscription whose endpoint failed until the callback was suspended. */
async function suspended(params: Partial<typeof SUBSCRIBE> = {}) {
  const w = await world();
  w.endpoints.answer = () => response(404);
  const { subscriptionId } = await w.engine.subscribe(ann, { ...SUBSCRIBE, ...params });
  await w.emit(1);
  w.endpoints.prove = () => failed('connection_refused');
  const get = async (): Promise<Subscription> =>
    (await w.engine.get(ann, { subscriptionId })) as Subscription;
  for (
    let minutes = 0;
    minutes < 120 && (await get()).callback?.state !== 'suspended';
    minutes += 1
  )
    await w.pass(MINUTE);
  assert.equal((await get()).callback?.state, 'suspended');
  /** From now on the endpoint works. */
  const repair = (): void => {
    w.endpoints.answer = ({ delivery }) => response(200, { ackSequence: lastOf(delivery) });
    w.endpoints.prove = (request) => response(200, w.endpoints.proof(request));
  };
  return { ...w, subscriptionId, get, repair };
}

describe('a lease', () => {
  for (const [how, renew] of [
    ['subscribing again with the same values', (w) => w.engine.subscribe(ann, SUBSCRIBE)],
    [
      'an update with ttlMs',
      (w) => w.engine.update(ann, { subscriptionId: w.subscriptionId, ttlMs: 7 * DAY }),
    ],
    [
      'an update that asks to resume',
      (w) =>
        w.engine.update(ann, { subscriptionId: w.subscriptionId, ttlMs: 7 * DAY, resume: true }),
    ],
  ] as readonly [string, (w: Awaited<ReturnType<typeof suspended>>) => Promise<Subscription>][])
    test(`[subs-same ttl-kept] is granted by ${how} while the endpoint is down, for as long as it stays down`, async () => {
      const w = await suspended();
      for (let days = 0; days < 15; days += 5) {
        w.clock.jump(5 * DAY - HOUR);
        await w.pass(HOUR);
        const { expiresAt, callback, head } = await renew(w);
        assert.deepEqual(
          [Date.parse(expiresAt!) - w.clock.now(), callback?.state, head],
          [7 * DAY, 'suspended', 1],
        );
      }
      await w.close();
    });

  test('[subs-same] is granted without a request to the endpoint', async () => {
    const w = await suspended();
    await w.pass(2 * DAY);
    const asked = w.endpoints.challenges.length;
    await w.engine.subscribe(ann, SUBSCRIBE);
    await w.engine.update(ann, { subscriptionId: w.subscriptionId, ttlMs: 7 * DAY });
    await w.engine.update(ann, {
      subscriptionId: w.subscriptionId,
      ttlMs: 7 * DAY,
      callback: CALLBACK,
    });
    assert.equal(w.endpoints.challenges.length, asked);
    await w.close();
  });
});

describe('a suspended callback', () => {
  test('[sub-only-client-resumes] is not resumed by renewing, reading, acknowledging or any other update', async () => {
    const w = await suspended();
    const { subscriptionId } = w;
    const count = w.endpoints.requests.length;
    for (const call of [
      () => w.engine.pull(ann, { subscriptionId }),
      () => w.engine.subscribe(ann, SUBSCRIBE),
      () => w.engine.update(ann, { subscriptionId, ttlMs: DAY }),
      () => w.engine.update(ann, { subscriptionId, paused: true }),
      () => w.engine.update(ann, { subscriptionId, paused: false }),
      () => w.engine.update(ann, { subscriptionId, callback: CALLBACK }),
      () => w.engine.update(ann, { subscriptionId, select: [{ name: 'tock' }] }),
    ]) {
      await call();
      await turns();
      assert.equal((await w.get()).callback?.state, 'suspended', String(call));
    }
    assert.equal(w.endpoints.requests.length, count);
    await w.close();
  });

  test('[gen-atomic] a pull of a poller changes nothing: no number of pulls makes the server call the endpoint', async () => {
    const w = await suspended();
    const before = await w.get();
    const count = w.endpoints.requests.length;
    for (let pulls = 0; pulls < 100; pulls += 1) {
      await w.engine.pull(ann, { subscriptionId: w.subscriptionId });
      await w.pass(5000);
    }
    const { etag, callback } = await w.get();
    assert.deepEqual([etag, callback?.health], [before.etag, before.callback?.health]);
    assert.equal(w.endpoints.requests.length, count);
    await w.close();
  });

  test('[upd-resume] is resumed by `resume`, which resets the counters', async () => {
    const w = await suspended();
    w.repair();
    const { callback } = await w.engine.update(ann, {
      subscriptionId: w.subscriptionId,
      resume: true,
    });
    assert.deepEqual(
      [callback?.state, callback?.health.attempts, callback?.health.suspendedAt],
      ['ok', 0, undefined],
    );
    await turns();
    assert.equal((await w.get()).acked, 1);
    await w.close();
  });

  test('[sub-paused sub-paused-resume sub-only-client-resumes] shows suspended and paused at once; neither call ends the other', async () => {
    const w = await suspended();
    const { subscriptionId } = w;
    w.repair();
    const asked = w.endpoints.challenges.length;
    const sent = w.endpoints.requests.length;
    const shown = async (change: { paused: boolean } | { resume: true }) => {
      await w.engine.update(ann, { subscriptionId, ...change });
      await turns();
      const { paused, callback, acked } = await w.get();
      return [paused, callback?.state, acked];
    };
    assert.deepEqual(await shown({ paused: true }), [true, 'suspended', 0]);
    assert.deepEqual(await shown({ paused: false }), [undefined, 'suspended', 0]);
    assert.deepEqual(await shown({ paused: true }), [true, 'suspended', 0]);
    assert.deepEqual(
      [w.endpoints.challenges.length, w.endpoints.requests.length],
      [asked, sent],
      'no update that pauses reaches the endpoint',
    );
    assert.deepEqual(await shown({ resume: true }), [true, 'ok', 0]);
    await w.pass(HOUR);
    assert.equal(w.endpoints.requests.length, sent, 'nothing is sent while the client pauses');
    assert.deepEqual(await shown({ paused: false }), [undefined, 'ok', 1]);
    await w.close();
  });

  test('[sub-paused] a failing callback that is paused shows both', async () => {
    const w = await world();
    w.endpoints.answer = () => response(500);
    const { subscriptionId } = await w.engine.subscribe(ann, SUBSCRIBE);
    await w.emit(1);
    await turns();
    const { paused, callback } = await w.engine.update(ann, { subscriptionId, paused: true });
    assert.deepEqual([paused, callback?.state], [true, 'failing']);
    await w.close();
  });

  test('[upd-resume] stays suspended after `resume` when its endpoint does not prove its consent, and the call succeeds', async () => {
    const w = await suspended();
    await w.pass(2 * DAY);
    const before = await w.get();
    const after = await w.engine.update(ann, { subscriptionId: w.subscriptionId, resume: true });
    assert.deepEqual(
      [after.callback?.state, after.callback?.health.suspendedAt],
      ['suspended', before.callback?.health.suspendedAt],
    );
    await w.close();
  });

  for (const [what, callback] of [
    ['URL', { ...CALLBACK, url: 'https://other.example.com/hook' }],
    ['secret', { ...CALLBACK, secret: `whsec_${Buffer.alloc(32, 7).toString('base64')}` }],
  ] as const)
    test(`[sub-only-client-resumes] is resumed by a callback with another ${what}, after its proof`, async () => {
      const w = await suspended();
      w.repair();
      w.endpoints.prove = (request) => response(200, w.endpoints.proof(request, callback.secret));
      const { callback: now } = await w.engine.update(ann, {
        subscriptionId: w.subscriptionId,
        callback,
      });
      assert.equal(now?.state, 'ok');
      await turns();
      assert.equal((await w.get()).acked, 1);
      await w.close();
    });

  test('[retry-probe] is challenged with pauses that grow to an hour, and resumed by the right proof', async () => {
    const w = await suspended();
    const before = w.endpoints.challenges.length;
    await w.pass(DAY);
    const times = w.endpoints.challenges.slice(before).map(({ at }) => at);
    assert.ok(times.length >= 24 && times.length <= 60, `${times.length} challenges in a day`);
    const waits = times.slice(1).map((at, index) => at - times[index]!);
    assert.ok(Math.max(...waits) <= HOUR + MINUTE);
    assert.ok(waits.slice(-10).every((wait) => wait >= HOUR / 2));
    const { callback } = await w.get();
    assert.deepEqual(
      [callback?.health.lastError, callback?.health.suspendedAt === undefined],
      ['http_4xx', false],
      'health keeps why and when',
    );
    w.endpoints.prove = (request) => response(200, { challenge: request.challenge.challenge });
    await w.pass(2 * HOUR);
    assert.equal((await w.get()).callback?.state, 'suspended', 'an echo without the proof');
    w.repair();
    await w.pass(HOUR + MINUTE);
    const after = await w.get();
    assert.deepEqual(
      [after.callback?.state, after.acked, after.callback?.health.suspendedAt],
      ['ok', 1, undefined],
    );
    await w.close();
  });

  test('[retry-probe cbv-rate] leaves room for other calls: probes of a host that is down do not use up its verifications', async () => {
    const w = await world();
    w.endpoints.answer = () => response(404);
    for (let n = 0; n < 20; n += 1)
      await w.engine.subscribe(ann, {
        ...SUBSCRIBE,
        key: `k${n}`,
        callback: { ...CALLBACK, url: `https://shared.example/${n}` },
      });
    await w.emit(1);
    w.endpoints.prove = () => failed('connection_refused');
    await w.pass(DAY);
    const { subscriptions } = await w.engine.subscriptions(ann, {});
    assert.ok(subscriptions.every(({ callback }) => callback?.state === 'suspended'));
    w.endpoints.prove = (request) =>
      request.url.endsWith('/new')
        ? response(200, w.endpoints.proof(request))
        : failed('connection_refused');
    for (let tries = 0; tries < 20; tries += 1) {
      await w.pass(7 * MINUTE);
      await w.engine.subscribe(ann, {
        ...SUBSCRIBE,
        key: `new${tries}`,
        callback: { ...CALLBACK, url: `https://shared.example/new` },
      });
    }
    await w.close();
  });
});

describe('skipAfterMs', () => {
  /** A world whose endpoint answers `status` to every delivery with event 1. */
  async function poisoned(status: number, skipAfterMs: number) {
    const w = await world();
    w.endpoints.answer = ({ delivery }) =>
      delivery.events.some(({ sequence }) => sequence === 1)
        ? response(status)
        : response(200, { ackSequence: lastOf(delivery) });
    const { subscriptionId } = await w.engine.subscribe(ann, {
      ...SUBSCRIBE,
      callback: { ...CALLBACK, skipAfterMs },
    });
    w.endpoints.prove = () => response(status);
    await w.emitAll(1, 3);
    const get = async (): Promise<Subscription> =>
      (await w.engine.get(ann, { subscriptionId })) as Subscription;
    return { ...w, subscriptionId, get };
  }

  test('[retry-skip] skips a poison event that is answered with 500 after this time, not after a day and not before', async () => {
    const w = await poisoned(500, 30 * MINUTE);
    await w.pass(29 * MINUTE);
    assert.equal((await w.get()).acked, 0);
    await w.pass(6 * MINUTE);
    const { acked, callback } = await w.get();
    assert.deepEqual([acked, callback?.state, callback?.health.attempts], [3, 'ok', 0]);
    assert.deepEqual(
      w.endpoints.requests.flatMap(({ delivery }) => delivery.gaps ?? []),
      [{ from: 1, to: 1, reason: 'skipped' }],
    );
    await w.close();
  });

  test('[retry-skip-config] does not let a wrong secret use up the log: configuration failures suspend', async () => {
    const w = await poisoned(401, MINUTE);
    await w.pass(HOUR);
    const { acked, callback } = await w.get();
    assert.deepEqual([acked, callback?.state], [0, 'suspended']);
    const { events, gaps } = await w.engine.pull(ann, { subscriptionId: w.subscriptionId });
    assert.deepEqual([events.length, gaps], [3, undefined]);
    await w.close();
  });
});

describe('[end-suspended] a bound of suspensions', () => {
  const maxSuspendedMs = 2 * DAY;
  const bounded = async (options: WorldOptions = {}) => {
    const w = await world({ maxSuspendedMs, ttl: { allowNoExpiry: true }, ...options });
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
      callback: CALLBACK,
      noExpiry: true,
    });
    w.endpoints.answer = () => response(410);
    w.endpoints.prove = () => response(410);
    await w.emit(1);
    await turns();
    const suspendedAt = w.clock.now();
    const endsAt = async (): Promise<number> => {
      const { callback } = (await w.engine.get(ann, { subscriptionId })) as Subscription;
      assert.equal(callback?.state, 'suspended');
      return Date.parse(callback.health.endsAt!) - suspendedAt;
    };
    return { w, subscriptionId, endsAt };
  };

  test('ends the subscription as failed, and tells the callback', async () => {
    const { w, subscriptionId, endsAt } = await bounded();
    assert.equal(await endsAt(), maxSuspendedMs);
    await w.pass(maxSuspendedMs - MINUTE);
    assert.equal(await endsAt(), maxSuspendedMs);
    await w.pass(2 * MINUTE);
    const { data } = await refusal(w.engine.get(ann, { subscriptionId }));
    assert.equal(data['reason'], 'failed');
    assert.deepEqual(w.endpoints.requests.at(-1)?.delivery.terminated, { reason: 'failed' });
    await w.close();
  });

  test('is moved by a pull that returns nothing, with few writes', async () => {
    const { w, subscriptionId, endsAt } = await bounded();
    await w.engine.pull(ann, { subscriptionId, maxEvents: 0 });
    await w.pass(HOUR);
    const before = w.meddled.commits.flat().length;
    for (let n = 0; n < 100; n += 1) await w.engine.pull(ann, { subscriptionId, maxEvents: 0 });
    assert.ok(w.meddled.commits.flat().length <= before + 1, 'writes');
    const moved = await endsAt();
    assert.ok(moved >= maxSuspendedMs + HOUR && moved < maxSuspendedMs + HOUR + MINUTE);
    await w.close();
  });

  test('is moved by an open stream, also without events', async () => {
    const { w, subscriptionId, endsAt } = await bounded();
    const stream = listen(w.engine, ann, { subscriptionId });
    await w.pass(3 * HOUR);
    assert.ok((await endsAt()) >= maxSuspendedMs + 2 * HOUR);
    stream.abort.abort();
    await w.close();
  });

  test('survives a restart', async (t) => {
    const path = place(t);
    const { w, subscriptionId } = await bounded({ path });
    await w.pass(DAY);
    await kill(w);
    const next = await world({ path, clock: w.clock, maxSuspendedMs });
    next.endpoints.prove = () => response(410);
    await next.pass(DAY + MINUTE);
    const { data } = await refusal(next.engine.get(ann, { subscriptionId }));
    assert.equal(data['reason'], 'failed');
    await next.close();
  });
});
