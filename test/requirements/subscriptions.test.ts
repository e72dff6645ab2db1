/** Tests subscribing, updating, lifetimes and ends (SEP: Subscriptions). */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { startServer } from '../reference-server/harness.ts';
import { box, eventually, EXTENSION, sequencesOf, world, type Json, type World } from './world.ts';
import type { Endpoint } from './endpoint.ts';

/** Makes the callback answer 410, which suspends it. */
async function suspend(w: World, endpoint: Endpoint, subscriptionId: string): Promise<void> {
  const before = endpoint.behave;
  endpoint.behave = () => ({ status: 410 });
  await w.open(1);
  await eventually(
    'suspended',
    async () => (await w.get(subscriptionId))['callback'].state === 'suspended',
  );
  endpoint.behave = before;
}

describe('the subscription object', () => {
  test('[sub-id-unguessable] has a long id that looks random in every place, and no id comes twice, even after subscriptions ended', async (t) => {
    const w = await world(t);
    const ids: string[] = [];
    for (let n = 0; n < 64; n += 1) {
      const { subscriptionId } = await w.subscribe({ key: n % 2 === 0 ? 'one' : 'two' });
      ids.push(subscriptionId);
      if (n === 32) await w.restart();
      await w.ok('triggers/unsubscribe', { subscriptionId });
    }
    assert.equal(new Set(ids).size, ids.length);
    const tails = ids.map((id) => id.slice('sub_'.length));
    // At most 6 bits a character, so 128 bits take 22; 64 random characters in one place have about
    // 40 different values.
    const places = tails[0]!.length;
    const varied = Array.from(
      { length: places },
      (_, at) => new Set(tails.map((tail) => tail[at])).size,
    ).filter((count) => count >= 24).length;
    assert.ok(varied >= 22, `only ${varied} of ${places} characters vary freely`);
  });

  test('[gap-effective] has the least retention, member by member, of the selected types', async (t) => {
    const w = await world(t);
    const retention = async (...names: string[]): Promise<Json> =>
      (await w.subscribe({ select: names.map((name) => ({ name })) }))['retention'];
    const types = (await w.ok('triggers/list'))['triggers'] as Json[];
    const of = (name: string): { maxAgeMs: number; maxEvents: number } =>
      types.find((type) => type['name'] === name)!['retention'];
    for (const names of [
      ['box.opened'],
      ['meter.read'],
      ['mail.arrived'],
      ['box.opened', 'mail.arrived'],
      ['meter.read', 'mail.arrived'],
      ['mail.arrived', 'box.opened', 'meter.read'],
    ]) {
      assert.deepEqual(
        await retention(...names),
        {
          maxAgeMs: Math.min(...names.map((name) => of(name).maxAgeMs)),
          maxEvents: Math.min(...names.map((name) => of(name).maxEvents)),
        },
        names.join(),
      );
    }
    // One member comes from each type: neither type has this pair.
    assert.deepEqual(await retention('box.opened', 'mail.arrived'), {
      maxAgeMs: 7_200_000,
      maxEvents: 10_000,
    });
    const { subscriptionId } = await w.subscribe();
    const updated = await w.ok('triggers/update', {
      subscriptionId,
      select: [{ name: 'meter.read' }, { name: 'mail.arrived' }],
    });
    assert.deepEqual(updated['retention'], { maxAgeMs: 3_600_000, maxEvents: 100 });
  });

  test('[gen-instants] has every timestamp in UTC with three decimals', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint((_, n) =>
      n === 1 ? { status: 500 } : { body: { ackSequence: n - 1 } },
    );
    const seen: string[] = [];
    const names = new Set([
      'expiresAt',
      'createdAt',
      'verifiedAt',
      'lastDeliveryAt',
      'failingSince',
      'previousSecretUntil',
      'timestamp',
      'since',
    ]);
    const found = new Set<string>();
    const collect = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      for (const [name, member] of Object.entries(value)) {
        if (names.has(name) && typeof member === 'string') {
          found.add(name);
          seen.push(member);
        } else collect(member);
      }
    };
    await w.engine.emit(
      box.event({ data: { box: 'front' }, timestamp: '2026-11-21T10:29:59.5+01:00' }),
    );
    await w.engine.emit(box.event({ data: { box: 'front' }, timestamp: w.clock.now() }));
    await w.engine.emit(box.event({ data: { box: 'front' }, timestamp: '2026-11-20T00:00:00Z' }));
    const made = await w.subscribe({
      callback: endpoint.callback,
      since: '2026-11-21T09:00:00.000Z',
    });
    collect(made);
    const { subscriptionId } = made;
    await endpoint.nth(1);
    await eventually(
      'failing',
      async () => (await w.get(subscriptionId))['callback'].health.failingSince !== undefined,
    );
    collect(await w.get(subscriptionId));
    await eventually('delivered', async () => {
      await w.pass(1000);
      return (await w.get(subscriptionId))['acked'] >= 1;
    });
    endpoint.secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    collect(await w.ok('triggers/update', { subscriptionId, callback: endpoint.callback }));
    for (const one of [
      await w.get(subscriptionId),
      await w.ok('triggers/subscriptions'),
      await w.pull(subscriptionId),
      ...endpoint.hits.map(({ message }) => message),
    ])
      collect(one);
    const stream = await w.stream({ subscriptionId });
    collect(await stream.next());
    assert.deepEqual(
      [...names].filter((name) => !found.has(name)),
      [],
    );
    for (const instant of seen) {
      assert.match(instant, /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/);
      assert.equal(new Date(instant).toISOString(), instant);
    }
  });
});

