/**
 * Tests callbacks in a dialect other than this protocol's: the order and retries of the engine with
 * another message format and other answers.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createPublicKey, verify } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, test } from 'vitest';
import { classifyAnswer } from '../../../src/protocol/core/index.ts';
import type { CallbackDialect } from '../../../src/server/callback/dialect.ts';
import type { Egress, OutboundRequest, OutboundResult } from '../../../src/server/engine/ports.ts';
import { manualClock } from '../../../src/testing/index.ts';
import { generateDeliveryKey } from '../../../src/protocol/wire/delivery-jws.ts';
import { LocalError } from '../../../src/protocol/wire/errors.ts';
import { Secret } from '../../../src/protocol/wire/secret.ts';
import { challengeProof, verifyWebhook } from '../../../src/protocol/wire/signature.ts';
import {
  ann,
  CALLBACK,
  failed,
  MINUTE,
  refusal,
  response,
  SECOND,
  secretOf,
  world,
} from '../engine/harness.ts';

/** A minimal dialect; `mute` has no message for a gap. */
const dialect = (mute = false): CallbackDialect => ({
  single: true,
  serverSignature: 'v1a',
  delivery: ({ state }, { events, gaps, last }) => {
    if (events.length === 0 && mute) return null;
    const body =
      events.length === 0
        ? { missing: gaps.map(({ from, to, reason }) => `${from}-${to} ${reason}`) }
        : { event: JSON.parse(events[0]!) as object, acked: state.acked };
    return {
      id: `m_${last}`,
      body: Buffer.from(JSON.stringify(body)),
      headers: { 'x-of': state.subscriptionId },
    };
  },
  challenge: (_, challenge) => ({
    id: 'm_ask',
    body: Buffer.from(JSON.stringify({ ask: challenge })),
    headers: {},
  }),
  terminationNotice: (_, reason) => ({
    id: 'm_bye',
    body: Buffer.from(JSON.stringify({ bye: reason })),
    headers: {},
  }),
  classify: (answer, { after: from, last }) => {
    if (answer.status === 204) return { kind: 'acked', ack: last, reject: null };
    return answer.status === 410
      ? { kind: 'refused' }
      : classifyAnswer(answer, { after: from, to: last });
  },
  consents: (body, challenge) => (body as { yes?: unknown } | undefined)?.yes === challenge,
});

interface Message {
  readonly event?: { readonly sequence: number };
  readonly missing?: readonly string[];
  readonly ask?: string;
  readonly bye?: string;
  readonly acked?: number;
}

/** An endpoint that speaks the dialect. */
class Foreign implements Egress {
  readonly heard: { readonly message: Message; readonly request: OutboundRequest }[] = [];
  answer: (message: Message) => OutboundResult | Promise<OutboundResult> = ({ ask }) =>
    ask === undefined ? response(204) : response(200, { yes: ask });
  check(url: string): string {
    return url;
  }
  async post(request: OutboundRequest): Promise<OutboundResult> {
    const message = JSON.parse(Buffer.from(request.body).toString()) as Message;
    this.heard.push({ message, request });
    return this.answer(message);
  }
  async close(): Promise<void> {
    /* nothing to release */
  }
  /** The received messages in short form, in order. */
  get words(): string[] {
    return this.heard.map(({ message: { event, missing, ask, bye } }) =>
      event
        ? `event ${event.sequence}`
        : missing
          ? `missing ${missing.join()}`
          : ask
            ? 'ask'
            : `bye ${bye}`,
    );
  }
}

const AS = { dialect: 'other' };
const WANTED = {
  select: [{ name: 'tick' }],
  key: 'k',
  callback: CALLBACK,
};
const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true });
});

async function strange(options: Parameters<typeof world>[0] = {}) {
  const foreign = new Foreign();
  return {
    foreign,
    ...(await world({
      egress: foreign,
      dialects: { other: dialect(), 'other.mute': dialect(true) },
      ...options,
    })),
  };
}

test('sends one event per message, in order, each after the answer to the one before', async () => {
  const { engine, foreign, emitAll, pass, close } = await strange();
  await engine.subscribe(ann, WANTED, AS);
  await emitAll(1, 3);
  await pass(SECOND);
  assert.deepEqual(foreign.words, ['ask', 'event 1', 'event 2', 'event 3']);
  assert.deepEqual(
    foreign.heard.slice(1).map(({ message }) => message.acked),
    [0, 1, 2],
  );
  const { acked, head } = (await engine.find(ann, 'k'))!;
  assert.deepEqual({ acked, head }, { acked: 3, head: 3 });
  await close();
});

