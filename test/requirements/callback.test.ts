/**
 * Tests callback requirements: the content of a request, its id and signature, how much of an
 * answer counts (SEP: Callback, Signature, Server identity).
 */
import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { describe, test } from 'vitest';
import { gzipSync } from 'node:zlib';
import { generateDeliveryKey, publicJwks } from 'mcp-triggers-experimental/server';
import { acknowledge, signatureOf, type Hit } from './endpoint.ts';
import { eventually, sequencesOf, secretOf, world, type World } from './world.ts';

const identity = ({ headers }: Hit): string => String(headers['webhook-id']);
const stamp = ({ headers }: Hit): number => Number(headers['webhook-timestamp']);

/** Advances the clock until the endpoint has seen that many deliveries. */
async function until(w: World, endpoint: { readonly deliveries: Hit[] }, n: number): Promise<Hit> {
  return eventually(`delivery ${n}`, async () => {
    if (endpoint.deliveries[n - 1] === undefined) await w.pass(1000);
    return endpoint.deliveries[n - 1];
  });
}

describe('a request', () => {
  test('[cb-headers, cb-no-extra, iso-token] has the four headers, and nothing of the user, the client or another request', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint((hit) => ({
      ...acknowledge(hit),
      headers: { 'set-cookie': 'session=1; Path=/' },
    }));
    const { subscriptionId } = await w.subscribeTo(
      endpoint,
      {},
      { as: 'https://issuer.example|alice-of-the-token' },
    );
    await w.open(1);
    await endpoint.nth(1);
    await w.open(1);
    await endpoint.nth(2);
    const token = w.token('https://issuer.example|alice-of-the-token');
    for (const { names, headers, raw, path } of endpoint.hits) {
      for (const name of [
        'webhook-id',
        'webhook-timestamp',
        'webhook-signature',
        'mcp-subscription-id',
      ])
        assert.equal(names.filter((one) => one === name).length, 1, name);
      assert.equal(headers['mcp-subscription-id'], subscriptionId);
      const usual = [
        'host',
        'connection',
        'accept-encoding',
        'content-type',
        'content-length',
        'user-agent',
        'webhook-id',
        'webhook-timestamp',
        'webhook-signature',
        'mcp-subscription-id',
      ];
      assert.deepEqual(
        names.filter((name) => !usual.includes(name)),
        [],
      );
      const everything = `${path}\n${JSON.stringify(headers)}\n${raw.toString()}`;
      assert.ok(
        !everything.includes(token) &&
          !everything.includes('alice-of-the-token') &&
          !everything.includes('session='),
      );
    }
    assert.equal(endpoint.hits.length, 3);
  });

  test('[cb-batch] has at most a hundred events, even when more wait', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const { subscriptionId } = await w.subscribeTo(endpoint);
    await w.ok('triggers/update', { subscriptionId, paused: true });
    await Promise.all(Array.from({ length: 250 }, () => w.open(1)));
    await w.ok('triggers/update', { subscriptionId, paused: false });
    await eventually(
      'all events are delivered',
      () => endpoint.deliveries.flatMap(({ delivery }) => delivery['events']).length === 250,
    );
    assert.deepEqual(
      endpoint.deliveries.map(({ delivery }) => delivery['events'].length),
      [100, 100, 50],
    );
  });

  test('[curl-opaque] goes to the URL exactly as registered, with its escapes, case and empty parameters', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const odd =
      `${endpoint.path}//A%2f%7e%20b/;p=1,2?cb=e%79J.a.b&empty=&&flag&q=%C3%A9+x'`.replace(
        "'",
        '%27',
      );
    const url = endpoint.url.replace(endpoint.path, odd);
    assert.equal(new URL(url).href, url, 'a URL in its normal form');
    await w.subscribe({ callback: { url, secret: endpoint.secret } });
    await w.open(1);
    await endpoint.nth(1);
    assert.deepEqual(
      endpoint.hits.map(({ path }) => path),
      [odd, odd],
    );
  });
});