describe('triggers/subscribe', () => {
  test('[subs-same err-codes] needs a key, so that a change of select cannot make a second log', async (t) => {
    const w = await world(t);
    const select = [{ name: 'box.opened' }];
    const { subscriptionId } = await w.subscribe({ key: 'mine' });
    await w.ok('triggers/update', {
      subscriptionId,
      select: [{ name: 'box.opened', arguments: { box: 'front' } }],
    });
    assert.deepEqual((await w.refused('triggers/subscribe', { select })).data, {
      kind: 'invalid',
      path: '/key',
      expected: 'a value: this member is required',
    });
    const { subscriptions } = await w.ok('triggers/subscriptions');
    assert.deepEqual(
      subscriptions.map((one: Json) => one['subscriptionId']),
      [subscriptionId],
    );
  });

  test('[ttl-endpoint sub-only-client-resumes] renews a suspended callback when repeated, without resuming it', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const params = { key: 'k', callback: endpoint.callback };
    const { subscriptionId } = await w.subscribe(params);
    endpoint.consent = () => ({ status: 503 });
    await suspend(w, endpoint, subscriptionId);
    const tried = endpoint.deliveries.length;
    await w.pass(3_600_000 / 2);
    const again = await w.subscribe(params);
    assert.deepEqual(
      [
        again['created'],
        again['subscriptionId'],
        again['callback'].state,
        Date.parse(again['expiresAt']) - w.clock.now(),
      ],
      [false, subscriptionId, 'suspended', again['ttlMs']],
    );
    assert.equal(endpoint.deliveries.length, tried, 'a suspended callback gets nothing');
  });

  test('[subs-from-now] what is accepted after the result is in the log, from the first event on', async (t) => {
    const w = await world(t);
    await w.open(3);
    const made = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const one = await w.subscribe();
        // The earliest moment at which a client can know of it.
        await w.engine.emit(box.event({ data: { box: one['subscriptionId'] } }));
        return one;
      }),
    );
    await w.engine.settled();
    for (const { subscriptionId, head, key } of made) {
      assert.ok(head < 8);
      const boxes = (await w.pull(subscriptionId))['events'].map(
        (event: Json) => event['data'].box,
      );
      assert.ok(boxes.includes(subscriptionId), `${key} misses its first event`);
      assert.ok(!boxes.includes('front'), 'nothing from before');
    }
  });

  test('[ttl-clamp] grants a lifetime for every valid suggestion, from 1 ms to ten years', async (t) => {
    const w = await world(t);
    for (const ttlMs of [
      1, 59_999, 60_000, 3_600_000, 2_592_000_000, 2_592_000_001, 315_576_000_000,
    ]) {
      const made = await w.subscribe({ ttlMs });
      const granted = made['ttlMs'];
      assert.ok(granted >= 60_000 && granted <= 2_592_000_000, `${ttlMs} → ${granted}`);
      assert.equal(
        (await w.ok('triggers/update', { subscriptionId: made['subscriptionId'], ttlMs }))['ttlMs'],
        granted,
      );
    }
    const { subscriptionId, ...made } = await w.subscribe({ noExpiry: true });
    for (const one of [
      made,
      await w.ok('triggers/update', { subscriptionId, noExpiry: true }),
      await w.get(subscriptionId),
      await w.pull(subscriptionId),
    ])
      for (const member of ['ttlMs', 'expiresAt', 'renewAfterMs'])
        assert.equal(member in one, false, member);
    const finite = await w.ok('triggers/update', { subscriptionId, ttlMs: 3_600_000 });
    assert.deepEqual(
      [finite['ttlMs'], finite['expiresAt']],
      [3_600_000, new Date(w.clock.now() + 3_600_000).toISOString()],
    );
  });

  test('[gen-atomic] a lifetime or a callback that is invalid, or excludes the other member, is rejected and nothing is changed', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const made = await w.subscribeTo(endpoint);
    const { subscriptionId } = made;
    const { callback } = endpoint;
    const both = ['triggers/subscribe', 'triggers/update'];
    const table: readonly [members: object, path: string, methods?: readonly string[]][] = [
      [{ ttlMs: 0 }, '/ttlMs'],
      [{ ttlMs: 315_576_000_001 }, '/ttlMs'],
      [{ ttlMs: 2 ** 53 - 1 }, '/ttlMs'],
      [{ ttlMs: null }, '/ttlMs'],
      [{ noExpiry: false }, '/noExpiry'],
      [{ ttlMs: 60_000, noExpiry: true }, '/noExpiry'],
      [{ callback: null }, '/callback'],
      [{ removeCallback: false }, '/removeCallback', ['triggers/update']],
      [{ callback, removeCallback: true }, '/removeCallback', ['triggers/update']],
    ];
    for (const [members, path, methods = both] of table)
      for (const method of methods) {
        const { code, data } = await w.refused(method, {
          ...(method === 'triggers/update'
            ? { subscriptionId }
            : { key: 'new', select: [{ name: box.type.name }] }),
          ...members,
        });
        assert.deepEqual(
          [code, data?.['kind'], data?.['path']],
          [-32602, 'invalid', path],
          `${method} ${JSON.stringify(Object.keys(members))}`,
        );
      }
    const { subscriptions } = await w.ok('triggers/subscriptions');
    assert.deepEqual(
      subscriptions.map(({ etag }: Json) => etag),
      [made['etag']],
    );
  });

  test('[subs-unsupported] a type without callbacks rejects one at subscribe and at update, and then changes nothing', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const select = [{ name: 'mail.arrived' }];
    const unsupported = { code: -32026, data: { kind: 'feature', feature: 'callback' } };
    assert.partialDeepStrictEqual(
      await w.refused('triggers/subscribe', { key: 'k', select, callback: endpoint.callback }),
      unsupported,
    );
    assert.deepEqual((await w.ok('triggers/subscriptions'))['subscriptions'], []);
    const made = await w.subscribe({ select });
    assert.partialDeepStrictEqual(
      await w.refused('triggers/update', {
        subscriptionId: made['subscriptionId'],
        callback: endpoint.callback,
      }),
      unsupported,
    );
    const boxes = await w.subscribeTo(endpoint);
    assert.partialDeepStrictEqual(
      await w.refused('triggers/update', { subscriptionId: boxes['subscriptionId'], select }),
      unsupported,
    );
    assert.deepEqual((await w.get(boxes['subscriptionId']))['etag'], boxes['etag']);
    assert.equal(endpoint.hits.length, 1, 'only the challenge of the accepted one');
  });
});

