/** SEP-3415 servers whose webhooks are broken. */
import { randomBytes } from 'node:crypto';
import type { BrokenServer, CallbackAnswer, CallbackRequest, Json, Fault } from '../proxy.ts';
import {
  onResult,
  onRequest,
  onCallback,
  emptySuccess,
  echo,
  onError,
  subscribed,
  accepted,
  without,
} from './fault-builders.ts';

const SUBSCRIBE = 'events/subscribe';
const ID_HEADER = 'x-mcp-subscription-id';
const INVALID = { code: -32602, message: 'Invalid params.' };
const DAY_MS = 86_400_000;
const random = (): string => randomBytes(9).toString('base64url');
const newSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`;
const keyOf = ({ name, arguments: args, delivery }: Json): string =>
  JSON.stringify([name, args, delivery?.url]);
const isRedirect = ({ status }: CallbackAnswer): boolean => status >= 300 && status <= 399;

/** Follows redirects of requests of this type; undefined = occurrences. */
const follows = (type: string | undefined): Fault =>
  onCallback(type, async (outgoing) => {
    const answer = await outgoing.send();
    if (isRedirect(answer))
      await fetch(answer.headers['location']!, {
        method: 'POST',
        headers: outgoing.headers,
        body: JSON.stringify(outgoing.body),
      });
    return answer;
  });
/** Sends an occurrence again after this status. */
const repeats = (status: number): Fault =>
  onCallback(undefined, async (outgoing) => {
    const answer = await outgoing.send();
    if (answer.status === status) await outgoing.send();
    return answer;
  });
/** Replaces the signature by a wrong one. */
const signedWithOtherSecret = (outgoing: CallbackRequest): void => {
  outgoing.headers['webhook-signature'] = `v1,${Buffer.alloc(32).toString('base64')}`;
  outgoing.resign = false;
};
const reason = (error: Json, value: unknown): Json => ({
  error: { ...error, data: { ...error.data, reason: value } },
});
const inStatus = (change: (status: Json) => Json): Fault =>
  onResult(SUBSCRIBE, (result) =>
    result.deliveryStatus === undefined
      ? result
      : { ...result, deliveryStatus: change(result.deliveryStatus) },
  );
const later = (instant: string, ms: number): string =>
  new Date(Date.parse(instant) + ms).toISOString();

const subscribing: readonly BrokenServer[] = [
  {
    check: 'subscribe-result-shape',
    wrong: 'omits refreshBefore',
    fault: onResult(SUBSCRIBE, (result) => without(result, 'refreshBefore')),
  },
  {
    check: 'subscribe-result-shape',
    wrong: 'omits truncated',
    fault: onResult(SUBSCRIBE, (result) => without(result, 'truncated')),
  },
  {
    check: 'subscribe-id-derived',
    wrong: 'uses a new id for each call',
    fault: onResult(SUBSCRIBE, (result) => ({ ...result, id: random() })),
  },
  {
    check: 'subscribe-id-not-an-input',
    wrong: 'takes the id from the request',
    fault: onResult(SUBSCRIBE, (result, { params }) => ({ ...result, id: params.id ?? result.id })),
  },
  {
    check: 'subscribe-key-composition',
    wrong: 'uses one subscription for each URL',
    fault: onResult(SUBSCRIBE, (result, { params }) => ({
      ...result,
      id: `of ${params.delivery.url}`,
    })),
  },
  {
    check: 'subscribe-key-composition',
    wrong: 'uses one subscription for each name and arguments',
    fault: onResult(SUBSCRIBE, (result, { params }) => ({
      ...result,
      id: `of ${JSON.stringify(params.arguments)}`,
    })),
  },
  {
    check: 'subscribe-cross-tenant-isolation',
    wrong: 'shares a subscription between principals',
    fault: onResult(SUBSCRIBE, (result, { params, memory }) => ({
      ...result,
      id: (memory[keyOf(params)] ??= result.id),
    })),
  },
  {
    check: 'subscribe-idempotent-upsert',
    wrong: 'delivers each event twice',
    fault: onCallback(undefined, async (outgoing) => void (await outgoing.send())),
  },
  {
    check: 'unsubscribe-by-key',
    wrong: 'ignores an unsubscribe but reports success',
    fault: onRequest('events/unsubscribe', () => emptySuccess({})),
  },
  {
    check: 'unsubscribe-by-key',
    wrong: 'adds a member to the result of an unsubscribe',
    fault: onResult('events/unsubscribe', (result) => ({ ...result, ended: true })),
  },
  {
    check: 'unsubscribe-unknown-not-found',
    wrong: 'reports success for an unknown key',
    fault: onError('events/unsubscribe', () => emptySuccess({})),
  },
  {
    check: 'ttl-omitted-means-default',
    wrong: 'grants an expired lifetime when ttlMs is omitted',
    fault: onResult(SUBSCRIBE, (result, { params }) =>
      params.ttlMs === undefined
        ? { ...result, refreshBefore: '2020-01-01T00:00:00.000Z' }
        : result,
    ),
  },
  {
    check: 'ttl-no-rejection-path',
    wrong: 'rejects a ttlMs that is too short',
    fault: onRequest(SUBSCRIBE, ({ ttlMs }) => (ttlMs === 1 ? { error: INVALID } : undefined)),
  },
  {
    check: 'ttl-refresh-before-lte-suggestion',
    wrong: 'grants two days more than suggested',
    fault: onResult(SUBSCRIBE, (result, { params }) =>
      params.ttlMs > 0
        ? { ...result, refreshBefore: later(result.refreshBefore, 2 * DAY_MS) }
        : result,
    ),
  },
  {
    check: 'ttl-null-only-when-requested',
    wrong: 'grants a lifetime without expiry when ttlMs is omitted',
    fault: onResult(SUBSCRIBE, (result, { params }) =>
      params.ttlMs === undefined ? { ...result, refreshBefore: null } : result,
    ),
  },
  {
    check: 'ttl-null-only-when-requested',
    wrong: 'treats a very long ttlMs as no expiry',
    fault: onResult(SUBSCRIBE, (result, { params }) =>
      params.ttlMs > 365 * DAY_MS ? { ...result, refreshBefore: null } : result,
    ),
  },
  {
    check: 'subscribe-secret-required',
    wrong: 'generates a missing secret',
    fault: onRequest(SUBSCRIBE, ({ delivery }) => {
      if (delivery.mode === 'webhook') delivery.secret ??= newSecret();
    }),
  },
  {
    check: 'subscribe-secret-rejected',
    wrong: 'accepts any secret',
    fault: onRequest(SUBSCRIBE, ({ delivery }) => {
      if (delivery.secret !== undefined) delivery.secret = newSecret();
    }),
  },
  {
    check: 'subscribe-secret-rejected',
    wrong: 'rejects a long secret',
    fault: onRequest(SUBSCRIBE, ({ delivery }) =>
      delivery.secret?.length > 90 ? { error: INVALID } : undefined,
    ),
  },
  {
    check: 'subscribe-url-non-https-rejected',
    wrong: 'accepts an http URL',
    fault: onError(SUBSCRIBE, (error, { params }) =>
      params.delivery.url.startsWith('http:') ? subscribed : { error },
    ),
  },
  {
    check: 'ssrf-validate-callback-url',
    wrong: 'accepts a name that resolves to a private address',
    fault: onError(SUBSCRIBE, (error, { params }) =>
      params.delivery.url.includes('inside') ? subscribed : { error },
    ),
  },
  {
    check: 'ssrf-validate-callback-url',
    wrong: 'accepts a URL with a password',
    fault: onError(SUBSCRIBE, (error, { params }) =>
      params.delivery.url.includes('password') ? subscribed : { error },
    ),
  },
  {
    check: 'ssrf-reject-non-routable',
    wrong: 'accepts the metadata address of a cloud',
    fault: onError(SUBSCRIBE, (error, { params }) =>
      params.delivery.url.includes('169.254') ? subscribed : { error },
    ),
  },
  {
    check: 'ssrf-reject-non-routable',
    wrong: 'accepts an address in hexadecimal',
    fault: onError(SUBSCRIBE, (error, { params }) =>
      params.delivery.url.includes('0x') ? subscribed : { error },
    ),
  },
  {
    check: 'subscribe-refresh-replaces-secret',
    wrong: 'keeps signing with the first secret',
    fault: onRequest(SUBSCRIBE, (params, { memory }) => {
      params.delivery.secret = memory[keyOf(params)] ??= params.delivery.secret;
    }),
  },
  {
    check: 'delivery-dual-sign-on-rotation',
    wrong: 'drops the old secret at once',
    fault: onRequest(SUBSCRIBE, async (params, { memory, ask }) => {
      const old = memory[keyOf(params)];
      memory[keyOf(params)] = params.delivery.secret;
      if (old !== undefined && old !== params.delivery.secret)
        await ask('events/unsubscribe', params);
    }),
  },
  {
    check: 'ttl-long-grant-retained',
    wrong: 'delivers nothing after a restart',
    fault: onCallback(undefined, () => accepted),
  },
  {
    check: 'ttl-no-expiry-persisted',
    wrong: 'delivers nothing to subscriptions without expiry',
    fault: {
      ...onResult(SUBSCRIBE, (result, { params, memory }) => {
        if (params.ttlMs === null) memory[result.id] = true;
        return result;
      }),
      ...onCallback(undefined, ({ memory, headers }) =>
        memory[headers[ID_HEADER]!] === true ? accepted : undefined,
      ),
    },
  },
  {
    check: 'verification-persisted-for-no-expiry',
    wrong: 'verifies a consented webhook again',
    fault: onCallback(
      undefined,
      async (outgoing) =>
        void (await outgoing.send({ body: { type: 'verification', challenge: random() } })),
    ),
  },
];

const consent: readonly BrokenServer[] = [
  {
    check: 'verification-challenge-echo',
    wrong: 'uses the same challenge each time',
    fault: onCallback('verification', async (outgoing) => {
      await outgoing.send({ body: { type: 'verification', challenge: 'always-the-same-one' } });
      return echo(outgoing);
    }),
  },
  {
    check: 'verification-challenge-echo',
    wrong: 'accepts any 200 as consent',
    fault: onCallback('verification', async (outgoing) => {
      const { status } = await outgoing.send();
      return status === 200 ? echo(outgoing) : undefined;
    }),
  },
  {
    check: 'envelope-type-discriminator',
    wrong: 'adds a type to occurrences',
    fault: onCallback(undefined, (outgoing) => {
      outgoing.body.type = 'event';
    }),
  },
  {
    check: 'envelope-signed-like-deliveries',
    wrong: 'signs verifications with another secret',
    fault: onCallback('verification', signedWithOtherSecret),
  },
  {
    check: 'envelope-signed-like-deliveries',
    wrong: 'omits the subscription id in a verification',
    fault: onCallback('verification', ({ headers }) => {
      delete headers[ID_HEADER];
    }),
  },
  {
    check: 'envelope-signed-like-deliveries',
    wrong: 'signs gap envelopes with another secret',
    fault: onCallback('gap', signedWithOtherSecret),
  },
  {
    check: 'envelope-webhook-id-format',
    wrong: 'uses a counter as webhook-id of a verification',
    fault: onCallback('verification', ({ headers }) => {
      headers['webhook-id'] = '1';
    }),
  },
  {
    check: 'envelope-webhook-id-format',
    wrong: 'uses one webhook-id for every gap',
    fault: onCallback('gap', ({ headers }) => {
      headers['webhook-id'] = 'msg_gap';
    }),
  },
  {
    check: 'verification-cached-per-principal-url',
    wrong: 'shares a verified URL between principals',
    fault: onCallback('verification', (outgoing) => {
      const {
        memory,
        callback: { url },
      } = outgoing;
      if (memory[url] === true) return echo(outgoing);
      memory[url] = true;
      return undefined;
    }),
  },
  {
    check: 'verification-required-before-delivery',
    wrong: 'delivers an event before it verifies',
    fault: onCallback(
      'verification',
      async (outgoing) =>
        void (await outgoing.send({
          body: { eventId: 'e', name: 'n', timestamp: '2026-01-01T00:00:00Z', data: { n: 0 } },
        })),
    ),
  },
  {
    check: 'verification-required-before-delivery',
    wrong: 'delivers an event although the verification failed',
    fault: onCallback('verification', async (outgoing) => {
      const answer = await outgoing.send();
      if (!answer.body.includes(outgoing.body.challenge))
        await outgoing.send({
          body: { eventId: 'e', name: 'n', timestamp: '2026-01-01T00:00:00Z', data: { n: 0 } },
        });
      return answer;
    }),
  },
  {
    check: 'verification-failure-error',
    wrong: 'reports a failed verification as InvalidParams',
    fault: onError(SUBSCRIBE, (error) => ({ error: { ...error, code: -32602 } })),
  },
  {
    check: 'verification-failure-error',
    wrong: 'reports a refused connection as challenge_failed',
    fault: onError(SUBSCRIBE, (error) =>
      error.data?.reason === 'connection_refused' ? reason(error, 'challenge_failed') : { error },
    ),
  },
  {
    check: 'verification-no-raw-endpoint-responses',
    wrong: "includes the endpoint's answer in the error",
    fault: {
      callbackAnswer: ({ body }, { memory }) => {
        if (body !== '') memory['body'] = body;
      },
      error: (error, { memory }) => ({
        error: { ...error, message: `${error.message} ${memory['body'] ?? ''}` },
      }),
    },
  },
  {
    check: 'verification-no-raw-endpoint-responses',
    wrong: "includes the endpoint's answer in deliveryStatus",
    fault: onResult(SUBSCRIBE, async (result, { params }) => {
      if (result.deliveryStatus === undefined) return result;
      const answer = await fetch(params.delivery.url, { method: 'POST', body: '{}' });
      return { ...result, deliveryStatus: { ...result.deliveryStatus, said: await answer.text() } };
    }),
  },
  {
    check: 'delivery-status-last-error-category',
    wrong: 'reports the HTTP status as the reason',
    fault: onError(SUBSCRIBE, (error) =>
      error.data?.reason === 'http_4xx' ? reason(error, 'http_403') : { error },
    ),
  },
  {
    check: 'delivery-status-last-error-category',
    wrong: 'reports a sentence as lastError',
    fault: inStatus((status) => ({ ...status, lastError: 'The endpoint answered 503.' })),
  },
  {
    check: 'verification-uses-ssrf-hardened-path',
    wrong: 'follows the redirect of a verification',
    fault: follows('verification'),
  },
  {
    check: 'verification-rate-limited',
    wrong: 'sends a verification for each subscribe without a limit',
    fault: onRequest(
      SUBSCRIBE,
      async ({ delivery: { url } }) =>
        void (await fetch(url, {
          method: 'POST',
          body: JSON.stringify({ type: 'verification', challenge: random() }),
        })),
    ),
  },
];

const delivery: readonly BrokenServer[] = [
  {
    check: 'delivery-post-json',
    wrong: 'sends a PUT',
    fault: onCallback(undefined, (outgoing) => {
      outgoing.verb = 'PUT';
    }),
  },
  {
    check: 'delivery-post-json',
    wrong: 'sends text/plain as content type',
    fault: onCallback(undefined, ({ headers }) => {
      headers['content-type'] = 'text/plain';
    }),
  },
  {
    check: 'delivery-post-json',
    wrong: 'wraps the occurrence in an array',
    fault: onCallback(undefined, (outgoing) => {
      outgoing.body = { events: [outgoing.body], data: outgoing.body.data };
    }),
  },
  {
    check: 'delivery-standard-webhooks-headers',
    wrong: 'omits webhook-timestamp',
    fault: onCallback(undefined, ({ headers }) => {
      delete headers['webhook-timestamp'];
    }),
  },
  {
    check: 'delivery-standard-webhooks-headers',
    wrong: 'sends webhook-timestamp in milliseconds',
    fault: onCallback(undefined, ({ headers }) => {
      headers['webhook-timestamp'] += '000';
    }),
  },
  {
    check: 'delivery-signature-formula',
    wrong: 'signs another serialization of the body',
    fault: onCallback(undefined, (outgoing) => {
      outgoing.raw = Buffer.from(JSON.stringify(outgoing.body, null, 1));
      outgoing.resign = false;
    }),
  },
  {
    check: 'delivery-signature-formula',
    wrong: 'signs with another secret',
    fault: onCallback(undefined, signedWithOtherSecret),
  },
  {
    check: 'delivery-subscription-id-header',
    wrong: 'omits the subscription id header',
    fault: onCallback(undefined, ({ headers }) => {
      delete headers[ID_HEADER];
    }),
  },
  {
    check: 'delivery-subscription-id-header',
    wrong: 'sends another subscription id',
    fault: onCallback(undefined, ({ headers }) => {
      headers[ID_HEADER] = random();
    }),
  },
  {
    check: 'delivery-hmac-only',
    wrong: 'sends a bearer token',
    fault: onCallback(undefined, ({ headers }) => {
      headers['authorization'] = `Bearer ${random()}`;
    }),
  },
  {
    check: 'delivery-body-size',
    wrong: 'sends a body that is too large',
    fault: onCallback(undefined, (outgoing) => {
      if (outgoing.body.data?.n === 2) outgoing.body._meta = { pad: 'x'.repeat(100_000) };
    }),
  },
  {
    check: 'delivery-retried',
    wrong: 'does not retry',
    fault: { callbackAnswer: ({ status }) => (status === 503 ? accepted : undefined) },
  },
  {
    check: 'delivery-retry-regenerates-signature',
    wrong: 'retries with the timestamp of the first attempt',
    fault: onCallback(undefined, ({ headers, body, memory }) => {
      headers['webhook-timestamp'] = memory[body.eventId] ??= headers['webhook-timestamp'];
    }),
  },
  {
    check: 'delivery-cursor-watermark',
    wrong: "sends the event's own position as cursor",
    fault: onCallback(undefined, ({ body }) => {
      body.cursor = `at ${body.data.n}`;
    }),
  },
  {
    check: 'subscribe-response-cursor',
    wrong: 'returns the first cursor forever',
    fault: onResult(SUBSCRIBE, (result, { params, memory }) => ({
      ...result,
      cursor: (memory[keyOf(params)] ??= result.cursor),
    })),
  },
  {
    check: 'subscribe-response-cursor',
    wrong: 'moves the cursor past a failed delivery',
    fault: onResult(SUBSCRIBE, (result) =>
      result.deliveryStatus?.lastError == null ? result : { ...result, cursor: random() },
    ),
  },
  {
    check: 'delivery-status-shape',
    wrong: 'reports active as a string',
    fault: inStatus((status) => ({ ...status, active: 'yes' })),
  },
  {
    check: 'delivery-status-shape',
    wrong: 'omits the last error',
    fault: inStatus((status) => ({ ...status, lastError: null })),
  },
  { check: 'delivery-410-non-retryable', wrong: 'retries after 410', fault: repeats(410) },
  {
    check: 'delivery-410-non-retryable',
    wrong: 'ends the subscription after 410',
    fault: {
      callback: async (outgoing) => {
        if (outgoing.memory[outgoing.callback.url] === true) return accepted;
        const answer = await outgoing.send();
        outgoing.memory[outgoing.callback.url] = answer.status === 410;
        return answer;
      },
    },
  },
  { check: 'delivery-413-non-retryable', wrong: 'retries after 413', fault: repeats(413) },
  {
    check: 'delivery-abandoned-passed',
    wrong: 'keeps the cursor at the abandoned event',
    fault: {
      ...onCallback(undefined, ({ body, memory }) => {
        if (body.data?.n === 2) memory[`stuck ${body.data.topic}`] = body.cursor;
      }),
      ...onResult(SUBSCRIBE, (result, { params, memory }) => ({
        ...result,
        cursor: memory[`stuck ${params.arguments.topic}`] ?? result.cursor,
      })),
    },
  },
  {
    check: 'envelope-gap',
    wrong: 'omits the cursor in a gap',
    fault: onCallback('gap', (outgoing) => {
      outgoing.body = { type: 'gap' };
    }),
  },
  { check: 'ssrf-no-redirects', wrong: 'follows redirects', fault: follows(undefined) },
  {
    check: 'delivery-retries-bounded',
    wrong: 'sends an old event again with every later request',
    fault: {
      callback: async (outgoing) => {
        const { memory, body } = outgoing;
        if (body?.data?.n === 1) memory['event'] = body;
        else if (memory['event'] !== undefined) await outgoing.send({ body: memory['event'] });
      },
    },
  },
];

export const webhooks: readonly BrokenServer[] = [...subscribing, ...consent, ...delivery];
