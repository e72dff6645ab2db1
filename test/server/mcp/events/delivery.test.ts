/**
 * Tests webhook deliveries as a receiver on loopback gets them: signed, in order, retried,
 * abandoned, announced. The verifier is the public library.
 */
import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { describe, test } from 'vitest';
import { generateDeliveryKey, publicJwks } from 'mcp-triggers-experimental/server';
import { secretOf } from '../../../requirements/world.ts';
import { verifies, type Behavior, type Hit } from './receiver.ts';
import {
  box,
  eventsWorld,
  eventually,
  meter,
  SEP,
  TRIGGERS,
  type EventsWorld,
  type Json,
} from './world.ts';

const DAY_MS = 86_400_000;
const name = box.type.name;
const textOf = ({ body }: Hit): string => body['data']?.text ?? body['type'];
const refuse =
  (text: string, status: number): Behavior =>
  (hit) => ({ status: textOf(hit) === text ? status : 204 });
const numbers = (hits: readonly Hit[]): number[] =>
  hits.map(({ body }) => body['_meta'][TRIGGERS].sequence);

/**
 * Advances the clock in steps until `read` has a value, so that retries run. The clock stands still
 * while an answer is pending, since the attempt would otherwise count as lost.
 */
async function passing<T>(
  w: EventsWorld,
  what: string,
  look: () => T | undefined | false,
  stepMs = 60_000,
): Promise<T> {
  return eventually(what, async () => {
    const value = look();
    if (
      (value === undefined || value === false) &&
      (await w.engine.health()).attemptsInFlight === 0
    )
      await w.pass(stepMs);
    return value;
  });
}

describe('a delivery', () => {
  test('is one signed POST per event, in order, that any Standard Webhooks library accepts [SEP-3415 R61 R62 R64 D36 D37 D38 D42 D65]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    const { id } = await w.hook(hook);
    await w.open(5);
    await hook.nth(5);
    assert.deepEqual(numbers(hook.events), [1, 2, 3, 4, 5]);
    for (const hit of hook.events) {
      assert.deepEqual(
        [
          hit.method,
          hit.headers['content-type'],
          hit.headers['x-mcp-subscription-id'],
          hit.body['name'],
        ],
        ['POST', 'application/json', id, name],
      );
      assert.ok(verifies(hook.secret, hit, w.clock.now()));
      assert.ok(!verifies(secretOf(), hit, w.clock.now()));
      assert.ok(
        !verifies(
          hook.secret,
          { ...hit, raw: Buffer.concat([hit.raw, Buffer.from(' ')]) },
          w.clock.now(),
        ),
      );
      for (const header of [
        'authorization',
        'cookie',
        'mcp-delivery-signature',
        'mcp-subscription-id',
      ])
        assert.equal(hit.headers[header], undefined);
    }
    assert.equal(new Set(hook.events.map(({ headers }) => headers['webhook-id'])).size, 5);
  });

  test('carries the watermark of what was accepted before it, not its own position [SEP-3415 D39 D33]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    const { cursor } = await w.hook(hook);
    await w.open(2);
    const [first, second] = [await hook.nth(1), await hook.nth(2)];
    assert.equal(first.body['cursor'], cursor);
    assert.notEqual(second.body['cursor'], cursor);
  });

  test('stays within 256 KiB for the largest possible event [SEP-3415 R65]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    await w.hook(hook);
    await w.open(1, { text: 'x'.repeat(239 * 1024) });
    await w.open(1, { text: 'y'.repeat(300 * 1024) });
    await w.open(1, { text: 'small' });
    const [large, gap, small] = [await hook.nth(1), await hook.nth(2), await hook.nth(3)];
    assert.ok(large.raw.length > 239 * 1024 && large.raw.length <= 256 * 1024);
    assert.deepEqual(
      [textOf(gap), textOf(small)],
      ['gap', 'small'],
      'a larger one is a gap, which is reported',
    );
  });

  test('is signed with the new and the old secret for a while after a rotation, which only the client can request [SEP-3415 R35 D32 D66]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    await w.hook(hook);
    const old = hook.secret;
    hook.secret = secretOf();
    await w.hook(hook);
    await w.open();
    const during = await hook.nth(1);
    assert.ok(verifies(old, during, w.clock.now()) && verifies(hook.secret, during, w.clock.now()));
    await w.pass(10 * 60_000);
    await w.open();
    const later = await hook.nth(2);
    assert.deepEqual(
      [verifies(old, later, w.clock.now()), verifies(hook.secret, later, w.clock.now())],
      [false, true],
    );
  });

  test('is also signed by the server, beside the HMAC and with a key of its key set, if it has one [SEP-3415 O18]', async (t) => {
    const key = generateDeliveryKey();
    const w = await eventsWorld(t, {
      engine: { deliveryKey: key, resource: 'https://mcp.example/mcp' },
    });
    const hook = await w.receiver();
    await w.hook(hook);
    await w.open();
    const hit = await hook.nth(1);
    const publicKey = createPublicKey({
      key: publicJwks([key]).keys[0]! as unknown as Json,
      format: 'jwk',
    });
    for (const one of [hook.challenges[0]!, hit]) {
      const entries = String(one.headers['webhook-signature']).split(' ');
      assert.deepEqual(
        entries.map((entry) => entry.split(',')[0]),
        ['v1', 'v1a'],
      );
      const signed = Buffer.concat([
        Buffer.from(
          `${String(one.headers['webhook-id'])}.${String(one.headers['webhook-timestamp'])}.`,
        ),
        one.raw,
      ]);
      assert.ok(
        verify(null, signed, publicKey, Buffer.from(entries[1]!.slice('v1a,'.length), 'base64')),
      );
      assert.ok(
        verifies(hook.secret, one, w.clock.now()),
        'a receiver that looks for v1 only still works',
      );
      assert.equal(one.headers['mcp-delivery-signature'], undefined);
    }
  });

  test('continues after a restart where it was, in the same order', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver(() => ({ status: 503 }));
    await w.hook(hook);
    await w.open(3);
    await hook.nth(1);
    hook.behave = () => ({ status: 200, body: 'whatever' });
    await w.restart();
    await passing(w, 'three events', () => hook.events.length >= 4);
    assert.deepEqual(numbers(hook.events.slice(1)), [1, 2, 3]);
  });
});

