/**
 * Tests that a callback URL stays secret, and that a blocked address looks like a closed port (SEP:
 * Destination rules).
 */
import assert from 'node:assert/strict';
import net from 'node:net';
import { describe, test } from 'vitest';
import { inspect } from 'node:util';
import { createEgress } from '../../../../src/server/callback/egress/egress.ts';
import { WireError } from '../../../../src/protocol/wire/errors.ts';
import type { OutboundResult } from '../../../../src/server/engine/ports.ts';
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

const CANARY = 'kanarienvogel';

/** Everything that careless code could print of a value. */
function printed(value: unknown): string {
  const parts = [
    inspect(value, { depth: Infinity, showHidden: true, getters: true }),
    JSON.stringify(value),
  ];
  for (let error = value; error instanceof Error; error = error.cause)
    parts.push(
      String(error),
      error.stack ?? '',
      JSON.stringify(error, Object.getOwnPropertyNames(error)),
    );
  if (typeof value === 'object' && value !== null && 'cause' in value && !(value instanceof Error))
    parts.push(printed(value.cause));
  return parts.join('\n').toLowerCase();
}

describe('no part of a callback URL leaks', () => {
  const urls = [
    `https://${CANARY}:${CANARY}@example.com/`,
    `https://example.com/${CANARY}#x`,
    `http://${CANARY}.example.com/`,
    `https://${CANARY}.example.com:22/${CANARY}`,
    `https://${CANARY}/`,
    `https://127.0.0.1/${CANARY}?cb=${CANARY}`,
    `${CANARY}`,
    `https://example.com/${CANARY}\n`,
    `https://example.com/${CANARY.repeat(200)}`,
    `https://[${CANARY}]/`,
    `https://${CANARY}.example.com./`,
  ];
  test('from the error of a refused URL', () => {
    const egress = createEgress();
    for (const url of urls) {
      assert.throws(
        () => egress.check(url),
        (error) => {
          assert.ok(error instanceof WireError);
          assert.ok(
            !`${printed(error)}${JSON.stringify(error.toErrorObject())}`.includes(CANARY),
            url,
          );
          return true;
        },
      );
    }
  });

  test('from any failure of an attempt, nor do header values or the body', async (t) => {
    const { log, meter, lines, counts } = recorder();
    const closed = await endpoint(t, (socket) => socket.destroy());
    const silent = await endpoint(t, () => undefined);
    const garbage = await endpoint(t, (socket) => socket.end(`${CANARY}\r\n\r\n`));
    const plain = net.createServer((socket) => socket.on('error', () => undefined).end('no tls'));
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    t.onTestFinished(() => void plain.close());
    const egress = closing(
      t,
      createEgress({
        unsafeAllowHttpLoopback: true,
        lookup: scriptedResolver('ENOTFOUND', ['10.0.0.1'], ['127.0.0.1']),
        log,
        meter,
      }),
    );
    const path = `/${CANARY}?cb=${CANARY}`;
    const results: OutboundResult[] = [];
    for (const url of [
      `https://${CANARY}.example.com${path}`,
      `https://${CANARY}.example.com${path}`,
      `http://127.0.0.1:${closed.port}${path}`,
      `http://127.0.0.1:${silent.port}${path}`,
      `http://127.0.0.1:${garbage.port}${path}`,
      `https://localhost:${(plain.address() as net.AddressInfo).port}${path}`,
      `http://127.0.0.1:1${path}`,
      ...urls,
    ]) {
      results.push(
        await egress.post(
          request(url, {
            // Only the silent endpoint lets it pass.
            deadlineMs: url.includes(`:${silent.port}/`) ? 200 : 10_000,
            headers: { 'webhook-signature': CANARY },
            body: Buffer.from(CANARY),
          }),
        ),
      );
    }
    assert.ok(results.every(({ kind }) => kind === 'failure'));
    assert.deepEqual(
      new Set(results.map(outcomeOf)),
      new Set(['connection_refused', 'timeout', 'tls_error']),
    );
    for (const text of [...results.map(printed), lines.join('\n'), JSON.stringify(counts)])
      assert.ok(!text.toLowerCase().includes(CANARY), text);
  });
});

describe('blocked and unreachable addresses', () => {
  test('[ssrf-blind] give the same result in every printable detail; only log and counter distinguish them', async (t) => {
    watchSockets(t);
    const { log, meter, lines, counts } = recorder();
    const lookup = scriptedResolver(['10.0.0.1'], [PUBLIC_ADDRESS], 'ENOTFOUND');
    const egress = closing(t, createEgress({ lookup, log, meter }));
    const texts: string[] = [];
    for (let i = 0; i < 3; i++)
      texts.push(printed(await egress.post(request('https://receiver.example/hook'))));
    assert.equal(texts[1], texts[0]);
    assert.equal(texts[2], texts[0]);
    assert.deepEqual(counts, {
      'triggers_egress_failures_total{blocked}': 1,
      'triggers_egress_failures_total{connection_refused}': 2,
    });
    assert.deepEqual(
      lines.map((line) => (JSON.parse(line) as { detail: string }).detail),
      ['blocked', 'ECONNREFUSED', 'ENOTFOUND'],
    );
  });

  test('control: an endpoint that answers looks different', async (t) => {
    const peer = await endpoint(t, (socket) => socket.write(answer('200 OK')));
    const egress = closing(t, createEgress({ unsafeAllowHttpLoopback: true }));
    assert.equal(outcomeOf(await egress.post(request(peer.url))), 'response 200');
  });
});
