/** Servers that do not verify callbacks, or accept any answer as consent. */
import { randomUUID } from 'node:crypto';
import { hmac } from '../../../runner/server/callback-endpoint.ts';
import type {
  BrokenServer,
  CallbackAnswer,
  CallbackRequest,
  Json,
  ProxiedRequest,
} from '../proxy.ts';

const hostOf = ({ callback }: Json): string =>
  callback === undefined ? '' : new URL(callback.url).host;
const challengeOf = ({ body }: CallbackRequest): string | undefined => body.params.challenge;
/** The answer that the correct server expects. */
const consent = ({ callback }: CallbackRequest, challenge: string): CallbackAnswer => ({
  status: 200,
  headers: {},
  body: JSON.stringify({ challenge, proof: hmac(callback.secret, `challenge.${challenge}`) }),
});
/** Accepts the answers to a challenge that match. */
const takes = (
  fits: (answer: CallbackAnswer, said: Json, outgoing: CallbackRequest) => boolean,
): BrokenServer['fault'] => ({
  callbackAnswer: (answer, outgoing) => {
    const challenge = challengeOf(outgoing);
    return challenge !== undefined && fits(answer, saidIn(answer), outgoing)
      ? consent(outgoing, challenge)
      : answer;
  },
});
/** Changes the params of a challenge. */
const challenges = (change: (params: Json) => Json): BrokenServer['fault'] => ({
  callback: (outgoing) => {
    if (challengeOf(outgoing) !== undefined)
      outgoing.body = { ...outgoing.body, params: change(outgoing.body.params) };
  },
});
/** Sends another challenge in place of the correct server's. */
const asks = (draw: (outgoing: CallbackRequest) => string): BrokenServer['fault'] => ({
  callback: async (outgoing) => {
    const challenge = challengeOf(outgoing);
    if (challenge === undefined) return undefined;
    const other = draw(outgoing);
    const answer = await outgoing.send({
      body: { ...outgoing.body, params: { ...outgoing.body.params, challenge: other } },
    });
    return saidIn(answer)?.challenge === other ? consent(outgoing, challenge) : answer;
  },
});
const refusals = (
  change: (error: Json, proxied: ProxiedRequest) => Json,
): BrokenServer['fault'] => ({
  error: (error, proxied) => ({ error: error.code === -32027 ? change(error, proxied) : error }),
});
const reason = (name: (reason: string) => string): BrokenServer['fault'] =>
  refusals((error) => ({ ...error, data: { ...error.data, category: name(error.data.category) } }));