describe('the answer', () => {
  const padded = (bytes: number): string => `{"ackSequence":1${' '.repeat(bytes - 17)}}`;

  test('[cb-answer-limit] is read up to 8,192 bytes: an acknowledgement that ends later does not count', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint((_, n) => ({ body: padded(n === 1 ? 8193 : 8192) }));
    const { subscriptionId } = await w.subscribeTo(endpoint);
    await w.open(1);
    await endpoint.nth(1);
    const { callback } = await eventually('the failure is known', async () => {
      const now = await w.get(subscriptionId);
      return now['callback'].health.attempts === 1 && now;
    });
    assert.equal(callback.health.lastError, 'no_ack');
    assert.equal((await w.get(subscriptionId))['acked'], 0);
    await until(w, endpoint, 2);
    await eventually(
      '8,192 bytes acknowledge',
      async () => (await w.get(subscriptionId))['acked'] === 1,
    );
  });

  test('[cb-answer-limit] is read undecoded: a compressed body does not acknowledge, and a plain body labeled as compressed does', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint((_, n) => ({
      headers: { 'content-encoding': 'gzip' },
      body: n === 1 ? gzipSync('{"ackSequence":1}') : '{"ackSequence":1}',
    }));
    const { subscriptionId } = await w.subscribeTo(endpoint);
    await w.open(1);
    await endpoint.nth(1);
    await eventually(
      'the failure is known',
      async () => (await w.get(subscriptionId))['callback'].health.lastError === 'no_ack',
    );
    await until(w, endpoint, 2);
    await eventually(
      'it is acknowledged',
      async () => (await w.get(subscriptionId))['acked'] === 1,
    );
    assert.ok(
      endpoint.hits.every(
        ({ headers }) =>
          headers['accept-encoding'] === undefined || headers['accept-encoding'] === 'identity',
      ),
    );
  });

  test('[ans-category-only] is shown to the client only as its category', async (t) => {
    const w = await world(t);
    const canary = 'CANARY-9f31';
    const endpoint = await w.endpoint(() => ({
      status: 418,
      headers: { 'x-reason': canary, 'retry-after': canary, server: canary },
      body: { error: canary },
    }));
    const made = await w.subscribeTo(endpoint);
    await w.open(1);
    await endpoint.nth(1);
    const seen = await eventually('the failure is known', async () => {
      const { text, result } = await w.call('triggers/get', {
        subscriptionId: made['subscriptionId'],
      });
      return result?.['callback'].health.attempts > 0 && text;
    });
    const { callback } = (JSON.parse(seen) as { result: { callback: { health: object } } }).result;
    assert.deepEqual(Object.keys(callback.health).sort(), [
      'attempts',
      'failingSince',
      'lastError',
    ]);
    endpoint.consent = () => ({ status: 503, headers: { 'x-reason': canary }, body: canary });
    const refused = await w.call('triggers/subscribe', {
      select: [{ name: 'box.opened' }],
      key: 'other',
      callback: { url: `${endpoint.url}/other`, secret: endpoint.secret },
    });
    assert.deepEqual(refused.error?.data, { kind: 'callback', category: 'http_5xx' });
    for (const text of [
      seen,
      refused.text,
      (await w.call('triggers/pull', { subscriptionId: made['subscriptionId'] })).text,
      (await w.call('triggers/subscriptions')).text,
    ]) {
      assert.ok(!text.includes(canary) && !text.includes('418'), text);
    }
  });
});