test("signs a message with the secret, and with the server's key as v1a; the dialect decides what proves a challenge", async () => {
  const deliveryKey = generateDeliveryKey();
  const clock = manualClock();
  const { engine, foreign, emitAll, pass, close } = await strange({
    deliveryKey,
    resource: 'https://mcp.example/mcp',
    clock,
  });
  await engine.subscribe(ann, WANTED, AS);
  await emitAll(1, 1);
  // The key signs in a separate thread.
  for (let look = 0; look < 500 && foreign.heard.length < 2; look += 1) await pass(1);
  const { headers, body } = foreign.heard[1]!.request;
  assert.equal(verifyWebhook(headers, body, Secret.parse(CALLBACK.secret), clock.now()).id, 'm_1');
  const v1a = headers['webhook-signature']!.split(' ')
    .find((one) => one.startsWith('v1a,'))!
    .slice(4);
  const signed = Buffer.concat([Buffer.from(`m_1.${headers['webhook-timestamp']}.`), body]);
  assert.ok(
    verify(null, signed, createPublicKey(deliveryKey.privateKey), Buffer.from(v1a, 'base64')),
  );
  assert.equal(headers['mcp-delivery-signature'], undefined);
  await close();
});

test('sends a run of gaps in a message of its own, before the event behind it', async () => {
  const { engine, foreign, emitAll, pass, close } = await strange();
  await engine.subscribe(ann, WANTED, AS);
  foreign.answer = () => failed('connection_refused');
  await emitAll(1, 4);
  await pass(SECOND / 10);
  for (const eventId of ['e2', 'e3']) await engine.redact({ name: 'tick', eventId });
  foreign.answer = () => response(204);
  await pass(MINUTE);
  assert.deepEqual(
    [...new Set(foreign.words)],
    ['ask', 'event 1', 'missing 2-3 redacted', 'event 4'],
  );
  await close();
});

test('counts what a dialect cannot express as acknowledged', async () => {
  const { engine, foreign, emitAll, pass, close } = await strange();
  await engine.subscribe(ann, WANTED, { dialect: 'other.mute' });
  foreign.answer = () => failed('connection_refused');
  await emitAll(1, 3);
  await pass(SECOND / 10);
  for (const eventId of ['e2', 'e3']) await engine.redact({ name: 'tick', eventId });
  foreign.answer = () => response(204);
  await pass(MINUTE);
  assert.deepEqual([...new Set(foreign.words)], ['ask', 'event 1']);
  assert.equal((await engine.find(ann, 'k'))!.acked, 3);
  await close();
});

test('turns a permanently refused event into a gap; the subscription stays and the next event comes', async () => {
  const { engine, foreign, emitAll, pass, close } = await strange();
  await engine.subscribe(ann, WANTED, AS);
  foreign.answer = ({ event }) => response(event?.sequence === 1 ? 410 : 204);
  await emitAll(1, 2);
  await pass(SECOND);
  assert.deepEqual(foreign.words, ['ask', 'event 1', 'missing 1-1 rejected', 'event 2']);
  assert.equal((await engine.find(ann, 'k'))!.callback?.health.lastError, undefined);
  await close();
});

test('repeating the call with another secret rotates it: both sign for a while, without a new verification', async () => {
  const clock = manualClock();
  const { engine, foreign, emitAll, pass, close } = await strange({ clock });
  const first = await engine.subscribe(ann, WANTED, AS);
  const next = { url: CALLBACK.url, secret: secretOf(2) };
  const second = await engine.subscribe(
    ann,
    { ...WANTED, callback: next },
    { dialect: 'other.mute' },
  );
  assert.equal(second.subscriptionId, first.subscriptionId);
  assert.notEqual(second.etag, first.etag);
  await emitAll(1, 1);
  await pass(SECOND);
  for (const secret of [CALLBACK.secret, next.secret])
    verifyWebhook(
      foreign.heard.at(-1)!.request.headers,
      foreign.heard.at(-1)!.request.body,
      Secret.parse(secret),
      clock.now(),
    );
  await pass(6 * MINUTE);
  await emitAll(2, 2);
  await pass(SECOND);
  const { headers, body } = foreign.heard.at(-1)!.request;
  assert.throws(() => verifyWebhook(headers, body, Secret.parse(CALLBACK.secret), clock.now()), {
    reason: 'no_match',
  });
  verifyWebhook(headers, body, Secret.parse(next.secret), clock.now());
  assert.deepEqual(foreign.words, ['ask', 'event 1', 'event 2']);
  await close();
});

