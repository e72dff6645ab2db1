/**
 * Tests `events/subscribe` and `events/unsubscribe` over HTTP: identity, lifetimes, consent,
 * rejections and lookups.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { createEgress } from 'mcp-triggers-experimental/server';
import { secretOf } from '../../../requirements/world.ts';
import { verifies } from './receiver.ts';
import { box, eventsWorld, mail, meter, number, SEP, type Json } from './world.ts';

const DAY_MS = 86_400_000;
const name = box.type.name;

describe('subscribing', () => {
  test('returns an id, a refresh time, a safe cursor and truncated [SEP-3415 D29 D54 R28]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    const { _meta, ...result } = await w.hook(hook, { cursor: null, ttlMs: 120_000 });
    const { id, cursor, ...rest } = result;
    assert.deepEqual(rest, {
      resultType: 'complete',
      refreshBefore: new Date(w.clock.now() + 120_000).toISOString(),
      truncated: false,
    });
    assert.match(id, /^evt_[A-Za-z0-9_-]{43}$/);
    assert.equal(typeof cursor, 'string');
  });

  test('delivers nothing before the endpoint has echoed a challenge that is signed with the secret [SEP-3415 R54 R61 R64 D43 D44 D45]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    const { id } = await w.hook(hook);
    const [challenge] = hook.challenges;
    assert.deepEqual(
      [
        hook.hits.length,
        challenge!.method,
        challenge!.headers['content-type'],
        challenge!.headers['x-mcp-subscription-id'],
      ],
      [1, 'POST', 'application/json', id],
    );
    assert.deepEqual(Object.keys(challenge!.body).sort(), ['challenge', 'type']);
    assert.ok(challenge!.body['challenge'].length >= 22);
    assert.ok(verifies(hook.secret, challenge!, w.clock.now()));
    assert.ok(!verifies(secretOf(), challenge!, w.clock.now()));
  });

  test('names the category of an endpoint that does not echo, and nothing of its answer [SEP-3415 R48 R49 D46 D61 U7 U8]', async (t) => {
    const w = await eventsWorld(t);
    const cases: readonly (readonly [reply: Json, reason: string])[] = [
      [{ body: { challenge: 'canary' } }, 'challenge_failed'],
      [{ body: 'canary' }, 'challenge_failed'],
      [{ status: 204 }, 'challenge_failed'],
      [{ status: 403, body: 'canary' }, 'http_4xx'],
      [{ status: 500, body: 'canary' }, 'http_5xx'],
      [{ status: 302, headers: { location: 'http://127.0.0.1/canary' } }, 'http_4xx'],
    ];
    for (const [reply, reason] of cases) {
      const hook = await w.receiver();
      hook.consent = () => reply;
      const refused = await w.refused('events/subscribe', { name, delivery: hook.delivery }, SEP);
      assert.deepEqual([refused.code, refused.data], [-32027, { reason }], JSON.stringify(reply));
      assert.ok(
        !JSON.stringify(refused).includes('canary') && !JSON.stringify(refused).includes(hook.path),
      );
      assert.equal(hook.hits.length, 1);
    }
    const gone = await w.receiver();
    const { delivery } = gone;
    gone.close();
    assert.deepEqual((await w.refused('events/subscribe', { name, delivery }, SEP)).data, {
      reason: 'connection_refused',
    });
    assert.deepEqual((await w.ok('triggers/subscriptions'))['subscriptions'], []);
  });

  test('limits challenges to one host [SEP-3415 R57]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    hook.consent = () => ({ status: 403 });
    const codes = [];
    for (let n = 0; n < 5; n += 1)
      codes.push(
        (
          await w.refused(
            'events/subscribe',
            { name, arguments: { box: `d${n}` }, delivery: hook.delivery },
            SEP,
          )
        ).code,
      );
    assert.deepEqual(codes, [-32027, -32027, -32027, -32025, -32025]);
    assert.equal(hook.hits.length, 3);
  });

  test('remembers consent for one principal and URL, and for no other principal [SEP-3415 D47 D34]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    await w.hook(hook);
    await w.hook(hook, { arguments: { box: 'front' } });
    await w.hook(hook);
    assert.equal(hook.challenges.length, 1);
    await w.hook(hook, {}, { ...SEP, as: 'bob' });
    assert.equal(hook.challenges.length, 2);
  });

  test('accepts webhooks only, and rejects the other modes by name [SEP-3415 D28 D61]', async (t) => {
    const w = await eventsWorld(t);
    for (const mode of ['poll', 'push']) {
      for (const delivery of [{ mode }, { mode, url: 'https://a.example', secret: secretOf() }]) {
        assert.partialDeepStrictEqual(
          await w.refused('events/subscribe', { name, delivery }, SEP),
          { code: -32026, data: { feature: 'deliveryMode', value: mode } },
        );
      }
    }
    const hook = await w.receiver();
    assert.partialDeepStrictEqual(
      await w.refused('events/subscribe', { name: number.type.name, delivery: hook.delivery }, SEP),
      { code: -32023, data: { kind: 'event' } },
    );
  });

  test('rejects a type without webhooks, an anonymous caller or a missing permission before any call to the endpoint [SEP-3415 R34 R86 A6]', async (t) => {
    const w = await eventsWorld(t, {
      triggers: [box, meter, mail],
      engine: {
        authorize: (_, selection) => selection.name !== meter.type.name,
        visible: () => true,
      },
    });
    const hook = await w.receiver();
    const { delivery } = hook;
    assert.partialDeepStrictEqual(
      await w.refused('events/subscribe', { name: mail.type.name, delivery }, SEP),
      { code: -32026, data: { feature: 'deliveryMode', value: 'webhook' } },
    );
    assert.partialDeepStrictEqual(
      await w.refused('events/subscribe', { name: meter.type.name, delivery }, SEP),
      { code: -32024, data: { kind: 'event' } },
    );
    for (const method of ['events/subscribe', 'events/unsubscribe'])
      assert.partialDeepStrictEqual(
        await w.refused(method, { name, delivery }, { ...SEP, as: null }),
        { code: -32024, data: { kind: 'principal' } },
      );
    assert.equal(hook.hits.length, 0);
  });

  test('checks the quota before it calls the endpoint [SEP-3415 A6 D61]', async (t) => {
    const w = await eventsWorld(t, { engine: { quotas: { subscriptionsPerPrincipal: 1 } } });
    const [one, two] = [await w.receiver(), await w.receiver()];
    await w.hook(one);
    assert.partialDeepStrictEqual(
      await w.refused('events/subscribe', { name, delivery: two.delivery }, SEP),
      { code: -32025, data: { limit: 'subscriptions', max: 1 } },
    );
    assert.equal(two.hits.length, 0);
  });
});

describe('subscribing rejects', () => {
  test('a secret that is not whsec_ and base64 of 24 to 64 bytes; padding may be missing [SEP-3415 R23 U6]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    const base64 = (bytes: number) => Buffer.alloc(bytes, 0xfb).toString('base64');
    for (const secret of [
      'whsec_',
      'x',
      base64(32),
      `whsec_${base64(23)}`,
      `whsec_${base64(65)}`,
      `whsec_${base64(32).replaceAll('+', '-').replaceAll('/', '_')}`,
      `whsec_ ${base64(32)}`,
      `WHSEC_${base64(32)}`,
    ]) {
      const refused = await w.refused(
        'events/subscribe',
        { name, delivery: { ...hook.delivery, secret } },
        SEP,
      );
      assert.partialDeepStrictEqual(
        refused,
        { code: -32602, data: { path: '/delivery/secret' } },
        secret,
      );
      assert.ok(!JSON.stringify(refused).includes(base64(20).slice(0, 12)));
    }
    assert.partialDeepStrictEqual(
      await w.refused(
        'events/subscribe',
        { name, delivery: { mode: 'webhook', url: hook.url } },
        SEP,
      ),
      { code: -32602, data: { path: '/delivery/secret' } },
    );
    assert.equal(hook.hits.length, 0);
    for (const bytes of [24, 32, 64]) {
      const secret = `whsec_${Buffer.alloc(bytes, 7).toString('base64').replaceAll('=', '')}`;
      await w.hook(hook, {
        arguments: { box: String(bytes) },
        delivery: { ...hook.delivery, secret },
      });
    }
    assert.ok(
      verifies(
        `whsec_${Buffer.alloc(24, 7).toString('base64')}`,
        hook.challenges[0]!,
        w.clock.now(),
      ),
      'the key is the bytes',
    );
  });

  test('a URL that is not https, or that no server may call [SEP-3415 R50 R51 R60]', async (t) => {
    const w = await eventsWorld(t, { engine: { egress: createEgress() } });
    const secret = secretOf();
    for (const url of [
      'http://hooks.example/a',
      'http://127.0.0.1/a',
      'ftp://hooks.example/a',
      'hooks.example',
      'https://user:pass@hooks.example/',
      'https://127.0.0.1/a',
      'https://10.0.0.1/',
      'https://169.254.169.254/latest',
      'https://[::1]/',
      'https://[fc00::1]/',
      'https://0x7f000001/',
      'https://localhost/',
    ]) {
      const refused = await w.refused(
        'events/subscribe',
        { name, delivery: { mode: 'webhook', url, secret } },
        SEP,
      );
      // An address that only resolution shows as blocked is reported as unreachable, which reveals
      // nothing of the network.
      const known = refused.code === -32602 && refused.data?.['path'] === '/delivery/url';
      assert.ok(
        known || (refused.code === -32027 && refused.data?.['reason'] === 'connection_refused'),
        `${url}: ${JSON.stringify(refused)}`,
      );
    }
  });

  test('a wrong shape, with the path in its own params [SEP-3415 U3 D60]', async (t) => {
    const w = await eventsWorld(t);
    const { delivery } = await w.receiver();
    for (const [params, path] of [
      [{ delivery }, '/name'],
      [{ name }, '/delivery'],
      [{ name, delivery: {} }, '/delivery/mode'],
      [{ name, delivery: { mode: 'fax' } }, '/delivery/mode'],
      [{ name, delivery: { mode: 'webhook', secret: delivery.secret } }, '/delivery/url'],
      [{ name, delivery, arguments: null }, '/arguments'],
      [{ name, delivery, arguments: { box: 7 } }, '/arguments/box'],
      [{ name, delivery, ttlMs: '1' }, '/ttlMs'],
      [{ name, delivery, cursor: {} }, '/cursor'],
    ] as const)
      assert.partialDeepStrictEqual(
        await w.refused('events/subscribe', params, SEP),
        { code: -32602, data: { path } },
        path,
      );
  });
});

describe('a subscription', () => {
  test('is identified by principal, URL, name and arguments, with the same id even after a restart [SEP-3415 D30 D31 D34 U3 U4 U5]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    const args = { box: ['b', 'a'] };
    const { id } = await w.hook(hook, { arguments: args });
    assert.equal(
      (await w.hook(hook, { arguments: { box: ['b', 'a'] }, id: 'mine', ttlMs: 90_000 }))['id'],
      id,
    );
    await w.restart();
    assert.equal((await w.hook(hook, { arguments: args }))['id'], id);
    assert.equal((await w.ok('triggers/subscriptions'))['subscriptions'].length, 1);
    const others = new Set([id]);
    for (const [params, asking] of [
      [{ arguments: { box: ['a', 'b'] } }, SEP],
      [{}, SEP],
      [{ name: meter.type.name }, SEP],
      [{ arguments: args, delivery: { ...hook.delivery, url: `${hook.url}?` } }, SEP],
      [{ arguments: args }, { ...SEP, as: 'bob' }],
    ] as const)
      others.add((await w.hook(hook, params, asking))['id']);
    assert.equal(others.size, 6);
    assert.equal(
      (await w.hook(hook))['id'],
      (await w.hook(hook, { arguments: {} }))['id'],
      'absent arguments are {}',
    );
  });

  test('is refreshed when requested again, and reports its delivery status [SEP-3415 D32 D49 D69 U12]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver(() => ({ status: 500 }));
    const first = await w.hook(hook);
    assert.equal(first['deliveryStatus'], undefined, 'a new one has no delivery status');
    assert.deepEqual((await w.hook(hook))['deliveryStatus'], {
      active: true,
      lastDeliveryAt: null,
      lastError: null,
    });
    await w.open();
    await hook.nth(1);
    const failing = await w.ok('events/subscribe', { name, delivery: hook.delivery }, SEP);
    await w.pass(10);
    const told = await w.hook(hook);
    assert.partialDeepStrictEqual(told['deliveryStatus'], {
      active: true,
      lastDeliveryAt: null,
      lastError: 'http_5xx',
    });
    assert.ok(Date.parse(told['deliveryStatus'].failedSince));
    assert.ok(failing['refreshBefore'] >= first['refreshBefore']);
    hook.behave = () => ({ status: 204 });
    await w.pass(120_000);
    await hook.nth(hook.messages.length);
    const well = (await w.hook(hook))['deliveryStatus'];
    assert.deepEqual(
      [well.active, well.lastError, Number.isFinite(Date.parse(well.lastDeliveryAt))],
      [true, null, true],
    );
  });

  test('has a cursor behind everything accepted, and ignores a given one while it lives [SEP-3415 D32 D33 D39 D55 U11]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver(({ body }) => ({
      status: body['data'].text === 'stuck' ? 503 : 204,
    }));
    const { cursor } = await w.hook(hook);
    await w.open(2, { text: 'fine' });
    await hook.nth(2);
    await w.open(1, { text: 'stuck' });
    await w.open(1, { text: 'behind' });
    const third = await hook.nth(3);
    const refreshed = await w.hook(hook, { cursor });
    assert.equal(refreshed['truncated'], false);
    assert.notEqual(refreshed['cursor'], cursor);
    assert.equal(
      refreshed['cursor'],
      third.body['cursor'],
      'the cursor is not behind what is in flight',
    );
    hook.behave = () => ({ status: 204 });
    await w.pass(120_000);
    await hook.nth(5);
    assert.deepEqual(hook.events.map(({ body }) => body['data'].text).slice(-1), ['behind']);
    assert.equal((await w.hook(hook, { cursor }))['truncated'], false);
    assert.equal(hook.events.length, 5, 'an old cursor causes no second delivery');
  });

  test('that no longer exists begins from now, and reports truncated to a client that sends a cursor [SEP-3415 D32 D57 U1]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    const { cursor } = await w.hook(hook, { ttlMs: 60_000 });
    await w.pass(61_000);
    await w.open();
    const again = await w.hook(hook, { cursor });
    assert.equal(again['truncated'], true);
    assert.equal(again['deliveryStatus'], undefined);
    assert.equal((await w.hook(hook, { cursor: again['cursor'] }))['truncated'], false);
    const [version, subscriptionId, epoch] = Buffer.from(again['cursor'], 'base64url')
      .toString()
      .split(' ');
    const future = Buffer.from([version, subscriptionId, epoch, 99].join(' ')).toString(
      'base64url',
    );
    for (const given of ['nonsense', cursor, future])
      assert.equal((await w.hook(hook, { cursor: given }))['truncated'], true);
    assert.equal((await w.hook(hook, { cursor: null }))['truncated'], false);
  });
});

describe('lifetimes', () => {
  test('default when omitted, are raised to the minimum, may be null, and are never rejected [SEP-3415 R28 R29 D35 D69]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    const granted = async (ttlMs?: unknown): Promise<number | null> => {
      const { refreshBefore } = await w.hook(hook, ttlMs === undefined ? {} : { ttlMs });
      return refreshBefore === null ? null : Date.parse(refreshBefore) - w.clock.now();
    };
    assert.equal(await granted(), 3_600_000);
    assert.equal(await granted(90_000), 90_000);
    assert.equal(await granted(90_000.9), 90_000);
    for (const short of [0, 1, -5]) assert.equal(await granted(short), 60_000);
    for (const long of [365 * DAY_MS, 1e300]) assert.equal(await granted(long), 30 * DAY_MS);
    assert.equal(await granted(null), null);
    assert.equal(await granted(90_000), 90_000, 'and back to a finite one');
  });

  test('always end on a server that disallows endless ones here or everywhere, or whose store is volatile [SEP-3415 R29 A3]', async (t) => {
    for (const options of [
      { engine: { ttl: { allowNoExpiry: false } } },
      { store: { path: ':memory:' } },
      { alwaysExpires: true },
    ]) {
      const w = await eventsWorld(t, options);
      const hook = await w.receiver();
      assert.equal(
        (await w.hook(hook, { ttlMs: null }))['refreshBefore'],
        new Date(w.clock.now() + 30 * DAY_MS).toISOString(),
      );
    }
  });

  test('without expiry outlast a restart, consent included, and deliveries continue unasked [SEP-3415 R27 R30 R55 A2]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    await w.hook(hook, { ttlMs: null });
    await w.restart();
    await w.open(1, { text: 'after' });
    assert.equal((await hook.nth(1)).body['data'].text, 'after');
    assert.equal(hook.challenges.length, 1);
    assert.ok((await w.hook(hook, { ttlMs: null }))['deliveryStatus']);
  });

  test('end without a notice when they are not refreshed', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    await w.hook(hook, { ttlMs: 60_000 });
    await w.pass(60_001);
    await w.open();
    await w.pass(10);
    assert.equal(hook.messages.length, 0);
    assert.deepEqual((await w.ok('triggers/subscriptions'))['subscriptions'], []);
  });
});

describe('unsubscribing', () => {
  test('finds the subscription by name, arguments and URL, with or without a mode, and stops deliveries [SEP-3415 D51 D52 D53]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    for (const delivery of [{ url: hook.url }, hook.delivery]) {
      await w.hook(hook, { arguments: { box: 'front' } });
      const { _meta, ...result } = await w.ok(
        'events/unsubscribe',
        { name, arguments: { box: 'front' }, delivery },
        SEP,
      );
      assert.deepEqual(result, { resultType: 'complete' });
      assert.partialDeepStrictEqual(
        await w.refused('events/unsubscribe', { name, arguments: { box: 'front' }, delivery }, SEP),
        { code: -32023, data: { kind: 'subscription' } },
      );
    }
    await w.open();
    await w.pass(10);
    assert.equal(hook.messages.length, 0);
  });

  test("does not reach another principal's subscription, or one named by its id [SEP-3415 D34 D30]", async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    const { id } = await w.hook(hook);
    for (const [params, asking] of [
      [
        { name, delivery: { url: hook.url } },
        { ...SEP, as: 'bob' },
      ],
      [{ name, id, delivery: { url: `${hook.url}x` } }, SEP],
      [{ name, arguments: { box: 'x' }, delivery: { url: hook.url } }, SEP],
    ] as const) {
      assert.equal((await w.refused('events/unsubscribe', params, asking)).code, -32023);
    }
    await w.open();
    await hook.nth(1);
  });

  test('leaves a subscription of triggers/* with the same callback unchanged', async (t) => {
    const w = await eventsWorld(t);
    const endpoint = await w.endpoint();
    await w.subscribeTo(endpoint);
    assert.equal(
      (await w.refused('events/unsubscribe', { name, delivery: { url: endpoint.url } }, SEP)).code,
      -32023,
    );
    assert.equal((await w.ok('triggers/subscriptions'))['subscriptions'].length, 1);
  });
});
