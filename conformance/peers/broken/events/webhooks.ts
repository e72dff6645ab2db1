/** Servers of SEP-3415 whose webhooks are wrong. */
import { randomBytes } from 'node:crypto';
import type { BrokenServer, CallbackAnswer, Calling, Json, Spoil } from '../proxy.ts';
import {
  answered,
  asked,
  called,
  done,
  echo,
  refused,
  subscribed,
  taken,
  without,
} from './spoils.ts';

const SUBSCRIBE = 'events/subscribe';
const ID_HEADER = 'x-mcp-subscription-id';
const INVALID = { code: -32602, message: 'Invalid params.' };
const DAY_MS = 86_400_000;
const random = (): string => randomBytes(9).toString('base64url');
const newSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`;
const keyOf = ({ name, arguments: args, delivery }: Json): string =>
  JSON.stringify([name, args, delivery?.url]);
const isRedirect = ({ status }: CallbackAnswer): boolean => status >= 300 && status <= 399;

/** Follows redirects. */
const follows = (type: string | undefined): Spoil =>
  called(type, async (calling) => {
    const answer = await calling.send();
    if (isRedirect(answer))
      await fetch(answer.headers['location']!, {
        method: 'POST',
        headers: calling.headers,
        body: JSON.stringify(calling.body),
      });
    return answer;
  });
/** Sends once more what was answered with this. */
const repeats = (status: number): Spoil =>
  called(undefined, async (calling) => {
    const answer = await calling.send();
    if (answer.status === status) await calling.send();
    return answer;
  });
/** Signs with something else. */
const missigned = (calling: Calling): void => {
  calling.headers['webhook-signature'] = `v1,${Buffer.alloc(32).toString('base64')}`;
  calling.resign = false;
};
const reason = (error: Json, value: unknown): Json => ({
  error: { ...error, data: { ...error.data, reason: value } },
});
const inStatus = (change: (status: Json) => Json): Spoil =>
  answered(SUBSCRIBE, (result) =>
    result.deliveryStatus === undefined
      ? result
      : { ...result, deliveryStatus: change(result.deliveryStatus) },
  );
const later = (instant: string, ms: number): string =>
  new Date(Date.parse(instant) + ms).toISOString();

const subscribing: readonly BrokenServer[] = [
  {
    check: 'subscribe-result-shape',
    wrong: 'leaves refreshBefore out',
    spoil: answered(SUBSCRIBE, (result) => without(result, 'refreshBefore')),
  },
  {
    check: 'subscribe-result-shape',
    wrong: 'has no truncated',
    spoil: answered(SUBSCRIBE, (result) => without(result, 'truncated')),
  },
  {
    check: 'subscribe-id-derived',
    wrong: 'has another id each time',
    spoil: answered(SUBSCRIBE, (result) => ({ ...result, id: random() })),
  },
  {
    check: 'subscribe-id-not-an-input',
    wrong: 'takes an id from the client',
    spoil: answered(SUBSCRIBE, (result, { params }) => ({ ...result, id: params.id ?? result.id })),
  },
  {
    check: 'subscribe-key-composition',
    wrong: 'has one subscription for a URL',
    spoil: answered(SUBSCRIBE, (result, { params }) => ({
      ...result,
      id: `of ${params.delivery.url}`,
    })),
  },
  {
    check: 'subscribe-key-composition',
    wrong: 'has one subscription for name and arguments',
    spoil: answered(SUBSCRIBE, (result, { params }) => ({
      ...result,
      id: `of ${JSON.stringify(params.arguments)}`,
    })),
  },
  {
    check: 'subscribe-cross-tenant-isolation',
    wrong: 'does not tell principals apart',
    spoil: answered(SUBSCRIBE, (result, { params, memory }) => ({
      ...result,
      id: (memory[keyOf(params)] ??= result.id),
    })),
  },
  {
    check: 'subscribe-idempotent-upsert',
    wrong: 'delivers once for each call',
    spoil: called(undefined, async (calling) => void (await calling.send())),
  },
  {
    check: 'unsubscribe-by-key',
    wrong: 'answers and does nothing',
    spoil: asked('events/unsubscribe', () => done({})),
  },
  {
    check: 'unsubscribe-by-key',
    wrong: 'tells in the result what it did',
    spoil: answered('events/unsubscribe', (result) => ({ ...result, ended: true })),
  },
  {
    check: 'unsubscribe-unknown-not-found',
    wrong: 'takes an unknown key for done',
    spoil: refused('events/unsubscribe', () => done({})),
  },
  {
    check: 'ttl-omitted-means-default',
    wrong: 'grants nothing to who does not ask',
    spoil: answered(SUBSCRIBE, (result, { params }) =>
      params.ttlMs === undefined
        ? { ...result, refreshBefore: '2020-01-01T00:00:00.000Z' }
        : result,
    ),
  },
  {
    check: 'ttl-no-rejection-path',
    wrong: 'refuses a suggestion that is too short',
    spoil: asked(SUBSCRIBE, ({ ttlMs }) => (ttlMs === 1 ? { error: INVALID } : undefined)),
  },
  {
    check: 'ttl-refresh-before-lte-suggestion',
    wrong: 'grants two days more than suggested',
    spoil: answered(SUBSCRIBE, (result, { params }) =>
      params.ttlMs > 0
        ? { ...result, refreshBefore: later(result.refreshBefore, 2 * DAY_MS) }
        : result,
    ),
  },
  {
    check: 'ttl-null-only-when-requested',
    wrong: 'grants for ever to who does not say',
    spoil: answered(SUBSCRIBE, (result, { params }) =>
      params.ttlMs === undefined ? { ...result, refreshBefore: null } : result,
    ),
  },
  {
    check: 'ttl-null-only-when-requested',
    wrong: 'takes a very long time for ever',
    spoil: answered(SUBSCRIBE, (result, { params }) =>
      params.ttlMs > 365 * DAY_MS ? { ...result, refreshBefore: null } : result,
    ),
  },
  {
    check: 'subscribe-secret-required',
    wrong: 'makes a secret of its own',
    spoil: asked(SUBSCRIBE, ({ delivery }) => {
      if (delivery.mode === 'webhook') delivery.secret ??= newSecret();
    }),
  },
  {
    check: 'subscribe-secret-rejected',
    wrong: 'takes any secret',
    spoil: asked(SUBSCRIBE, ({ delivery }) => {
      if (delivery.secret !== undefined) delivery.secret = newSecret();
    }),
  },
  {
    check: 'subscribe-secret-rejected',
    wrong: 'refuses long secrets',
    spoil: asked(SUBSCRIBE, ({ delivery }) =>
      delivery.secret?.length > 90 ? { error: INVALID } : undefined,
    ),
  },
  {
    check: 'subscribe-url-non-https-rejected',
    wrong: 'takes http',
    spoil: refused(SUBSCRIBE, (error, { params }) =>
      params.delivery.url.startsWith('http:') ? subscribed : { error },
    ),
  },
  {
    check: 'ssrf-validate-callback-url',
    wrong: 'does not look where a name leads',
    spoil: refused(SUBSCRIBE, (error, { params }) =>
      params.delivery.url.includes('inside') ? subscribed : { error },
    ),
  },
  {
    check: 'ssrf-validate-callback-url',
    wrong: 'takes a URL with a password',
    spoil: refused(SUBSCRIBE, (error, { params }) =>
      params.delivery.url.includes('password') ? subscribed : { error },
    ),
  },
  {
    check: 'ssrf-reject-non-routable',
    wrong: "takes the address of a machine's metadata",
    spoil: refused(SUBSCRIBE, (error, { params }) =>
      params.delivery.url.includes('169.254') ? subscribed : { error },
    ),
  },
  {
    check: 'ssrf-reject-non-routable',
    wrong: 'does not read addresses in hexadecimal',
    spoil: refused(SUBSCRIBE, (error, { params }) =>
      params.delivery.url.includes('0x') ? subscribed : { error },
    ),
  },
  {
    check: 'subscribe-refresh-replaces-secret',
    wrong: 'keeps the first secret',
    spoil: asked(SUBSCRIBE, (params, { memory }) => {
      params.delivery.secret = memory[keyOf(params)] ??= params.delivery.secret;
    }),
  },
  {
    check: 'delivery-dual-sign-on-rotation',
    wrong: 'drops the old secret at once',
    spoil: asked(SUBSCRIBE, async (params, { memory, ask }) => {
      const old = memory[keyOf(params)];
      memory[keyOf(params)] = params.delivery.secret;
      if (old !== undefined && old !== params.delivery.secret)
        await ask('events/unsubscribe', params);
    }),
  },
  {
    check: 'ttl-long-grant-retained',
    wrong: 'forgets its webhooks',
    spoil: called(undefined, () => taken),
  },
  {
    check: 'ttl-no-expiry-persisted',
    wrong: 'forgets those without expiry',
    spoil: {
      ...answered(SUBSCRIBE, (result, { params, memory }) => {
        if (params.ttlMs === null) memory[result.id] = true;
        return result;
      }),
      ...called(undefined, ({ memory, headers }) =>
        memory[headers[ID_HEADER]!] === true ? taken : undefined,
      ),
    },
  },
  {
    check: 'verification-persisted-for-no-expiry',
    wrong: 'asks for consent again',
    spoil: called(
      undefined,
      async (calling) =>
        void (await calling.send({ body: { type: 'verification', challenge: random() } })),
    ),
  },
];

const consent: readonly BrokenServer[] = [
  {
    check: 'verification-challenge-echo',
    wrong: 'uses one challenge for all',
    spoil: called('verification', async (calling) => {
      await calling.send({ body: { type: 'verification', challenge: 'always-the-same-one' } });
      return echo(calling);
    }),
  },
  {
    check: 'verification-challenge-echo',
    wrong: 'takes any answer for consent',
    spoil: called('verification', async (calling) => {
      const { status } = await calling.send();
      return status === 200 ? echo(calling) : undefined;
    }),
  },
  {
    check: 'envelope-type-discriminator',
    wrong: 'has a type in events too',
    spoil: called(undefined, (calling) => {
      calling.body.type = 'event';
    }),
  },
  {
    check: 'envelope-signed-like-deliveries',
    wrong: 'does not sign verifications with the secret',
    spoil: called('verification', missigned),
  },
  {
    check: 'envelope-signed-like-deliveries',
    wrong: 'leaves the id out of a verification',
    spoil: called('verification', ({ headers }) => {
      delete headers[ID_HEADER];
    }),
  },
  {
    check: 'envelope-signed-like-deliveries',
    wrong: 'does not sign gaps',
    spoil: called('gap', missigned),
  },
  {
    check: 'envelope-webhook-id-format',
    wrong: 'numbers its verifications',
    spoil: called('verification', ({ headers }) => {
      headers['webhook-id'] = '1';
    }),
  },
  {
    check: 'envelope-webhook-id-format',
    wrong: 'has the same id for every gap',
    spoil: called('gap', ({ headers }) => {
      headers['webhook-id'] = 'msg_gap';
    }),
  },
  {
    check: 'verification-cached-per-principal-url',
    wrong: 'takes the consent of one for that of another',
    spoil: called('verification', (calling) => {
      const {
        memory,
        callback: { url },
      } = calling;
      if (memory[url] === true) return echo(calling);
      memory[url] = true;
      return undefined;
    }),
  },
  {
    check: 'verification-required-before-delivery',
    wrong: 'delivers before it asks',
    spoil: called(
      'verification',
      async (calling) =>
        void (await calling.send({
          body: { eventId: 'e', name: 'n', timestamp: '2026-01-01T00:00:00Z', data: { n: 0 } },
        })),
    ),
  },
  {
    check: 'verification-required-before-delivery',
    wrong: 'delivers although nobody consented',
    spoil: called('verification', async (calling) => {
      const answer = await calling.send();
      if (!answer.body.includes(calling.body.challenge))
        await calling.send({
          body: { eventId: 'e', name: 'n', timestamp: '2026-01-01T00:00:00Z', data: { n: 0 } },
        });
      return answer;
    }),
  },
  {
    check: 'verification-failure-error',
    wrong: 'calls it InvalidParams',
    spoil: refused(SUBSCRIBE, (error) => ({ error: { ...error, code: -32602 } })),
  },
  {
    check: 'verification-failure-error',
    wrong: 'says challenge_failed where nobody listens',
    spoil: refused(SUBSCRIBE, (error) =>
      error.data?.reason === 'connection_refused' ? reason(error, 'challenge_failed') : { error },
    ),
  },
  {
    check: 'verification-no-raw-endpoint-responses',
    wrong: 'passes on what the endpoint said',
    spoil: {
      answered: ({ body }, { memory }) => {
        if (body !== '') memory['body'] = body;
      },
      error: (error, { memory }) => ({
        error: { ...error, message: `${error.message} ${memory['body'] ?? ''}` },
      }),
    },
  },
  {
    check: 'verification-no-raw-endpoint-responses',
    wrong: 'has what the endpoint said in its status',
    spoil: answered(SUBSCRIBE, async (result, { params }) => {
      if (result.deliveryStatus === undefined) return result;
      const answer = await fetch(params.delivery.url, { method: 'POST', body: '{}' });
      return { ...result, deliveryStatus: { ...result.deliveryStatus, said: await answer.text() } };
    }),
  },
  {
    check: 'delivery-status-last-error-category',
    wrong: 'tells the status code as a reason',
    spoil: refused(SUBSCRIBE, (error) =>
      error.data?.reason === 'http_4xx' ? reason(error, 'http_403') : { error },
    ),
  },
  {
    check: 'delivery-status-last-error-category',
    wrong: 'has a sentence as lastError',
    spoil: inStatus((status) => ({ ...status, lastError: 'The endpoint answered 503.' })),
  },
  {
    check: 'verification-uses-ssrf-hardened-path',
    wrong: 'follows redirects of a verification',
    spoil: follows('verification'),
  },
  {
    check: 'verification-rate-limited',
    wrong: 'asks as often as it is told to',
    spoil: asked(
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
    wrong: 'PUTs',
    spoil: called(undefined, (calling) => {
      calling.verb = 'PUT';
    }),
  },
  {
    check: 'delivery-post-json',
    wrong: 'does not say that it is JSON',
    spoil: called(undefined, ({ headers }) => {
      headers['content-type'] = 'text/plain';
    }),
  },
  {
    check: 'delivery-post-json',
    wrong: 'wraps the occurrence',
    spoil: called(undefined, (calling) => {
      calling.body = { events: [calling.body], data: calling.body.data };
    }),
  },
  {
    check: 'delivery-standard-webhooks-headers',
    wrong: 'has no webhook-timestamp',
    spoil: called(undefined, ({ headers }) => {
      delete headers['webhook-timestamp'];
    }),
  },
  {
    check: 'delivery-standard-webhooks-headers',
    wrong: 'has milliseconds in it',
    spoil: called(undefined, ({ headers }) => {
      headers['webhook-timestamp'] += '000';
    }),
  },
  {
    check: 'delivery-signature-formula',
    wrong: 'signs another form of the body',
    spoil: called(undefined, (calling) => {
      calling.raw = Buffer.from(JSON.stringify(calling.body, null, 1));
      calling.resign = false;
    }),
  },
  {
    check: 'delivery-signature-formula',
    wrong: 'signs with something else',
    spoil: called(undefined, missigned),
  },
  {
    check: 'delivery-subscription-id-header',
    wrong: 'does not say for which subscription',
    spoil: called(undefined, ({ headers }) => {
      delete headers[ID_HEADER];
    }),
  },
  {
    check: 'delivery-subscription-id-header',
    wrong: 'has another id there',
    spoil: called(undefined, ({ headers }) => {
      headers[ID_HEADER] = random();
    }),
  },
  {
    check: 'delivery-hmac-only',
    wrong: 'sends a bearer token',
    spoil: called(undefined, ({ headers }) => {
      headers['authorization'] = `Bearer ${random()}`;
    }),
  },
  {
    check: 'delivery-body-size',
    wrong: 'sends whatever size',
    spoil: called(undefined, (calling) => {
      if (calling.body.data?.n === 2) calling.body._meta = { pad: 'x'.repeat(100_000) };
    }),
  },
  {
    check: 'delivery-retried',
    wrong: 'tries once',
    spoil: { answered: ({ status }) => (status === 503 ? taken : undefined) },
  },
  {
    check: 'delivery-retry-regenerates-signature',
    wrong: 'sends the same bytes again',
    spoil: called(undefined, ({ headers, body, memory }) => {
      headers['webhook-timestamp'] = memory[body.eventId] ??= headers['webhook-timestamp'];
    }),
  },
  {
    check: 'delivery-cursor-watermark',
    wrong: "has the event's own position as cursor",
    spoil: called(undefined, ({ body }) => {
      body.cursor = `at ${body.data.n}`;
    }),
  },
  {
    check: 'subscribe-response-cursor',
    wrong: 'has the first cursor for ever',
    spoil: answered(SUBSCRIBE, (result, { params, memory }) => ({
      ...result,
      cursor: (memory[keyOf(params)] ??= result.cursor),
    })),
  },
  {
    check: 'subscribe-response-cursor',
    wrong: 'has moved past what is not taken',
    spoil: answered(SUBSCRIBE, (result) =>
      result.deliveryStatus?.lastError == null ? result : { ...result, cursor: random() },
    ),
  },
  {
    check: 'delivery-status-shape',
    wrong: 'says in words whether it is active',
    spoil: inStatus((status) => ({ ...status, active: 'yes' })),
  },
  {
    check: 'delivery-status-shape',
    wrong: 'does not tell of a failure',
    spoil: inStatus((status) => ({ ...status, lastError: null })),
  },
  { check: 'delivery-410-non-retryable', wrong: 'tries again after 410', spoil: repeats(410) },
  {
    check: 'delivery-410-non-retryable',
    wrong: 'ends the subscription after 410',
    spoil: {
      callback: async (calling) => {
        if (calling.memory[calling.callback.url] === true) return taken;
        const answer = await calling.send();
        calling.memory[calling.callback.url] = answer.status === 410;
        return answer;
      },
    },
  },
  { check: 'delivery-413-non-retryable', wrong: 'tries again after 413', spoil: repeats(413) },
  {
    check: 'delivery-abandoned-passed',
    wrong: 'stays where it gave up',
    spoil: {
      ...called(undefined, ({ body, memory }) => {
        if (body.data?.n === 2) memory[`stuck ${body.data.topic}`] = body.cursor;
      }),
      ...answered(SUBSCRIBE, (result, { params, memory }) => ({
        ...result,
        cursor: memory[`stuck ${params.arguments.topic}`] ?? result.cursor,
      })),
    },
  },
  {
    check: 'envelope-gap',
    wrong: 'has gaps without a cursor',
    spoil: called('gap', (calling) => {
      calling.body = { type: 'gap' };
    }),
  },
  { check: 'ssrf-no-redirects', wrong: 'follows redirects', spoil: follows(undefined) },
  {
    check: 'delivery-retries-bounded',
    wrong: 'goes on trying with every verification',
    spoil: {
      callback: async (calling) => {
        const { memory, body } = calling;
        if (body?.data?.n === 1) memory['event'] = body;
        else if (memory['event'] !== undefined) await calling.send({ body: memory['event'] });
      },
    },
  },
];

export const webhooks: readonly BrokenServer[] = [...subscribing, ...consent, ...delivery];