test('the same call without a dialect is a conflict, since it would change the dialect of the callback', async () => {
  const { engine, close } = await strange();
  await engine.subscribe(ann, WANTED, AS);
  assert.equal((await refusal(engine.subscribe(ann, WANTED))).data['kind'], 'key');
  await close();
});

test('announces the end of a subscription in its dialect', async () => {
  const { engine, foreign, pass, close } = await strange();
  await engine.subscribe(ann, WANTED, AS);
  await engine.remove('tick');
  await pass(SECOND);
  assert.deepEqual(foreign.words, ['ask', 'bye trigger_removed']);
  await close();
});

test('rejects a dialect that the engine does not have; existing callbacks in it wait for a server that has it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'dialect-'));
  folders.push(folder);
  const path = join(folder, 'triggers.db');
  const first = await strange({ path });
  await assert.rejects(
    first.engine.subscribe(ann, WANTED, { dialect: 'unheard' }),
    (error) =>
      error instanceof LocalError &&
      error.code === 'config_invalid' &&
      /"unheard"/.test(error.message),
  );
  await first.engine.subscribe(ann, { ...WANTED, noExpiry: true }, AS);
  await first.close();

  const second = await strange({ path, dialects: {}, seed: 2 });
  await second.emitAll(1, 2);
  await second.pass(MINUTE);
  assert.deepEqual(second.foreign.words, []);
  assert.equal(second.logged.filter(({ message }) => /^dialect missing/.test(message)).length, 1);
  await second.close();

  const third = await strange({ path, seed: 3 });
  await third.pass(MINUTE);
  assert.deepEqual(third.foreign.words, ['event 1', 'event 2']);
  await third.close();
});

test('finds a log by its key, seeks in it by time, and watches it for news', async () => {
  const { engine, clock, emitAll, pass, close } = await strange();
  assert.equal(await engine.find(ann, 'k'), null);
  const { subscriptionId, epoch } = await engine.subscribe(ann, {
    select: [{ name: 'tick' }],
    key: 'k',
  });
  assert.equal((await engine.find(ann, 'k'))!.subscriptionId, subscriptionId);
  assert.equal(await engine.find({ principal: 'bob' }, 'k'), null);
  await assert.rejects(
    engine.watch({ principal: 'bob' }, subscriptionId, {
      news: () => undefined,
      ended: () => undefined,
    }),
    { name: 'NotFound' },
  );

  const told: string[] = [];
  const unwatch = await engine.watch(ann, subscriptionId, {
    news: () => told.push('news'),
    ended: (reason) => told.push(reason),
  });
  await emitAll(1, 2);
  await pass(MINUTE);
  const between = clock.now();
  await emitAll(3, 3);
  await pass(SECOND);
  assert.ok(told.length >= 2 && told.every((word) => word === 'news'), told.join());
  assert.deepEqual(await engine.seek(ann, subscriptionId, between), { epoch, sequence: 2 });
  assert.deepEqual(await engine.seek(ann, subscriptionId, 0), { epoch, sequence: 0 });
  await engine.unsubscribe(ann, { subscriptionId });
  await pass(SECOND);
  assert.equal(told.at(-1), 'unsubscribed');
  unwatch();
  await close();
});

test('[cbv-proof] does not take consent from another dialect as proof in this protocol, but passes a proof of this protocol on', async () => {
  const { engine, foreign, close } = await strange();
  foreign.answer = ({ ask, ...message }) => {
    if (ask !== undefined) return response(200, { yes: ask });
    const { challenge } = (message as { params?: { challenge?: string } }).params ?? {};
    return challenge === undefined ? response(204) : response(200, { challenge });
  };
  await engine.subscribe(ann, WANTED, AS);
  // The endpoint that echoes in the dialect is verified again, and an echo is not enough.
  assert.deepEqual((await refusal(engine.subscribe(ann, { ...WANTED, key: 'native' }))).data, {
    kind: 'callback',
    category: 'challenge_failed',
  });
  await close();

  const other = await strange({ seed: 2 });
  other.foreign.answer = (message) => {
    const { challenge } = (message as { params?: { challenge?: string } }).params ?? {};
    return challenge === undefined
      ? response(204)
      : response(200, {
          challenge,
          proof: challengeProof(Secret.parse(CALLBACK.secret), challenge),
        });
  };
  await other.engine.subscribe(ann, { ...WANTED, key: 'native' });
  await other.engine.subscribe(ann, WANTED, AS);
  assert.equal(other.foreign.heard.length, 1);
  await other.close();
});
