/**
 * Tests the callback drain: what each answer does, when the next attempt comes, and what a request
 * looks like.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import type { Delivery, Subscription } from '../../../spec-schema/draft/schema.ts';
import { Secret } from '../../../src/protocol/wire/secret.ts';
import { verifyWebhook } from '../../../src/protocol/wire/signature.ts';
import {
  ann,
  CALLBACK,
  DAY,
  failed,
  HOUR,
  lastOf,
  MINUTE,
  numbers,
  position,
  response,
  SECOND,
  secretOf,
  turns,
  world,
  type Arrived,
  type WorldOptions,
} from '../engine/harness.ts';

type Scripted = ReturnType<typeof response> | ReturnType<typeof failed>;

/** A world with one callback that answers by `script`, then acknowledges everything. */
async function scripted(
  script: readonly (Scripted | ((request: Arrived) => Scripted))[],
  params: { ttlMs?: number } = {},
  options: WorldOptions = {},
) {
  const w = await world(options);
  let at = 0;
  w.endpoints.answer = (request) => {
    const next = script[at];
    at += 1;
    return next === undefined
      ? response(200, { ackSequence: lastOf(request.delivery) })
      : typeof next === 'function'
        ? next(request)
        : next;
  };
  const { subscriptionId, epoch } = await w.engine.subscribe(ann, {
    key: 'k',
    select: [{ name: 'tick' }],
    callback: CALLBACK,
    ttlMs: 30 * DAY,
    ...params,
  });
  return {
    ...w,
    subscriptionId,
    epoch,
    get: async () => (await w.engine.get(ann, { subscriptionId })) as Subscription,
  };
}

