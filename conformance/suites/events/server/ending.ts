/** How a server ends subscriptions of SEP-3415, and which principals may have one. */
import assert from 'node:assert/strict';
import {
  eventsScenario,
  means,
  notes,
  type Events,
  type Followed,
} from '../../../runner/events/scenario.ts';
import type { Webhook } from '../../../runner/events/webhook.ts';
import type { ServerTest } from '../../../runner/server/scenario.ts';
import type { StreamReader } from '../../../runner/server/stream-reader.ts';
import { SUBSCRIPTION_META, type Json } from '../../../runner/wire/session.ts';

const DAY_MS = 86_400_000;
const STEP_MS = 3 * 3_600_000;

/** One event type followed in every mode. */
interface Watched {
  readonly followed: Followed;
  readonly stream: StreamReader;
  readonly hook: Webhook;
  readonly id: string;
}

async function watch(events: Events, name: string): Promise<Watched> {
  const followed = events.topic(name);
  const [stream, hook] = [await events.stream(followed), await events.webhook()];
  const { id } = await events.subscribe(hook, followed, { ttlMs: null });
  await events.emit(followed, 1);
  await events.streamed(stream, 1);
  await events.hooked(hook, 1);
  return { followed, stream, hook, id };
}

/** The error with which the stream ends. Throws when it does not end. */
const streamEnd = (t: ServerTest, stream: StreamReader): Promise<Json> =>
  t.until(
    'notifications/events/terminated on the stream',
    () => notes(stream, 'terminated')[0]?.error,
  );
/** The error with which the webhook ends. Throws when it does not end. */
const hookEnd = (t: ServerTest, hook: Webhook): Promise<Json> =>
  t.until(
    'a terminated envelope at the webhook',
    () => hook.envelopes('terminated')[0]?.message.error,
  );