export const verification: readonly BrokenServer[] = [
  {
    check: 'cbv-rate',
    wrong: 'locks a host for everybody after the failures of one owner',
    fault: {
      request: ({ method, params, memory }) =>
        method === 'triggers/subscribe' && memory[hostOf(params)] !== undefined
          ? { error: memory[hostOf(params)] }
          : undefined,
      error: (error, { params, memory }) => {
        if (error.code === -32025 && params.callback !== undefined) memory[hostOf(params)] = error;
        return { error };
      },
    },
  },
  {
    check: 'cbv-rate',
    wrong: 'never says how long to wait after failed verifications',
    fault: {
      error: (error) => ({
        error:
          error.code === -32025
            ? { ...error, data: { ...error.data, retryAfterMs: undefined } }
            : error,
      }),
    },
  },
  {
    check: 'cbv-before-events',
    wrong: 'reuses a proof for another secret',
    fault: {
      callbackAnswer: (answer, outgoing) => {
        const { callback, memory } = outgoing;
        const challenge = challengeOf(outgoing);
        if (challenge === undefined) return answer;
        if (memory[callback.url] === true) return consent(outgoing, challenge);
        memory[callback.url] = saidIn(answer)?.proof !== undefined;
        return answer;
      },
    },
  },
  {
    check: 'cbv-before-events',
    wrong: 'does not verify callbacks',
    fault: {
      callback: (outgoing) =>
        challengeOf(outgoing) === undefined ? undefined : consent(outgoing, challengeOf(outgoing)!),
    },
  },
  {
    check: 'cbv-before-events',
    wrong: 'changes the URL although its verification failed',
    fault: takes((_, said, { memory, callback }) => {
      const first = (memory['first'] ??= callback.url);
      return callback.url !== first && said?.proof === undefined;
    }),
  },
  {
    check: 'cbv-challenge',
    wrong: 'uses the same challenge each time',
    fault: asks(({ memory, body }) => (memory['challenge'] ??= body.params.challenge)),
  },
  {
    check: 'cbv-challenge',
    wrong: 'uses a counter in its challenges',
    fault: asks(
      ({ memory }) =>
        `challenge-of-the-server-${String((memory['count'] = (memory['count'] ?? 0) + 1)).padStart(12, '0')}`,
    ),
  },
  {
    check: 'cbv-challenge',
    wrong: 'sends a whole delivery with its challenge',
    fault: challenges((params) => ({
      epoch: 'AAAAAAAAAAAAAAAAAAAAAA',
      afterSequence: 0,
      events: [],
      head: 0,
      acked: 0,
      etag: 'AAAAAAAA-1',
      ...params,
    })),
  },
  {
    check: 'cbv-challenge',
    wrong: 'omits the key in a challenge',
    fault: challenges(({ key, ...params }) => params),
  },
  {
    check: 'cbv-challenge',
    wrong: 'uses a challenge of eight characters',
    fault: asks(({ body }) => body.params.challenge.slice(0, 8)),
  },
  { check: 'cbv-challenge', wrong: 'uses a UUID as challenge', fault: asks(() => randomUUID()) },
  {
    check: 'cbv-proof',
    wrong: 'ignores the status of the answer',
    fault: takes((answer, said) => answer.status >= 300 && said?.proof !== undefined),
  },
  { check: 'cbv-proof', wrong: 'accepts any 2xx', fault: takes(({ status }) => status < 300) },
  {
    check: 'cbv-proof',
    wrong: 'ignores the challenge of the answer',
    fault: takes(
      (_, said, outgoing) =>
        said?.proof === hmac(outgoing.callback.secret, `challenge.${challengeOf(outgoing)}`),
    ),
  },
  {
    check: 'cbv-proof',
    wrong: 'accepts any hexadecimal proof',
    fault: takes((_, said) => /^[0-9a-f]{64}$/.test(said?.proof)),
  },
  {
    check: 'cbv-proof',
    wrong: 'accepts an echo as consent',
    fault: takes((_, said, outgoing) => said?.challenge === challengeOf(outgoing)),
  },
  {
    check: 'cbv-proof',
    wrong: 'reports an echo as no_ack',
    fault: reason((name) => (name === 'challenge_failed' ? 'no_ack' : name)),
  },
  {
    check: 'subs-verified',
    wrong: 'reports every failure as challenge_failed',
    fault: reason(() => 'challenge_failed'),
  },
  {
    check: 'subs-verified',
    wrong: 'reports http_5xx as http_4xx',
    fault: reason((name) => (name === 'http_5xx' ? 'http_4xx' : name)),
  },
  {
    check: 'subs-verified',
    wrong: 'reports a TLS failure as connection_refused',
    fault: reason((name) => (name === 'tls_error' ? 'connection_refused' : name)),
  },
  {
    check: 'subs-verified',
    wrong: 'reports a failed challenge as InvalidParams',
    fault: refusals(() => ({
      code: -32602,
      message: 'The callback could not be verified.',
      data: { kind: 'invalid', path: '/callback/url', expected: 'a callback that answers' },
    })),
  },
  {
    check: 'subs-verified',
    wrong: 'omits the reason',
    fault: refusals(({ code, message }) => ({ code, message })),
  },
  {
    check: 'cbv-one-request',
    wrong: 'retries a failed challenge',
    fault: {
      callbackAnswer: (answer, outgoing) =>
        challengeOf(outgoing) !== undefined && answer.status >= 500 ? outgoing.send() : answer,
    },
  },
  {
    check: 'cbv-one-request',
    wrong: 'sends a probe before the challenge',
    fault: {
      callback: async (outgoing) => {
        if (challengeOf(outgoing) !== undefined) await outgoing.send();
      },
    },
  },
  {
    check: 'cbv-before-events',
    wrong: 'shares a verified URL between principals',
    fault: {
      callback: (outgoing) => {
        const challenge = challengeOf(outgoing);
        if (challenge === undefined) return undefined;
        if (outgoing.memory[outgoing.callback.url] === true) return consent(outgoing, challenge);
        outgoing.memory[outgoing.callback.url] = true;
        return undefined;
      },
    },
  },
];

function saidIn({ body }: CallbackAnswer): Json {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