describe('a request', () => {
  test('[cb-headers cb-post cb-start sig-raw-bytes sig-timestamp cb-no-extra] is signed and states its coverage', async () => {
    const w = await scripted([]);
    await w.emitAll(1, 3);
    await turns();
    const [request] = w.endpoints.requests;
    const { headers, body, delivery } = request!;
    assert.equal(headers['content-type'], 'application/json');
    assert.equal(headers['mcp-subscription-id'], w.subscriptionId);
    assert.equal(headers['webhook-timestamp'], String(Math.floor(request!.at / 1000)));
    verifyWebhook(headers, body, Secret.parse(CALLBACK.secret), request!.at);
    assert.equal(
      Object.keys(headers).some((name) => /cookie|authorization/i.test(name)),
      false,
    );
    assert.deepEqual(
      [delivery.afterSequence, numbers(delivery), delivery.head, delivery.acked, delivery.gaps],
      [0, [1, 2, 3], 3, 0, undefined],
    );
    assert.deepEqual(Object.keys(JSON.parse(Buffer.from(body).toString()) as object), [
      'jsonrpc',
      'method',
      'params',
    ]);
    await w.close();
  });

  test('[cb-id-range cb-id-retry retry-success] has an id for its range: a retry keeps it, a longer range changes it', async () => {
    let more = (): void => undefined;
    const w = await scripted([
      failed('timeout'),
      () => {
        more();
        return failed('timeout');
      },
    ]);
    more = () => void w.emit(2);
    await w.emit(1);
    await w.pass(10 * SECOND);
    const [one, two, three] = w.endpoints.requests;
    assert.deepEqual(
      [one, two, three].map((request) => numbers(request!.delivery)),
      [[1], [1], [1, 2]],
    );
    assert.equal(one?.headers['webhook-id'], two?.headers['webhook-id']);
    assert.notEqual(two?.headers['webhook-id'], three?.headers['webhook-id']);
    const { callback } = await w.get();
    assert.deepEqual(
      [callback?.health.attempts, callback?.health.lastError, callback?.health.failingSince],
      [0, undefined, undefined],
    );
    await w.close();
  });

  test('[cb-batch cb-body-limit log-contiguous] has at most 100 events and 256 KiB', async () => {
    const w = await scripted([]);
    await w.engine.update(ann, { subscriptionId: w.subscriptionId, paused: true });
    await w.emitAll(1, 130);
    for (let n = 131; n <= 138; n += 1) await w.emit(n, { text: 'x'.repeat(60_000) });
    await w.engine.settled();
    await w.engine.update(ann, { subscriptionId: w.subscriptionId, paused: false });
    await turns(80);
    assert.deepEqual(
      w.endpoints.numbers.flat(),
      Array.from({ length: 138 }, (_, at) => at + 1),
    );
    assert.equal(w.endpoints.numbers[0]?.length, 100);
    assert.ok(w.endpoints.requests.length >= 3);
    for (const { body, delivery } of w.endpoints.requests)
      assert.ok(body.byteLength <= 262_144 && delivery.events.length <= 100);
    await w.close();
  });

  test('[sig-rotation-end sig-rotation-shown] is not signed with a previous secret that the client has revoked', async () => {
    const w = await scripted([]);
    const leaked = CALLBACK.secret;
    const signs = (secret: string): boolean => {
      const { headers, body } = w.endpoints.requests.at(-1)!;
      try {
        verifyWebhook(headers, body, Secret.parse(secret), w.clock.now());
        return true;
      } catch {
        return false;
      }
    };
    w.endpoints.prove = (request) => response(200, w.endpoints.proof(request, secretOf(2)));
    // With the rotation itself.
    const rotated = await w.engine.update(ann, {
      subscriptionId: w.subscriptionId,
      callback: { ...CALLBACK, secret: secretOf(2) },
      revokePrevious: true,
    });
    assert.equal(rotated.callback?.previousSecretUntil, undefined);
    await w.emit(1);
    await turns();
    assert.deepEqual([signs(leaked), signs(secretOf(2))], [false, true]);
    // Or later, within the window.
    w.endpoints.prove = (request) => response(200, w.endpoints.proof(request, secretOf(3)));
    const again = await w.engine.update(ann, {
      subscriptionId: w.subscriptionId,
      callback: { ...CALLBACK, secret: secretOf(3) },
    });
    assert.notEqual(again.callback?.previousSecretUntil, undefined);
    const revoked = await w.engine.update(ann, {
      subscriptionId: w.subscriptionId,
      revokePrevious: true,
    });
    assert.equal(revoked.callback?.previousSecretUntil, undefined);
    assert.equal(
      revoked.etag,
      again.etag,
      'the end of the window does not change the configuration',
    );
    await w.emit(2);
    await turns();
    assert.deepEqual([signs(secretOf(2)), signs(secretOf(3))], [false, true]);
    await w.close();
  });

  test('[sig-rotation sig-rotation-shown sig-rotation-end upd-rotate] is signed with both secrets during a rotation', async () => {
    const w = await scripted([]);
    const next = { ...CALLBACK, secret: secretOf(2) };
    w.endpoints.prove = (request) => response(200, w.endpoints.proof(request, next.secret));
    const { callback } = await w.engine.update(ann, {
      subscriptionId: w.subscriptionId,
      callback: next,
    });
    assert.equal(callback?.previousSecretUntil, new Date(w.clock.now() + 5 * MINUTE).toISOString());
    await w.emit(1);
    await turns();
    await w.pass(5 * MINUTE);
    await w.emit(2);
    await turns();
    const [during, after] = w.endpoints.requests;
    for (const secret of [next.secret, CALLBACK.secret])
      verifyWebhook(during!.headers, during!.body, Secret.parse(secret), during!.at);
    assert.equal(during?.headers['webhook-signature']?.split(' ').length, 2);
    assert.equal(after?.headers['webhook-signature']?.split(' ').length, 1);
    assert.throws(() =>
      verifyWebhook(after.headers, after.body, Secret.parse(CALLBACK.secret), after.at),
    );
    assert.equal((await w.get()).callback?.previousSecretUntil, undefined);
    await w.close();
  });
});

