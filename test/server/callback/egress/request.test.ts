/**
 * Tests what is sent: exactly the caller's bytes and headers, and nothing of the server's
 * environment (SEP: Destination rules).
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { createEgress } from '../../../../src/server/callback/egress/egress.ts';
import { answer, closing, endpoint, request, outcomeOf } from './support.ts';

describe('the request', () => {
  test("[ssrf-no-ambient] has the caller's headers, Host, accept-encoding: identity and the body byte for byte", async (t) => {
    const peer = await endpoint(t, (socket) =>
      socket.write(answer('200 OK', '{}', 'set-cookie: a=b\r\n')),
    );
    const egress = closing(t, createEgress({ unsafeAllowHttpLoopback: true }));
    const body = Buffer.from([0x7b, 0xff, 0x00, 0x7d]);
    for (let i = 0; i < 2; i++) await egress.post(request(`${peer.url}?cb=%7E//x`, { body }));
    const [first, second] = peer.received.join('').split(/(?=POST )/);
    assert.equal(
      first,
      [
        'POST /hook?cb=%7E//x HTTP/1.1',
        `host: 127.0.0.1:${peer.port}`,
        'connection: keep-alive',
        'accept-encoding: identity',
        'content-type: application/json',
        'webhook-id: msg_1',
        'user-agent: egress-test',
        'content-length: 4',
        '',
        body.toString('latin1'),
      ].join('\r\n'),
    );
    assert.equal(second, first, 'a cookie set by the first response is not sent back');
  });

  test('[ssrf-no-ambient] ignores proxy variables and NODE_USE_ENV_PROXY', async (t) => {
    const proxy = await endpoint(t, (socket) => socket.end(answer('200 OK')));
    const peer = await endpoint(t, (socket) => socket.write(answer('204 No Content')));
    for (const name of [
      'HTTP_PROXY',
      'http_proxy',
      'HTTPS_PROXY',
      'https_proxy',
      'ALL_PROXY',
      'all_proxy',
      'NODE_USE_ENV_PROXY',
    ]) {
      const before = process.env[name];
      process.env[name] = name.startsWith('NODE') ? '1' : `http://127.0.0.1:${proxy.port}`;
      t.onTestFinished(
        () => void (before === undefined ? delete process.env[name] : (process.env[name] = before)),
      );
    }
    const egress = closing(t, createEgress({ unsafeAllowHttpLoopback: true }));
    assert.equal(outcomeOf(await egress.post(request(peer.url))), 'response 204');
    assert.equal(proxy.connections(), 0);
  });

  for (const name of [
    'Authorization',
    'cookie',
    'Proxy-Authorization',
    'Host',
    'Connection',
    'Transfer-Encoding',
    'Content-Length',
    'accept-encoding',
    'Expect',
    'Upgrade',
  ]) {
    test(`rejects the header ${name} before anything is sent`, async (t) => {
      const peer = await endpoint(t, (socket) => socket.write(answer('200 OK')));
      const egress = closing(t, createEgress({ unsafeAllowHttpLoopback: true }));
      await assert.rejects(
        egress.post(request(peer.url, { headers: { [name]: 'CANARY' } })),
        (error: Error) => error instanceof TypeError && !error.message.includes('CANARY'),
      );
      assert.equal(peer.connections(), 0);
    });
  }

  for (const value of ['a\r\nx-evil: 1', 'a\nb', 'a\0b', 'ü', '日本', 'a\u007fb', '\u001b[31m']) {
    test(`rejects the header value ${JSON.stringify(value)} before anything is sent`, async (t) => {
      const peer = await endpoint(t, (socket) => socket.write(answer('200 OK')));
      const egress = closing(t, createEgress({ unsafeAllowHttpLoopback: true }));
      await assert.rejects(
        egress.post(request(peer.url, { headers: { 'x-a': value } })),
        TypeError,
      );
      assert.equal(peer.connections(), 0);
    });
  }

  test('returns status, content type, Retry-After and body; a repeated header counts as absent', async (t) => {
    const peer = await endpoint(
      t,
      (socket, count) =>
        void socket.write(
          count === 1
            ? answer('503 X', 'later', 'retry-after: 120\r\n')
            : answer('503 X', '', 'retry-after: 1\r\nretry-after: 2\r\n'),
        ),
    );
    const egress = closing(t, createEgress({ unsafeAllowHttpLoopback: true }));
    assert.deepEqual(await egress.post(request(peer.url)), {
      kind: 'response',
      status: 503,
      contentType: 'application/json',
      retryAfter: '120',
      body: Buffer.from('later'),
    });
    const repeated = await egress.post(request(peer.url));
    assert.ok(repeated.kind === 'response' && repeated.retryAfter === null);
  });

  test('close() lets requests in flight finish and accepts no more', async (t) => {
    const peer = await endpoint(
      t,
      (socket) => void setTimeout(() => socket.write(answer('200 OK')), 50),
    );
    const egress = createEgress({ unsafeAllowHttpLoopback: true });
    const under = egress.post(request(peer.url));
    const closed = egress.close();
    assert.equal(outcomeOf(await under), 'response 200');
    await closed;
    assert.equal(outcomeOf(await egress.post(request(peer.url))), 'connection_refused');
  });
});