describe('the reference server', () => {
  for (const env of [
    {},
    { TRIGGERS_ALLOW_NO_EXPIRY: 'false' },
    { TRIGGERS_TTL_MIN_MS: '5000', TRIGGERS_TTL_MAX_MS: '7200000' },
  ]) {
    test(`[ttl-clamp, ttl-null] grants a lifetime within the announced bounds: ${JSON.stringify(env)}`, async (t) => {
      const server = await startServer(env);
      t.onTestFinished(() => server.close());
      const ask = async (lifetime: { ttlMs: number } | { noExpiry: true }): Promise<Json> =>
        (
          await server.call('triggers/subscribe', {
            select: [{ name: 'box.opened' }],
            key: `key-${Object.values(lifetime)[0]}`,
            ...lifetime,
          })
        ).result as Json;
      const { minTtlMs = 0, maxTtlMs = Number.POSITIVE_INFINITY } = (
        (await server.call('server/discover')).result as Json
      )['capabilities'].extensions[EXTENSION];
      for (const suggested of [
        1, 4_999, 59_000, 3_600_000, 7_200_001, 2_592_000_001, 315_576_000_000,
      ]) {
        assert.equal(
          (await ask({ ttlMs: suggested }))['ttlMs'],
          Math.min(Math.max(suggested, minTtlMs), maxTtlMs),
          `${suggested} between ${minTtlMs} and ${maxTtlMs}`,
        );
      }
      const endless = await ask({ noExpiry: true });
      if ('TRIGGERS_ALLOW_NO_EXPIRY' in env) assert.equal(endless['ttlMs'], maxTtlMs);
      else assert.equal('ttlMs' in endless || 'expiresAt' in endless, false);
    });
  }
});