describe('an answer', () => {
  const transient = ['timeout', 'connection_refused', 'tls_error'] as const;

  test('[ans-no-ack ans-reject-other ans-no-redirect retry-categories ans-category-only] that is not an acknowledgement moves nothing, and has a category', async () => {
    const table: readonly [string, Scripted][] = [
      ...transient.map((category) => [category, failed(category)] as [string, Scripted]),
      ['no_ack', response(200)],
      ['no_ack', response(200, '<html>')],
      ['no_ack', response(204)],
      ['no_ack', response(200, { ackSequence: 0 })],
      ['no_ack', response(200, { ackSequence: 3 })],
      ['no_ack', response(200, { ackSequence: -1 })],
      ['no_ack', response(200, { ackSequence: 1.5 })],
      ['no_ack', response(200, { ackSequence: '2' })],
      ['no_ack', response(200, [2])],
      ['no_ack', response(200, { ackSequence: 0, reject: { sequence: 2, reason: '' } })],
      ['no_ack', response(200, { ackSequence: 2, reject: { sequence: 3, reason: '' } })],
      ['http_4xx', response(302)],
      ['http_4xx', response(400)],
      ['http_4xx', response(404)],
      ['http_4xx', response(409)],
      ['http_4xx', response(429)],
      ['http_5xx', response(500)],
      ['http_5xx', response(503)],
      ['http_5xx', response(999)],
    ];
    for (const [category, answer] of table) {
      const w = await scripted([answer]);
      await w.emitAll(1, 2);
      await turns();
      const { acked, callback } = await w.get();
      assert.deepEqual(
        [acked, callback?.health.lastError, callback?.health.attempts, callback?.state],
        [0, category, 1, 'failing'],
        `${category} ${JSON.stringify(answer)}`,
      );
      await w.pass(2 * SECOND);
      assert.deepEqual(w.endpoints.numbers, [
        [1, 2],
        [1, 2],
      ]);
      await w.close();
    }
  });

  test('[ans-partial ans-ack] that acknowledges a part is followed by the rest after 100 ms', async () => {
    const w = await scripted([response(200, { ackSequence: 2 })]);
    await w.emitAll(1, 5);
    await w.pass(99);
    assert.deepEqual(w.endpoints.numbers, [[1, 2, 3, 4, 5]]);
    assert.equal((await w.get()).acked, 2);
    await w.pass(50);
    assert.deepEqual(w.endpoints.numbers, [
      [1, 2, 3, 4, 5],
      [3, 4, 5],
    ]);
    assert.equal((await w.get()).acked, 5);
    await w.close();
  });

  test('[ans-partial] that acknowledges one event at a time gets ten requests per second', async () => {
    const w = await scripted([]);
    w.endpoints.answer = ({ delivery }) =>
      response(200, { ackSequence: delivery.afterSequence + 1 });
    await w.emitAll(1, 100);
    await w.pass(SECOND);
    const { length } = w.endpoints.requests;
    assert.ok(length > 5 && length <= 11, `${length} requests in a second`);
    await w.close();
  });

  test('[ans-reject gap-same-everywhere gap-final] that rejects one event makes it a gap on every drain', async () => {
    const w = await scripted([
      response(200, { ackSequence: 1, reject: { sequence: 2, reason: 'no' } }),
    ]);
    await w.emitAll(1, 4);
    await w.pass(150);
    const gap = [{ from: 2, to: 2, reason: 'rejected' }];
    assert.deepEqual(
      w.endpoints.requests.map(({ delivery }) => [
        delivery.afterSequence,
        numbers(delivery),
        delivery.gaps,
      ]),
      [
        [0, [1, 2, 3, 4], undefined],
        [1, [3, 4], gap],
      ],
    );
    const pulled = (await w.engine.pull(ann, {
      subscriptionId: w.subscriptionId,
      after: position(w.epoch, 0),
    })) as Delivery;
    assert.deepEqual([numbers(pulled), pulled.gaps], [[1, 3, 4], gap]);
    await w.close();
  });

  test('[ans-gone] 410 suspends the callback, keeps its URL and secret, and keeps the log', async () => {
    const w = await scripted([response(410)]);
    w.endpoints.prove = () => response(410);
    await w.emitAll(1, 2);
    await turns();
    const now = await w.get();
    assert.deepEqual(
      [
        now.callback?.origin,
        now.callback?.health.lastError,
        now.callback?.state,
        now.head,
        now.acked,
      ],
      ['https://hooks.example', 'gone', 'suspended', 2, 0],
    );
    await w.emit(3);
    await w.pass(HOUR);
    assert.equal(w.endpoints.requests.length, 1);
    assert.deepEqual(
      numbers((await w.engine.pull(ann, { subscriptionId: w.subscriptionId })) as Delivery),
      [1, 2, 3],
    );
    await w.close();
  });

  test('[ans-413] 413 halves the batch until it fits', async () => {
    const w = await scripted([]);
    w.endpoints.answer = ({ delivery }) =>
      delivery.events.length > 2 ? response(413) : response(200, { ackSequence: lastOf(delivery) });
    await w.emitAll(1, 10);
    await turns(200);
    assert.deepEqual(
      w.endpoints.numbers.slice(0, 3).map((list) => list.length),
      [10, 5, 2],
    );
    const { acked, callback } = await w.get();
    assert.deepEqual([acked, callback?.health.attempts], [10, 0]);
    await w.close();
  });

  test('[ans-413] 413 to a single event makes it a gap, and the next one follows', async () => {
    const w = await scripted([response(413)]);
    await w.emit(1);
    await turns();
    await w.emit(2);
    await w.pass(SECOND);
    const { callback, acked } = await w.get();
    assert.deepEqual([callback?.state, acked], ['ok', 2]);
    assert.deepEqual(
      w.endpoints.requests.flatMap(({ delivery }) => delivery.gaps ?? []),
      [{ from: 1, to: 1, reason: 'too_large' }],
    );
    await w.close();
  });

  test('[ans-retry-after retry-cap] 429 and 503 delay the next attempt as long as they ask, at most an hour', async () => {
    const start = Date.UTC(2026, 0, 1);
    const table: readonly [number, string, number][] = [
      [429, '30', 30],
      [503, '120', 120],
      [429, '86400', 3600],
      [503, new Date(start + 90_000).toUTCString(), 90],
      [429, 'soon', 0],
      [503, '-5', 0],
      [500, '120', 0],
    ];
    for (const [status, retryAfter, seconds] of table) {
      const w = await scripted([response(status, null, retryAfter)]);
      await w.emit(1);
      await turns();
      const first = w.endpoints.requests[0]!.at;
      await w.pass(2 * HOUR);
      const waited = (w.endpoints.requests[1]!.at - first) / 1000;
      assert.ok(
        waited >= seconds && waited <= seconds + 1.2,
        `${status} ${retryAfter}: waited ${waited} s`,
      );
      await w.close();
    }
  });
});

