/** Tests the fetch of a server's keys: what is kept, when it is fetched again, and its limits. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test, type TestContext } from 'vitest';
import { createServerKeys } from '../../src/receiver/server-keys.ts';
import {
  generateDeliveryKey,
  publicJwks,
  type DeliveryKey,
} from '../../src/protocol/wire/delivery-jws.ts';
import { manualClock } from '../../src/testing/clock.ts';

const [first, second] = [generateDeliveryKey(), generateDeliveryKey()];
const MINUTE_MS = 60_000;

/** A key set on loopback, which `listener` can replace, and how often it was fetched. */
async function keySet(t: TestContext, listener?: RequestListener) {
  const set = { keys: [first] as DeliveryKey[], fetched: 0, listener };
  const server = createServer((request, response) => {
    set.fetched += 1;
    if (set.listener) return set.listener(request, response);
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify(publicJwks(set.keys)));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const clock = manualClock(Date.now());
  const jwksUri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`;
  const lookup = createServerKeys({ server: new URL('/mcp', jwksUri).href, jwksUri, clock });
  const find = async (key: DeliveryKey): Promise<boolean> => {
    const found = await lookup({ alg: 'EdDSA', kid: key.kid });
    return found !== undefined && key.publicKey.equals(found as never);
  };
  return { set, clock, find };
}

describe('the keys of a server', () => {
  test('are fetched once for all requests', async (t) => {
    const { set, find } = await keySet(t);
    assert.deepEqual(await Promise.all([find(first), find(first), find(first)]), [
      true,
      true,
      true,
    ]);
    assert.equal(await find(first), true);
    assert.equal(set.fetched, 1);
  });

  test('[jws-unknown-kid] an unknown kid is undecided within a minute of the last fetch, and then fetches once', async (t) => {
    const { set, clock, find } = await keySet(t);
    assert.equal(await find(first), true);
    set.keys = [first, second];
    for (let n = 0; n < 5; n += 1)
      await assert.rejects(find(second), { code: 'key_unknown', reason: 'undecided_key' });
    assert.equal(set.fetched, 1);
    clock.advance(MINUTE_MS);
    assert.equal(await find(second), true);
    assert.equal(set.fetched, 2);
    assert.equal(await find(generateDeliveryKey()).catch(() => 'undecided'), 'undecided');
    clock.advance(MINUTE_MS);
    assert.equal(await find(generateDeliveryKey()), false, 'a set that is fresh decides');
    assert.equal(set.fetched, 3);
  });

  test('a withdrawn key is forgotten after ten minutes', async (t) => {
    const { set, clock, find } = await keySet(t);
    assert.equal(await find(first), true);
    set.keys = [second];
    clock.advance(10 * MINUTE_MS - 1);
    assert.equal(await find(first), true);
    clock.advance(1);
    assert.equal(await find(first), false);
  });

  test('a failed fetch is an error, and the next one waits five seconds', async (t) => {
    const { set, clock, find } = await keySet(t, (_, response) => response.writeHead(500).end());
    for (let n = 0; n < 3; n += 1)
      await assert.rejects(find(first), { code: 'unreachable', message: /HTTP 500/ });
    assert.equal(set.fetched, 1);
    set.listener = undefined;
    clock.advance(5000);
    assert.equal(await find(first), true);
  });

  const unusable: readonly (readonly [string, RequestListener, object])[] = [
    [
      'is larger than 64 KiB',
      (_, response) => response.end(JSON.stringify({ keys: [], filler: 'x'.repeat(65_536) })),
      { code: 'peer_misbehaved', message: /larger than 65536 bytes/ },
    ],
    [
      'never ends',
      (_, response) => {
        const timer = setInterval(() => response.write('x'.repeat(4096)), 1);
        response.on('close', () => clearInterval(timer));
      },
      { code: 'peer_misbehaved', message: /larger than 65536 bytes/ },
    ],
    ['is not JSON', (_, response) => response.end('<html>'), { code: 'peer_misbehaved' }],
    ['is null', (_, response) => response.end('null'), { code: 'peer_misbehaved' }],
    ['has no keys', (_, response) => response.end('{}'), { code: 'peer_misbehaved' }],
    [
      'is a redirect',
      (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
      { code: 'unreachable' },
    ],
  ];
  for (const [what, listener, error] of unusable)
    test(`[jws-jwks-origin] an answer that ${what} is an error`, async (t) => {
      const { find } = await keySet(t, listener);
      await assert.rejects(find(first), error);
    });

  test('[jws-jwks-origin] a fetch ends after ten seconds', async (t) => {
    const { set, clock, find } = await keySet(t, () => undefined);
    const found = find(first);
    const rejected = assert.rejects(found, { code: 'unreachable', message: /no answer in time/ });
    while (set.fetched === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    clock.advance(10_000);
    await rejected;
  });

  test('keys of other kinds and malformed keys are ignored', async (t) => {
    const { find } = await keySet(t, (_, response) =>
      response.end(
        JSON.stringify({
          keys: [
            null,
            7,
            { kty: 'OKP', crv: 'Ed25519', kid: first.kid, x: '' },
            { kty: 'OKP', crv: 'X25519', kid: first.kid, x: 'AAAA' },
            { kty: 'RSA', kid: first.kid, n: 'AAAA', e: 'AAAA' },
            ...publicJwks([first]).keys,
          ],
        }),
      ),
    );
    assert.equal(await find(first), true);
  });

  const server = 'https://mcp.example.com/mcp';
  for (const [what, jwksUri, of] of [
    ['is not a URL', '/jwks.json', server],
    ['has another host', 'https://keys.example.com/jwks.json', server],
    ['has another port', 'https://mcp.example.com:8443/jwks.json', server],
    ['has no TLS', 'http://mcp.example.com/jwks.json', 'http://mcp.example.com/mcp'],
    ['is a file', 'file:///etc/passwd', 'file:///mcp'],
    ['belongs to a server over stdio', 'https://mcp.example.com/jwks.json', 'node server.js'],
  ] as const)
    test(`[jws-jwks-origin] a jwksUri that ${what} is an error of the configuration`, () => {
      assert.throws(() => createServerKeys({ server: of, jwksUri }), { code: 'config_invalid' });
    });

  test('[jws-jwks-origin] a jwksUri with https and the origin of the server is accepted', () => {
    for (const jwksUri of [
      'https://mcp.example.com/.well-known/jwks.json',
      'https://mcp.example.com:443/keys?v=1',
    ])
      createServerKeys({ server, jwksUri });
  });
});