describe('triggers/update', () => {
  test('[upd-verify gen-atomic] verifies a callback that names the current URL with another secret, and not one that is the same', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const { subscriptionId, etag } = await w.subscribeTo(endpoint);
    await w.pass(1000);
    const again = await w.ok('triggers/update', { subscriptionId, callback: endpoint.callback });
    assert.equal(endpoint.challenges.length, 1);
    assert.equal(again['etag'], etag, 'the configuration is the same');
    // The receiver has another secret, so it cannot prove this one.
    assert.partialDeepStrictEqual(
      await w.refused('triggers/update', {
        subscriptionId,
        callback: { url: endpoint.url, secret: `whsec_${Buffer.alloc(32, 1).toString('base64')}` },
        paused: true,
      }),
      { code: -32027, data: { kind: 'callback', category: 'challenge_failed' } },
    );
    assert.deepEqual(
      [(await w.get(subscriptionId))['paused'], (await w.get(subscriptionId))['etag']],
      [undefined, etag],
    );
  });

  test('[upd-late-attempt] an attempt in flight may still reach the old URL; its answer moves nothing, and the new one gets the same number', async (t) => {
    const w = await world(t);
    let answer: () => void = () => undefined;
    const old = await w.endpoint(
      () =>
        new Promise((resolve) => {
          answer = () => resolve({ body: { ackSequence: 1 } });
        }),
    );
    const next = await w.endpoint();
    const { subscriptionId } = await w.subscribeTo(old);
    await w.open(1);
    await old.nth(1);
    await w.ok('triggers/update', { subscriptionId, callback: next.callback });
    await w.open(1);
    assert.equal(next.deliveries.length, 0, 'not beside the attempt in flight');
    answer();
    const { delivery } = await next.nth(1);
    assert.deepEqual(
      [delivery['afterSequence'], delivery['acked'], sequencesOf(delivery)[0]],
      [0, 0, 1],
    );
    await eventually(
      'acknowledged by the new one',
      async () => (await w.get(subscriptionId))['acked'] === 2,
    );
    assert.equal(old.deliveries.length, 1);
  });

  test('[upd-resume] verifies a suspended callback whose consent is old before it resumes; after a failure the rest of the update is applied', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const { subscriptionId } = await w.subscribeTo(endpoint, { ttlMs: 7 * 86_400_000 });
    const consent = endpoint.consent;
    endpoint.consent = () => ({ status: 404 });
    await suspend(w, endpoint, subscriptionId);
    w.clock.jump(86_400_001);
    const before = await w.get(subscriptionId);
    const tried = endpoint.deliveries.length;
    const after = await w.ok('triggers/update', {
      subscriptionId,
      ttlMs: 8 * 86_400_000,
      resume: true,
    });
    assert.deepEqual(after['callback'], before['callback']);
    assert.deepEqual(
      [after['callback'].state, after['ttlMs'], endpoint.deliveries.length],
      ['suspended', 8 * 86_400_000, tried],
    );
    endpoint.consent = consent;
    assert.equal(
      (await w.ok('triggers/update', { subscriptionId, resume: true }))['callback'].state,
      'ok',
    );
    await endpoint.nth(tried + 1);
  });
});