describe('a refused delivery', () => {
  test('is retried with the same id and a new time and signature, while the next waits [SEP-3415 R63 D40]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver((_, n) => ({ status: n < 4 ? 425 : 204 }));
    await w.hook(hook);
    await w.open(2);
    await passing(w, 'both events', () => hook.events.length === 5);
    const first = hook.events.slice(0, 4);
    assert.deepEqual(numbers(hook.events), [1, 1, 1, 1, 2]);
    assert.equal(new Set(first.map(({ headers }) => headers['webhook-id'])).size, 1);
    assert.equal(new Set(first.map(({ headers }) => headers['webhook-timestamp'])).size, 4);
    assert.equal(new Set(first.map(({ headers }) => headers['webhook-signature'])).size, 4);
    assert.equal(new Set(first.map(({ body }) => body['eventId'])).size, 1);
  });

  test('is abandoned after a day, then the next one comes, and the abandoned one is reported [SEP-3415 R41 R42 D41]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver(refuse('stuck', 503));
    await w.hook(hook, { ttlMs: null });
    await w.open(1, { text: 'stuck' });
    await w.open(1, { text: 'next' });
    await hook.nth(1);
    // Consent is verified again within that day; the receiver keeps echoing.
    await passing(
      w,
      'the next event',
      () => hook.messages.some((hit) => textOf(hit) === 'next'),
      300_000,
    );
    assert.deepEqual(hook.messages.slice(-2).map(textOf), ['gap', 'next']);
    const tries = hook.messages.filter((hit) => textOf(hit) === 'stuck');
    assert.ok(tries.length > 100 && tries.length < 400, `${tries.length} attempts in a day`);
    const elapsed =
      (Number(tries.at(-1)!.headers['webhook-timestamp']) -
        Number(tries[0]!.headers['webhook-timestamp'])) *
      1000;
    assert.ok(elapsed >= DAY_MS && elapsed <= DAY_MS + 3_600_000);
  });

  test('with 410 or 413 is not retried, and the subscription stays [SEP-3415 R43 R66 D44 U15]', async (t) => {
    for (const status of [410, 413]) {
      const w = await eventsWorld(t);
      const hook = await w.receiver(refuse('bad', status));
      await w.hook(hook);
      await w.open(1, { text: 'bad' });
      await w.open(1, { text: 'good' });
      await hook.nth(3);
      assert.deepEqual(hook.messages.map(textOf), ['bad', 'gap', 'good']);
      const gap = hook.messages[1]!;
      assert.deepEqual(Object.keys(gap.body).sort(), ['cursor', 'type']);
      assert.match(String(gap.headers['webhook-id']), /^msg_gap_/);
      assert.ok(verifies(hook.secret, gap, w.clock.now()));
      assert.equal(
        gap.headers['x-mcp-subscription-id'],
        hook.messages[0]!.headers['x-mcp-subscription-id'],
      );
      // The cursor of the gap is behind it.
      assert.equal(gap.body['cursor'], hook.messages[2]!.body['cursor']);
      assert.deepEqual((await w.hook(hook))['deliveryStatus'].active, true);
    }
  });

  test('with a redirect is not followed [SEP-3415 R53]', async (t) => {
    const w = await eventsWorld(t);
    const [hook, elsewhere] = [await w.receiver(), await w.receiver()];
    await w.hook(hook);
    hook.behave = () => ({ status: 307, headers: { location: elsewhere.url } });
    await w.open();
    await passing(w, 'a second attempt', () => hook.messages.length >= 2);
    assert.equal(elsewhere.hits.length, 0);
  });

  test('is not retried for as long as the endpoint asks [SEP-3415 D40]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver((_, n) =>
      n === 1 ? { status: 503, headers: { 'retry-after': '600' } } : { status: 204 },
    );
    await w.hook(hook);
    await w.open();
    await hook.nth(1);
    await w.pass(10);
    await w.pass(500_000);
    assert.equal(hook.messages.length, 1);
    await w.pass(120_000);
    await hook.nth(2);
  });

  test('is followed by a gap for what retention drops, before the events that are left [SEP-3415 R76 D44]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver(() => ({ status: 503 }));
    await w.hook(hook, { name: meter.type.name });
    for (let value = 1; value <= 200; value += 1)
      await w.engine.emit(meter.event({ data: { value } }));
    await w.engine.settled();
    hook.behave = () => ({ status: 204 });
    const told = await passing(w, 'the gap', () =>
      hook.messages.find(({ body }) => body['type'] === 'gap'),
    );
    await passing(w, 'the last event', () =>
      hook.events.find(({ body }) => body['data'].value === 200),
    );
    const after = hook.messages
      .slice(hook.messages.indexOf(told) + 1)
      .map(({ body }) => body['data'].value as number);
    assert.deepEqual(
      after,
      Array.from({ length: after.length }, (_, n) => 200 - after.length + 1 + n),
    );
  });

  test('does not wait forever for a gap that the endpoint keeps refusing [SEP-3415 R42]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver(({ body }) => ({
      status: body['type'] === 'gap' ? 400 : body['data'].text === 'bad' ? 410 : 204,
    }));
    await w.hook(hook);
    await w.open(1, { text: 'bad' });
    await w.open(1, { text: 'good' });
    await passing(w, 'the next event', () => hook.events.find((hit) => textOf(hit) === 'good'));
    const attempts = hook.messages.filter(({ body }) => body['type'] === 'gap').length;
    assert.ok(attempts >= 5 && attempts <= 20, `${attempts} attempts in ten minutes`);
  });
});