export const ending = [
  eventsScenario({
    name: 'ending: a type is removed',
    about: 'Removing an event type ends its subscriptions, each with the signal of its mode.',
    checks: [
      'removal-terminates-subscriptions',
      'removal-error-not-found',
      'removal-poll-not-found',
      'stream-terminated-ends-subscription',
      'stream-final-result-shape',
      'envelope-terminated',
    ],
    modes: ['poll', 'push', 'webhook'],
    verbs: ['emit', 'declare', 'remove'],
    async run(t, events) {
      const name = await events.ownType();
      const { followed, stream, hook } = await watch(events, name);
      const cursor = await events.begin(followed);
      await t.control.do('remove', { name, reason: 'trigger_removed' });
      await t.check(
        'removal-terminates-subscriptions',
        'the stream and the webhook receive terminated',
        async () => void (await Promise.all([streamEnd(t, stream), hookEnd(t, hook)])),
      );
      await t.check('envelope-terminated', 'the envelope has a type and an error', () => {
        const [last] = hook.envelopes('terminated');
        assert.ok(
          Number.isInteger(last?.message.error?.code) &&
            typeof last?.message.error?.message === 'string',
          `the envelope is ${JSON.stringify(last?.message)?.slice(0, 200)}`,
        );
      });
      await t.check(
        'removal-error-not-found',
        'the stream and the webhook receive NotFound with kind event',
        async () => {
          for (const error of [await streamEnd(t, stream), await hookEnd(t, hook)]) {
            assert.ok(means(error.code, 'NotFound'), `the code is ${error.code}`);
            assert.equal(error.data?.kind, 'event', '`data.kind`:');
          }
        },
      );
      await t.check(
        'removal-poll-not-found',
        'a poll with or without the old cursor returns NotFound',
        async () => {
          for (const params of [{ cursor }, { cursor: null }]) {
            const { code, data } = await t.mcp.errorOf('events/poll', { ...followed, ...params });
            assert.ok(means(code, 'NotFound'), `the code is ${code}`);
            assert.equal(data?.kind, 'event', '`data.kind`:');
          }
        },
      );
      await t.check(
        'stream-terminated-ends-subscription',
        'terminated is the last message of the stream',
        async () => {
          await streamEnd(t, stream);
          await t.until('the stream to end', () => stream.ended !== undefined);
          const said = stream.messages.flatMap(({ method }) => method ?? []);
          assert.deepEqual(
            said.slice(said.indexOf('notifications/events/terminated') + 1),
            [],
            'notifications after it:',
          );
        },
      );
      await t.check(
        'stream-final-result-shape',
        'the result of the stream names its request',
        async () => {
          await t.until('the stream to end', () => stream.ended !== undefined);
          const { result, broke } = stream.ended ?? {};
          assert.ok(
            result !== undefined,
            `the stream ended without a result: ${String(broke ?? JSON.stringify(stream.ended))}`,
          );
          assert.equal(result.resultType, 'complete', 'resultType:');
          assert.equal(
            result._meta?.[SUBSCRIPTION_META],
            stream.requestId,
            `${SUBSCRIPTION_META}:`,
          );
        },
      );
    },
  }),

  eventsScenario({
    name: 'ending: a type is changed in place',
    about: 'A stream and a webhook end when the schema of their event type changes.',
    checks: ['removal-error-schema-changed'],
    modes: ['push', 'webhook'],
    verbs: ['emit', 'declare', 'remove'],
    async run(t, events) {
      const name = await events.ownType();
      const { stream, hook } = await watch(events, name);
      await t.control.do('remove', { name, reason: 'schema_changed' });
      await t.check(
        'removal-error-schema-changed',
        'the stream and the webhook receive Unsupported with the schema and the reason',
        async () => {
          for (const error of [await streamEnd(t, stream), await hookEnd(t, hook)]) {
            assert.ok(means(error.code, 'Unsupported'), `the code is ${error.code}`);
            assert.match(String(error.data?.feature), /^(input|payload)Schema$/, '`data.feature`:');
            assert.equal(error.data?.reason, 'schema_changed', '`data.reason`:');
          }
        },
      );
    },
  }),

  eventsScenario({
    name: 'ending: permission',
    about: 'A principal without permission gets no events.',
    checks: ['authz-subscribe-time'],
    modes: ['poll', 'push', 'webhook'],
    async run(t, events) {
      const stranger = await t.as('stranger');
      const hook = await events.webhook();
      await t.check(
        'authz-subscribe-time',
        'poll, stream and subscribe of a principal without permission return Forbidden or NotFound',
        async () => {
          const followed = events.topic();
          const refusals = [
            await stranger.errorOf('events/poll', { ...followed, cursor: null }),
            await events.streamRefusal(followed, stranger),
            await stranger.errorOf('events/subscribe', { ...followed, delivery: hook.delivery }),
          ];
          for (const { code } of refusals)
            assert.ok(means(code, 'Forbidden') || means(code, 'NotFound'), `the code is ${code}`);
          assert.equal(hook.hits.length, 0, 'requests to the webhook of the rejected principal:');
        },
      );
    },
  }),

  eventsScenario({
    name: 'ending: unauthenticated',
    about: 'A webhook belongs to an authenticated principal.',
    checks: ['subscribe-auth-required'],
    modes: ['webhook'],
    async run(t, events) {
      const hook = await events.webhook();
      const anybody = { ...t.mcp.access, token: undefined };
      await t.check(
        'subscribe-auth-required',
        'subscribe and unsubscribe without a token are rejected with HTTP 401 or 403, or with Forbidden',
        async () => {
          if (t.mcp.access.token === undefined) return;
          for (const method of ['events/subscribe', 'events/unsubscribe']) {
            const { status, code } = await bare(t, anybody.url, method, {
              ...events.topic(),
              delivery: hook.delivery,
            });
            assert.ok(
              status === 401 || status === 403 || means(code, 'Forbidden'),
              `${method} returned HTTP ${status} and ${code === undefined ? 'no error' : `error ${code}`}`,
            );
          }
          assert.equal(hook.hits.length, 0, 'requests to the webhook:');
        },
      );
    },
  }),

  eventsScenario({
    name: 'ending: permission lost',
    about: 'A withdrawn permission ends a subscription although nothing notifies the server.',
    checks: ['authz-delivery-time-reverify'],
    modes: ['push', 'webhook'],
    verbs: ['emit', 'declare', 'remove', 'permit', 'advance'],
    alone: true,
    async run(t, events) {
      const name = await events.ownType();
      const { hook } = await watch(events, name);
      await t.control.do('permit', { principal: 'main', name, allowed: false, told: false });
      t.defer(() => t.control.do('permit', { principal: 'main', name, allowed: true }));
      for (
        let passed = 0;
        passed < DAY_MS && hook.envelopes('terminated').length === 0;
        passed += STEP_MS
      ) {
        await t.control.do('advance', { ms: STEP_MS });
        await t
          .until('the end', () => hook.envelopes('terminated').length > 0, 100)
          .catch(() => undefined);
      }
      await t.check(
        'authz-delivery-time-reverify',
        'the webhook receives Forbidden within a day',
        async () => {
          const { code } = await hookEnd(t, hook);
          assert.ok(means(code, 'Forbidden'), `the code is ${code}`);
        },
      );
    },
  }),
];

/** Sends a request without a token. */
async function bare(
  t: ServerTest,
  url: string,
  method: string,
  params: object,
): Promise<{ readonly status: number; readonly code: number | undefined }> {
  const meta = 'io.modelcontextprotocol';
  const _meta = {
    [`${meta}/protocolVersion`]: t.mcp.era,
    [`${meta}/clientInfo`]: { name: 'conformance', version: '1' },
    [`${meta}/clientCapabilities`]: { extensions: { [t.mcp.extension]: {} } },
  };
  const response = await fetch(url, {
    method: 'POST',
    signal: AbortSignal.timeout(15_000),
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta } }),
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': t.mcp.era,
      'mcp-method': method,
    },
  });
  const text = await response.text();
  return {
    status: response.status,
    code: Number(/"code":\s*(-?\d+)/.exec(text)?.[1]) || undefined,
  };
}