describe('consecutive failures', () => {
  test('[retry-backoff retry-cap retry-time-limit retry-suspend sub-only-client-resumes] back off, and suspend after a day', async () => {
    const w = await scripted(Array(10_000).fill(failed('timeout')) as Scripted[]);
    await w.emit(1);
    await w.pass(23 * HOUR);
    assert.equal((await w.get()).callback?.state, 'failing');
    const waits = w.endpoints.requests
      .slice(1)
      .map(({ at }, index) => at - w.endpoints.requests[index]!.at);
    waits.forEach((wait, index) =>
      assert.ok(
        wait <= Math.min(300, 2 ** index) * SECOND + SECOND,
        `wait ${index} was ${wait} ms`,
      ),
    );
    const long = waits.slice(12);
    assert.ok(
      Math.min(...long) < 60 * SECOND && Math.max(...long) > 240 * SECOND,
      'with full jitter',
    );
    w.endpoints.prove = () => failed('timeout');
    await w.pass(2 * HOUR);
    const { acked, head, callback } = await w.get();
    assert.deepEqual(
      [callback?.state, acked, head, callback?.health.lastError],
      ['suspended', 0, 1, 'timeout'],
    );
    const count = w.endpoints.requests.length;
    await w.emit(2);
    await w.pass(2 * DAY);
    assert.equal(w.endpoints.requests.length, count);
    await w.close();
  });

  test('[retry-config-limit] suspend after five configuration failures and ten minutes', async () => {
    const w = await scripted([
      response(404),
      response(401),
      response(500),
      ...(Array(100).fill(response(404)) as Scripted[]),
    ]);
    w.endpoints.prove = () => response(404);
    await w.emit(1);
    await w.pass(HOUR);
    assert.equal((await w.get()).callback?.state, 'suspended');
    const times = w.endpoints.requests.map(({ at }) => at - w.endpoints.requests[3]!.at);
    assert.ok(times.length >= 8, `${times.length} attempts`);
    assert.ok(times.at(-2)! < 10 * MINUTE && times.at(-1)! >= 10 * MINUTE, times.join());
    await w.close();
  });

  for (const [how, resume] of [
    [
      'an update with `resume`',
      (w) => w.engine.update(ann, { subscriptionId: w.subscriptionId, resume: true }),
    ],
    [
      'a proof of the endpoint',
      async (w) => {
        w.endpoints.prove = (request) => response(200, w.endpoints.proof(request));
        for (
          let tries = 0;
          tries < 600 && (await w.get()).callback?.state === 'suspended';
          tries += 1
        )
          await w.pass(6 * SECOND);
      },
    ],
  ] as readonly [string, (w: Awaited<ReturnType<typeof scripted>>) => Promise<unknown>][]) {
    test(`[sub-only-client-resumes retry-success upd-resume retry-probe] end when ${how} resumes the callback`, async () => {
      const w = await scripted(Array(100).fill(response(404)) as Scripted[]);
      await w.emit(1);
      w.endpoints.prove = () => response(404);
      await w.pass(HOUR);
      assert.equal((await w.get()).callback?.state, 'suspended');
      let answer = (_: Scripted): void => undefined;
      w.endpoints.answer = () =>
        new Promise((resolve) => {
          answer = resolve;
        });
      await resume(w);
      await turns();
      const { callback } = await w.get();
      assert.deepEqual(
        [callback?.state, callback?.health.attempts, callback?.health.lastError],
        ['ok', 0, 'http_4xx'],
      );
      answer(response(200, { ackSequence: 1 }));
      await turns();
      assert.deepEqual(
        [(await w.get()).acked, (await w.get()).callback?.health.lastError],
        [1, undefined],
      );
      await w.close();
    });
  }
});