describe('consent', () => {
  test('that is not renewed suspends delivery; a refresh reports it and restores it [SEP-3415 D32 D49 D47 U10]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    await w.hook(hook, { ttlMs: null });
    hook.consent = () => ({ status: 403 });
    for (let hours = 0; hours < 30 && hook.challenges.length < 2; hours += 1)
      await w.pass(3_600_000);
    await eventually('another challenge', () => hook.challenges.length >= 2);
    await w.pass(10);
    await w.open(1, { text: 'waits' });
    await w.pass(60_000);
    assert.equal(hook.messages.length, 0);
    hook.consent = ({ body: { challenge } }) => ({ body: { challenge } });
    const { deliveryStatus } = await w.hook(hook, { ttlMs: null });
    assert.partialDeepStrictEqual(deliveryStatus, { active: false, lastError: 'challenge_failed' });
    assert.equal(textOf(await hook.nth(1)), 'waits');
    assert.partialDeepStrictEqual((await w.hook(hook, { ttlMs: null }))['deliveryStatus'], {
      active: true,
    });
  });
});

describe('the end', () => {
  test('that the server decides is announced in a signed envelope, and a refresh then makes a new subscription [SEP-3415 R8 D9 D43 D44 D58]', async (t) => {
    const w = await eventsWorld(t);
    for (const [end, error] of [
      [
        () =>
          w.engine.terminate(
            { principal: JSON.stringify(['https://issuer.example', 'alice', 'test']) },
            'revoked',
          ),
        { code: -32024, data: { reason: 'revoked' } },
      ],
      [() => w.engine.remove(name), { code: -32023, data: { kind: 'event' } }],
    ] as const) {
      const hook = await w.receiver();
      const { id } = await w.hook(hook, { ttlMs: null });
      await end();
      const last = await hook.nth(1);
      assert.partialDeepStrictEqual(last.body, { type: 'terminated', error });
      assert.match(String(last.headers['webhook-id']), /^msg_terminated_/);
      assert.equal(last.headers['x-mcp-subscription-id'], id);
      assert.ok(verifies(hook.secret, last, w.clock.now()));
      if (error.code === -32024) assert.equal((await w.hook(hook))['deliveryStatus'], undefined);
      else
        assert.equal(
          (await w.refused('events/subscribe', { name, delivery: hook.delivery }, SEP)).code,
          -32023,
        );
    }
  });

  test('comes for a principal that lost its permission, without any call [SEP-3415 R87]', async (t) => {
    let permitted = true;
    const w = await eventsWorld(t, { engine: { reauthorize: () => permitted } });
    const hook = await w.receiver();
    await w.hook(hook, { ttlMs: null });
    permitted = false;
    await passing(w, 'the termination notice', () =>
      hook.messages.some(({ body }) => body['type'] === 'terminated'),
    );
  });
});

