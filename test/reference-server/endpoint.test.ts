/**
 * Tests requests that never reach MCP: without a valid token, from the wrong place, of the wrong
 * shape, or too many.
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { generateKeyPair } from 'jose';
import { modern, startServer, type Claims, type Running } from './harness.ts';

let server: Running;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.close());

const list = modern('triggers/list');

describe('an invalid token is rejected with a challenge [iso-principal]', () => {
  const past = () => Math.floor(Date.now() / 1000) - 3600;
  const rows: readonly (readonly [
    about: string,
    claims: () => Claims,
    status: number,
    error: string,
  ])[] = [
    ['expired', () => ({ exp: past() }), 401, 'invalid_token'],
    ['without an expiry', () => ({ exp: undefined }), 401, 'invalid_token'],
    ['for another audience', () => ({ aud: 'https://other.example/mcp' }), 401, 'invalid_token'],
    ['without an audience', () => ({ aud: undefined }), 401, 'invalid_token'],
    ['of another issuer', () => ({ iss: 'https://other.example' }), 401, 'invalid_token'],
    ['without a subject', () => ({ sub: undefined }), 401, 'invalid_token'],
    ['with an empty subject', () => ({ sub: '' }), 401, 'invalid_token'],
    ['not valid yet', () => ({ nbf: Math.floor(Date.now() / 1000) + 3600 }), 401, 'invalid_token'],
    ['with another scope only', () => ({ scope: 'mail' }), 403, 'insufficient_scope'],
    ['with no scope', () => ({ scope: undefined }), 403, 'insufficient_scope'],
  ];
  for (const [about, claims, status, error] of rows) {
    test(about, async () => {
      const token = await server.token('alice', claims());
      await refused(
        await server.post(list.body, { as: token, headers: list.headers }),
        status,
        error,
        token,
      );
    });
  }

  test('signed with another key', async () => {
    const { privateKey } = await generateKeyPair('ES256');
    const token = await server.token('alice', {}, privateKey);
    await refused(
      await server.post(list.body, { as: token, headers: list.headers }),
      401,
      'invalid_token',
      token,
    );
  });

  test('without a signature', async () => {
    const [, payload] = (await server.token('alice')).split('.');
    const token = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`;
    await refused(
      await server.post(list.body, { as: token, headers: list.headers }),
      401,
      'invalid_token',
      token,
    );
  });

  test('no token', async () => {
    await refused(
      await server.post(list.body, { as: null, headers: list.headers }),
      401,
      'invalid_token',
      'Bearer x',
    );
  });

  test('a token in the query instead of the header', async () => {
    const url = new URL(server.url);
    url.searchParams.set('access_token', await server.token('alice'));
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...list.headers },
      body: JSON.stringify(list.body),
    });
    assert.equal(response.status, 401);
  });

  async function refused(
    response: Response,
    status: number,
    error: string,
    token: string,
  ): Promise<void> {
    const body = await response.text();
    assert.equal(response.status, status, body);
    const challenge = response.headers.get('www-authenticate') ?? '';
    assert.match(challenge, new RegExp(`^Bearer .*error="${error}"`));
    const metadata = /resource_metadata="([^"]+)"/.exec(challenge)?.[1];
    assert.equal(metadata, new URL('/.well-known/oauth-protected-resource/mcp', server.url).href);
    assert.ok(!body.includes(token) && !challenge.includes(token));
  }
});

test('the metadata names the resource and its issuer (RFC 9728)', async () => {
  for (const path of [
    '/.well-known/oauth-protected-resource/mcp',
    '/.well-known/oauth-protected-resource',
  ]) {
    const metadata = (await (await fetch(new URL(path, server.url))).json()) as Record<
      string,
      unknown
    >;
    assert.partialDeepStrictEqual(metadata, {
      resource: server.url.href,
      authorization_servers: [server.issuer.url],
      scopes_supported: ['triggers'],
    });
  }
});

test("an unreachable key service is a server error, not the caller's", async () => {
  const lonely = await startServer({ TRIGGERS_AUTH_JWKS_URI: 'http://127.0.0.1:9/jwks.json' });
  const response = await lonely.post(list.body, { headers: list.headers });
  assert.equal(response.status, 500);
  assert.equal(((await response.json()) as { error: string }).error, 'server_error');
  await lonely.close();
});

describe('a request that is not MCP is rejected before it is read', () => {
  const rows: readonly (readonly [
    about: string,
    body: string | Uint8Array,
    headers: Record<string, string>,
    status: number,
    code: number,
  ])[] = [
    ['text', 'hello', { 'content-type': 'text/plain' }, 415, -32000],
    ['a form', 'a=b', { 'content-type': 'application/x-www-form-urlencoded' }, 415, -32000],
    ['gzip', '{}', { 'content-encoding': 'gzip' }, 415, -32000],
    ['half a JSON', '{"jsonrpc":', {}, 400, -32700],
    ['nothing', '', {}, 400, -32700],
    ['5 MB', new Uint8Array(5_000_000).fill(0x20), {}, 413, -32000],
    ['JSON that is not a message', '{"hello":1}', {}, 400, -32600],
    ['an empty list', '[]', {}, 400, -32600],
  ];
  for (const [about, body, headers, status, code] of rows) {
    test(about, async () => {
      const response = await server.post(body, { headers });
      const answer = (await response.json()) as { jsonrpc: string; error: { code: number } };
      assert.deepEqual([response.status, answer.jsonrpc, answer.error.code], [status, '2.0', code]);
    });
  }

  test('5 MB without a content length', async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      void server.token('alice').then((token) => {
        const outgoing = httpRequest(
          server.url,
          {
            method: 'POST',
            headers: {
              'content-type': 'application/json',
              authorization: `Bearer ${token}`,
              'transfer-encoding': 'chunked',
            },
          },
          (incoming) => resolve(incoming.statusCode),
        );
        outgoing.on('error', reject);
        for (let n = 0; n < 80; n += 1) outgoing.write(Buffer.alloc(65_536, 0x20));
      });
    });
    assert.equal(status, 413);
  });

  test('another method', async () => {
    const response = await fetch(server.url, { method: 'PUT' });
    assert.deepEqual([response.status, response.headers.get('allow')], [405, 'POST, GET, DELETE']);
  });

  test('a header block of 20 kB', async () => {
    const answer = await raw(
      `GET /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 431 /);
  });
});

describe("a web page cannot use a visitor's network (DNS rebinding)", () => {
  test('a foreign host name', async () => {
    const answer = await raw(
      'POST /mcp HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 0\r\nconnection: close\r\n\r\n',
    );
    assert.match(answer, /^HTTP\/1\.1 403 /);
  });
  test('a foreign origin', async () => {
    const response = await server.post(list.body, {
      headers: { ...list.headers, origin: 'https://evil.example' },
    });
    assert.equal(response.status, 403);
  });
  test('accepts its own origin, with the headers a browser needs to pass the answer to the page', async () => {
    const response = await server.post(list.body, {
      headers: { ...list.headers, origin: server.url.origin },
    });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('access-control-allow-origin'), server.url.origin);
    assert.match(response.headers.get('access-control-expose-headers') ?? '', /mcp-session-id/i);
  });
  test('a preflight is answered for its own origin only, and without credentials', async () => {
    for (const [origin, allowed] of [
      [server.url.origin, server.url.origin],
      ['https://evil.example', null],
      ['null', null],
    ] as const) {
      const response = await fetch(server.url, {
        method: 'OPTIONS',
        headers: {
          origin,
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization',
        },
      });
      assert.equal(response.headers.get('access-control-allow-origin'), allowed);
      assert.equal(response.headers.get('access-control-allow-credentials'), null);
    }
  });
});

test('each principal has its own limit of requests per minute [lim-quota-named]', async () => {
  const busy = await startServer({ TRIGGERS_MAX_REQUESTS_PER_MINUTE: '3' });
  for (let n = 0; n < 3; n += 1) assert.equal((await busy.call('triggers/list')).status, 200);
  const { body, headers } = modern('triggers/list', {}, 'my-id');
  const response = await busy.post(body, { headers });
  assert.equal(response.status, 429);
  assert.ok(Number(response.headers.get('retry-after')) >= 1);
  const answer = (await response.json()) as {
    id: unknown;
    error: { code: number; data: { limit: string; max: number; retryAfterMs: number } };
  };
  assert.equal(answer.id, 'my-id');
  assert.equal(answer.error.code, -32025);
  assert.partialDeepStrictEqual(answer.error.data, { limit: 'requests', max: 3 });
  assert.ok(answer.error.data.retryAfterMs > 0);
  assert.equal((await busy.call('triggers/list', {}, { as: 'bob' })).status, 200);
  await busy.close();
});

describe('the other paths', () => {
  test('health, readiness, keys and metrics need no token and reveal no secret', async () => {
    for (const path of ['/healthz', '/readyz', '/.well-known/jwks.json', '/metrics'])
      assert.equal((await fetch(new URL(path, server.url))).status, 200, path);
    const { keys } = (await (
      await fetch(new URL('/.well-known/jwks.json', server.url))
    ).json()) as { keys: Record<string, unknown>[] };
    assert.deepEqual(
      await (await fetch(new URL('/.well-known/mcp-webhook-jwks.json', server.url))).json(),
      { keys },
    );
    assert.deepEqual(Object.keys(keys[0] ?? {}).sort(), ['crv', 'kid', 'kty', 'use', 'x']);
  });
  test('[jws-key-overlap] the keys before and after the present one are published with it', async () => {
    const others = [1, 2].map(() => {
      const { kty, crv, x } = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
      return { kty, crv, x };
    });
    const changing = await startServer({
      TRIGGERS_DELIVERY_KEYS_PUBLISHED: JSON.stringify(others),
    });
    const { keys } = (await (
      await fetch(new URL('/.well-known/jwks.json', changing.url))
    ).json()) as { keys: { x: string; kid: string }[] };
    await changing.close();
    assert.deepEqual(
      keys.slice(1).map(({ x }) => x),
      others.map(({ x }) => x),
    );
    assert.equal(new Set(keys.map(({ kid }) => kid)).size, 3);
  });
  test('a webhook keeps its bytes, and is rejected when compressed or above 25 MiB', async () => {
    const url = new URL('/sources/github', server.url);
    const plain = await fetch(url, {
      method: 'POST',
      body: new Uint8Array([0x7b, 0xff, 0x00, 0x7d]),
    });
    assert.deepEqual([plain.status, await plain.text()], [202, '4']);
    assert.equal(
      (await fetch(url, { method: 'POST', body: 'x', headers: { 'content-encoding': 'gzip' } }))
        .status,
      415,
    );
    assert.equal(
      (await fetch(url, { method: 'POST', body: new Uint8Array(25 * 2 ** 20 + 1) })).status,
      413,
    );
  });
  test('any other path is not found', async () => {
    assert.equal((await fetch(new URL('/etc/passwd', server.url))).status, 404);
  });
});

/** Sends exactly these bytes and reads until the server closes. */
function raw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(server.url.port), server.url.hostname, () => socket.write(text));
    let answer = '';
    socket
      .setEncoding('utf8')
      .on('data', (chunk: string) => (answer += chunk))
      .on('close', () => resolve(answer))
      .on('error', reject);
  });
}