describe('identity and signature', () => {
  test('[cb-id-retry, sig-timestamp] a retry has the same id, a new time in seconds and a new signature', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint((hit, n) => (n < 4 ? { status: 500 } : acknowledge(hit)));
    w.jitter = 0.999;
    await w.subscribeTo(endpoint);
    await w.open(3);
    const first = await endpoint.nth(1);
    const seen = first.delivery['events'].length as number;
    for (let n = 2; n <= 4; n += 1) await until(w, endpoint, n);
    const same = endpoint.deliveries.filter((hit) => identity(hit) === identity(first));
    for (const hit of endpoint.deliveries) {
      const { afterSequence: after, events } = hit.delivery;
      const sameRange = after === 0 && events.length === seen;
      assert.equal(
        identity(hit) === identity(first),
        sameRange,
        'the same range has the same id, another range has not',
      );
      assert.equal(hit.headers['webhook-signature'], signatureOf(endpoint.secret, hit));
      assert.match(String(hit.headers['webhook-timestamp']), /^[0-9]{10}$/);
      assert.ok(Math.abs(stamp(hit) * 1000 - w.clock.now()) < 60_000);
    }
    const bytes = new Set(endpoint.deliveries.map((hit) => stamp(hit)));
    assert.equal(bytes.size, endpoint.deliveries.length, 'every attempt has its own time');
    assert.equal(
      new Set(endpoint.deliveries.map(({ headers }) => headers['webhook-signature'])).size,
      endpoint.deliveries.length,
    );
    assert.ok(same.length >= 1);
  });

  test('[cb-id-retry] one event that is sent three times keeps its id, with a new time each time', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint((hit, n) => (n < 3 ? { status: 503 } : acknowledge(hit)));
    w.jitter = 0.999;
    await w.subscribeTo(endpoint);
    await w.open(1);
    await until(w, endpoint, 3);
    assert.equal(new Set(endpoint.deliveries.map(identity)).size, 1);
    assert.equal(new Set(endpoint.deliveries.map(stamp)).size, 3);
  });

  test('[sig-timestamp] the timestamp is the time of this attempt, rounded down to seconds', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    await w.subscribeTo(endpoint);
    await w.pass(7_777);
    await w.open(1);
    assert.equal(stamp(await endpoint.nth(1)), Math.floor(w.clock.now() / 1000));
  });

  test('[upd-rotate, sig-rotation-shown] a new secret for the same URL: both sign for five minutes, and previousSecretUntil is shown only in that time', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const old = endpoint.secret;
    const { subscriptionId, etag } = await w.subscribeTo(endpoint);
    assert.equal((await w.get(subscriptionId))['callback'].previousSecretUntil, undefined);
    endpoint.secret = secretOf();
    const rotated = await w.ok('triggers/update', { subscriptionId, callback: endpoint.callback });
    const until_ = w.clock.now() + 300_000;
    assert.equal(rotated['callback'].previousSecretUntil, new Date(until_).toISOString());
    assert.notEqual(rotated['etag'], etag);
    assert.equal(
      endpoint.challenges.length,
      2,
      'the receiver knew the new secret before the update',
    );
    assert.equal(
      endpoint.challenges[1]!.headers['webhook-signature'],
      signatureOf(endpoint.secret, endpoint.challenges[1]!),
      'and the challenge was signed with that one alone',
    );

    // An update with the same callback changes nothing about the rotation.
    const renewed = await w.ok('triggers/update', { subscriptionId, callback: endpoint.callback });
    assert.equal(renewed['callback'].previousSecretUntil, new Date(until_).toISOString());

    await w.pass(299_000);
    await w.open(1);
    const both = await endpoint.nth(1);
    assert.equal(
      both.headers['webhook-signature'],
      `${signatureOf(endpoint.secret, both)} ${signatureOf(old, both)}`,
    );
    assert.equal(
      (await w.get(subscriptionId))['callback'].previousSecretUntil,
      new Date(until_).toISOString(),
    );

    await w.pass(1_100);
    await w.open(1);
    const one = await endpoint.nth(2);
    assert.equal(one.headers['webhook-signature'], signatureOf(endpoint.secret, one));
    await eventually(
      'the member is gone',
      async () => (await w.get(subscriptionId))['callback'].previousSecretUntil === undefined,
    );
  });

  test('[upd-rotate] the log, its position and an attempt in flight survive a rotation', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const made = await w.subscribeTo(endpoint);
    await w.open(1);
    await endpoint.nth(1);
    await eventually(
      'acknowledged',
      async () => (await w.get(made['subscriptionId']))['acked'] === 1,
    );
    endpoint.secret = secretOf();
    const after = await w.ok('triggers/update', {
      subscriptionId: made['subscriptionId'],
      callback: endpoint.callback,
    });
    assert.deepEqual(
      [after['epoch'], after['head'], after['acked'], after['key']],
      [made['epoch'], 1, 1, made['key']],
    );
    await w.open(1);
    assert.deepEqual(sequencesOf((await endpoint.nth(2)).delivery), [2]);
  });

  test('[jws-header, jws-fresh] each attempt has a new signature by EdDSA, with a key of the published set', async (t) => {
    const key = generateDeliveryKey();
    const w = await world(t, {
      engine: { deliveryKey: key },
      attach: { jwksUri: 'https://mcp.example.com/.well-known/jwks.json' },
    });
    const endpoint = await w.endpoint((hit, n) => (n === 1 ? { status: 500 } : acknowledge(hit)));
    w.jitter = 0.999;
    await w.subscribeTo(endpoint);
    await w.open(1);
    await until(w, endpoint, 2);
    const published = publicJwks([key, generateDeliveryKey()]).keys;
    const values = endpoint.hits.map(({ headers }) => String(headers['mcp-delivery-signature']));
    assert.equal(new Set(values).size, 3);
    for (const [at, value] of values.entries()) {
      const hit = endpoint.hits[at]!;
      const [head, nothing, signature] = value.split('.');
      const header = JSON.parse(Buffer.from(head!, 'base64url').toString()) as Record<
        string,
        unknown
      >;
      assert.ok(['EdDSA', 'Ed25519'].includes(String(header['alg'])) && nothing === '');
      assert.equal(header['iat'], stamp(hit));
      const found = published.find(({ kid }) => kid === header['kid']);
      assert.ok(found !== undefined, 'the key is in the set');
      assert.ok(
        verify(
          null,
          Buffer.concat([Buffer.from(`${head}.`), hit.raw]),
          createPublicKey({ key: { ...found }, format: 'jwk' }),
          Buffer.from(signature!, 'base64url'),
        ),
      );
    }
  });
});

