/**
 * Tests TLS to the name in the URL, trusted by the given authority only; `fixtures/make.sh` makes
 * the certificates (SEP: Destination rules).
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { describe, test, type TestContext } from 'vitest';
import tls, { type TLSSocket, type TlsOptions } from 'node:tls';
import { createEgress } from '../../../../src/server/callback/egress/egress.ts';
import {
  answer,
  closing,
  endpoint,
  PUBLIC_ADDRESS,
  recorder,
  request,
  scriptedResolver,
  outcomeOf,
  watchSockets,
} from './support.ts';

const fixture = (name: string): string =>
  readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8');
const authority = fixture('ca.crt');
const loopback = scriptedResolver(['127.0.0.1']);

async function secure(t: TestContext, certificate: string, options: TlsOptions = {}) {
  const names: (string | false | null | undefined)[] = [];
  const server = tls.createServer({
    cert: fixture(`${certificate}.crt`),
    key: fixture(`${certificate}.key`),
    ...options,
  });
  server.on('secureConnection', (socket: TLSSocket) => names.push(socket.servername));
  const peer = await endpoint(t, (socket) => socket.write(answer('200 OK', '{}')), server);
  return {
    ...peer,
    names,
    connections: peer.connections,
    url: `https://localhost:${peer.port}/hook`,
  };
}

describe('TLS', () => {
  test("[ssrf-name-kept] accepts a certificate of the trusted authority for the name; Host and server name are the URL's", async (t) => {
    const peer = await secure(t, 'endpoint');
    const egress = closing(
      t,
      createEgress({ unsafeAllowHttpLoopback: true, tlsCa: [authority], lookup: loopback }),
    );
    assert.equal(outcomeOf(await egress.post(request(peer.url))), 'response 200');
    assert.deepEqual(peer.names, ['localhost']);
    assert.match(peer.received.join(''), new RegExp(`\r\nhost: localhost:${peer.port}\r\n`));
  });

  test('[ssrf-name-kept] uses the name of the URL whatever address it resolves to', async (t) => {
    const peer = await secure(t, 'endpoint');
    const watch = watchSockets(t, { internetPort: peer.port });
    const egress = closing(
      t,
      createEgress({ tlsCa: authority, lookup: scriptedResolver([PUBLIC_ADDRESS]) }),
    );
    assert.equal(
      outcomeOf(await egress.post(request('https://receiver.example/hook'))),
      'response 200',
    );
    assert.deepEqual(watch.reached, [PUBLIC_ADDRESS]);
    assert.deepEqual(peer.names, ['receiver.example']);
    assert.match(peer.received.join(''), /\r\nhost: receiver\.example\r\n/);
  });

  for (const certificate of ['selfsigned', 'other', 'expired']) {
    test(`[ssrf-name-kept] a certificate that is ${certificate} → tls_error, and no byte of the request is sent`, async (t) => {
      const peer = await secure(t, certificate);
      const egress = closing(
        t,
        createEgress({ unsafeAllowHttpLoopback: true, tlsCa: authority, lookup: loopback }),
      );
      assert.equal(outcomeOf(await egress.post(request(peer.url))), 'tls_error');
      assert.equal(peer.received.join(''), '');
    });
  }

  test('does not trust an authority that was not given', async (t) => {
    const peer = await secure(t, 'endpoint');
    const egress = closing(t, createEgress({ unsafeAllowHttpLoopback: true, lookup: loopback }));
    assert.equal(outcomeOf(await egress.post(request(peer.url))), 'tls_error');
  });

  test('[ssrf-no-ambient] verifies certificates despite NODE_TLS_REJECT_UNAUTHORIZED=0', async (t) => {
    const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    t.onTestFinished(
      () =>
        void (before === undefined
          ? delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
          : (process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before)),
    );
    const peer = await secure(t, 'selfsigned');
    const egress = closing(t, createEgress({ unsafeAllowHttpLoopback: true, lookup: loopback }));
    assert.equal(outcomeOf(await egress.post(request(peer.url))), 'tls_error');
  });

  test('does not accept a name on the certificate for an address in the URL', async (t) => {
    const peer = await secure(t, 'endpoint');
    const egress = closing(t, createEgress({ unsafeAllowHttpLoopback: true, tlsCa: authority }));
    assert.equal(
      outcomeOf(await egress.post(request(`https://127.0.0.1:${peer.port}/hook`))),
      'tls_error',
    );
  });

  test('no common version, plain HTTP or a closed handshake → tls_error', async (t) => {
    const hangUp = net.createServer((socket) => socket.once('data', () => socket.destroy()));
    await new Promise<void>((resolve) => hangUp.listen(0, '127.0.0.1', resolve));
    t.onTestFinished(() => void hangUp.close());
    const speaksHttp = net.createServer((socket) =>
      socket.on('error', () => undefined).end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    );
    await new Promise<void>((resolve) => speaksHttp.listen(0, '127.0.0.1', resolve));
    t.onTestFinished(() => void speaksHttp.close());
    const port = (server: net.Server): number => (server.address() as net.AddressInfo).port;
    const old = await secure(t, 'endpoint', { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1' });
    const egress = closing(
      t,
      createEgress({ unsafeAllowHttpLoopback: true, tlsCa: authority, lookup: loopback }),
    );
    const outcomes: Record<string, string> = {};
    for (const [what, peer] of Object.entries({
      hangUp: port(hangUp),
      speaksHttp: port(speaksHttp),
      old: old.port,
    })) {
      outcomes[what] = outcomeOf(await egress.post(request(`https://localhost:${peer}/`)));
    }
    assert.deepEqual(outcomes, { hangUp: 'tls_error', speaksHttp: 'tls_error', old: 'tls_error' });
  });

  test('a silent handshake → timeout', async (t) => {
    const silent = net.createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    t.onTestFinished(() => void silent.close());
    const egress = createEgress({
      unsafeAllowHttpLoopback: true,
      lookup: loopback,
      timeouts: { connectMs: 500 },
    });
    const url = `https://localhost:${(silent.address() as net.AddressInfo).port}/`;
    assert.equal(outcomeOf(await egress.post(request(url, { deadlineMs: 100 }))), 'timeout');
    assert.equal(
      outcomeOf(await egress.post(request(url, { deadlineMs: 10_000 }))),
      'timeout',
      "the connection's own time limit",
    );
    await egress.close();
  });

  test('logs the kind of failure, never the certificate or the name', async (t) => {
    const peer = await secure(t, 'other');
    const { log, meter, lines, counts } = recorder();
    const egress = closing(
      t,
      createEgress({
        unsafeAllowHttpLoopback: true,
        tlsCa: authority,
        lookup: loopback,
        log,
        meter,
      }),
    );
    await egress.post(request(peer.url));
    assert.deepEqual(
      lines.map((line) => JSON.parse(line)),
      [
        {
          level: 'debug',
          category: 'tls_error',
          detail: 'ERR_TLS_CERT_ALTNAME_INVALID',
          message: 'outbound request failed; clients learn only its category',
        },
      ],
    );
    assert.deepEqual(counts, { 'triggers_egress_failures_total{tls_error}': 1 });
  });
});