describe('never', () => {
  test('sends a message of triggers/* to a webhook of events/*, whatever is done to its subscription [deg-no-control]', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver();
    await w.hook(hook, { ttlMs: null });
    const {
      subscriptions: [{ subscriptionId }],
    } = await w.ok('triggers/subscriptions');
    await w.ok('triggers/update', { subscriptionId, paused: true });
    await w.ok('triggers/update', { subscriptionId, paused: false });
    await w.open(1, { text: 'only this' });
    await hook.nth(1);
    await w.restart();
    await w.pass(60_000);
    assert.deepEqual(hook.messages.map(textOf), ['only this']);
    assert.ok(hook.hits.every(({ body }) => body['jsonrpc'] === undefined));
  });

  test('logs a URL, a secret or a cursor, only the profile and the subscription', async (t) => {
    const w = await eventsWorld(t);
    const hook = await w.receiver(() => ({ status: 500 }));
    const { cursor } = await w.hook(hook);
    hook.consent = () => ({ status: 403 });
    await w.refused(
      'events/subscribe',
      { name, delivery: { ...hook.delivery, url: `${hook.url}/other` } },
      SEP,
    );
    await w.open();
    await hook.nth(1);
    await w.pass(60_000);
    await w.ok('events/unsubscribe', { name, delivery: hook.delivery }, SEP);
    const text = w.log.join('\n');
    for (const secret of [hook.secret, hook.secret.slice(6, 20), hook.path, cursor])
      assert.ok(!text.includes(secret));
    const made = w.log
      .map((line) => JSON.parse(line) as Json)
      .find(({ profile }) => profile !== undefined);
    assert.deepEqual(
      [made?.['level'], made?.['profile'], typeof made?.['subscriptionId']],
      ['info', 'sep', 'string'],
    );
  });
});