describe('secrecy', () => {
  test('[sub-no-secret] the secret of a callback, and its URL beyond the origin, are in no answer, no delivery, no error and no line of the log', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint((hit, n) =>
      n === 2 ? { status: 401 } : n === 3 ? { status: 200, body: 'x' } : acknowledge(hit),
    );
    const secrets = [endpoint.secret];
    const said: string[] = [];
    const say = async (method: string, params: object): Promise<Record<string, any>> => {
      const { text, result } = await w.call(method, params);
      said.push(text);
      return result ?? {};
    };
    const select = [{ name: 'box.opened' }];
    const { subscriptionId, etag } = await say('triggers/subscribe', {
      select,
      key: 'k',
      callback: endpoint.callback,
    });
    const stream = await w.stream({ subscriptionId });
    await w.open(2);
    await until(w, endpoint, 3);
    endpoint.secret = secretOf();
    secrets.push(endpoint.secret);
    await say('triggers/subscribe', { select, key: 'k', callback: endpoint.callback });
    await say('triggers/update', { subscriptionId, ifMatch: 'stale', callback: endpoint.callback });
    await say('triggers/update', { subscriptionId, callback: endpoint.callback });
    await say('triggers/update', {
      subscriptionId,
      callback: { url: endpoint.url, secret: `${endpoint.secret}x` },
    });
    await say('triggers/update', {
      subscriptionId,
      callback: { url: endpoint.url.replace('http:', 'ftp:'), secret: endpoint.secret },
    });
    await say('triggers/update', {
      subscriptionId,
      callback: { url: `${endpoint.url}#x`, secret: endpoint.secret },
    });
    endpoint.consent = () => ({ status: 500 });
    await say('triggers/update', {
      subscriptionId,
      callback: { url: `${endpoint.url}/other`, secret: endpoint.secret },
    });
    await say('triggers/get', { subscriptionId });
    await say('triggers/get', { subscriptionId, ifNoneMatch: etag });
    await say('triggers/subscriptions', {});
    await say('triggers/pull', { subscriptionId });
    await say('triggers/unsubscribe', { subscriptionId });
    await say('triggers/get', { subscriptionId });
    said.push(
      ...stream.messages.map((one) => JSON.stringify(one)),
      ...endpoint.hits.map(({ raw, headers }) => `${raw.toString()}${JSON.stringify(headers)}`),
      ...w.log,
    );
    assert.ok(said.length > 20 && w.log.length > 0);
    for (const one of said) {
      for (const secret of secrets)
        assert.ok(!one.includes(secret) && !one.includes(secret.slice('whsec_'.length)), one);
      assert.ok(!one.includes(endpoint.path), one);
    }
    // The same for an unreachable endpoint.
    const url = `${endpoint.url}/nobody`;
    endpoint.close();
    const gone = await w.call('triggers/subscribe', {
      select,
      key: 'gone',
      callback: { url, secret: endpoint.secret },
    });
    assert.ok(!gone.text.includes(endpoint.path) && !w.log.join('\n').includes(endpoint.path));
  });
});
