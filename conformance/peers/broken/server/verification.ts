/** Servers that do not ask for consent, or take anything for it. */
import { randomUUID } from 'node:crypto';
import { hmac } from '../../../runner/server/callback-endpoint.ts';
import type { BrokenServer, CallbackAnswer, Calling, Json, Passing } from '../proxy.ts';

const challengeOf = ({ body }: Calling): string | undefined => body.params.challenge;
/** The answer that the right server wants. */
const consent = ({ callback }: Calling, challenge: string): CallbackAnswer => ({
  status: 200,
  headers: {},
  body: JSON.stringify({ challenge, proof: hmac(callback.secret, `challenge.${challenge}`) }),
});
/** Takes an answer to a challenge for consent when it fits. */
const takes = (
  fits: (answer: CallbackAnswer, said: Json, calling: Calling) => boolean,
): BrokenServer['spoil'] => ({
  answered: (answer, calling) => {
    const challenge = challengeOf(calling);
    return challenge !== undefined && fits(answer, saidIn(answer), calling)
      ? consent(calling, challenge)
      : answer;
  },
});
/** Asks with another challenge than the right server made up. */
const asks = (draw: (calling: Calling) => string): BrokenServer['spoil'] => ({
  callback: async (calling) => {
    const challenge = challengeOf(calling);
    if (challenge === undefined) return undefined;
    const other = draw(calling);
    const answer = await calling.send({
      body: { ...calling.body, params: { ...calling.body.params, challenge: other } },
    });
    return saidIn(answer)?.challenge === other ? consent(calling, challenge) : answer;
  },
});
const refusals = (change: (error: Json, passing: Passing) => Json): BrokenServer['spoil'] => ({
  error: (error, passing) => ({ error: error.code === -32027 ? change(error, passing) : error }),
});
const reason = (name: (reason: string) => string): BrokenServer['spoil'] =>
  refusals((error) => ({ ...error, data: { reason: name(error.data.reason) } }));

export const verification: readonly BrokenServer[] = [
  {
    check: 'cbv-before-events',
    wrong: 'verifies nothing',
    spoil: {
      callback: (calling) =>
        challengeOf(calling) === undefined ? undefined : consent(calling, challengeOf(calling)!),
    },
  },
  {
    check: 'cbv-before-events',
    wrong: 'changes the URL though the verification failed',
    spoil: takes((_, said, { memory, callback }) => {
      const first = (memory['first'] ??= callback.url);
      return callback.url !== first && said?.proof === undefined;
    }),
  },
  {
    check: 'cbv-challenge',
    wrong: 'has one challenge for everybody',
    spoil: asks(({ memory, body }) => (memory['challenge'] ??= body.params.challenge)),
  },
  {
    check: 'cbv-challenge',
    wrong: 'counts',
    spoil: asks(
      ({ memory }) =>
        `challenge-of-the-server-${String((memory['count'] = (memory['count'] ?? 0) + 1)).padStart(12, '0')}`,
    ),
  },
  {
    check: 'cbv-challenge',
    wrong: 'draws eight characters',
    spoil: asks(({ body }) => body.params.challenge.slice(0, 8)),
  },
  { check: 'cbv-challenge', wrong: 'draws a UUID', spoil: asks(() => randomUUID()) },
  {
    check: 'cbv-proof',
    wrong: 'does not look at the status',
    spoil: takes((answer, said) => answer.status >= 300 && said?.proof !== undefined),
  },
  { check: 'cbv-proof', wrong: 'takes any 2xx', spoil: takes(({ status }) => status < 300) },
  {
    check: 'cbv-proof',
    wrong: 'looks at the proof only',
    spoil: takes(
      (_, said, calling) =>
        said?.proof === hmac(calling.callback.secret, `challenge.${challengeOf(calling)}`),
    ),
  },
  {
    check: 'cbv-proof',
    wrong: 'believes in hexadecimal',
    spoil: takes((_, said) => /^[0-9a-f]{64}$/.test(said?.proof)),
  },
  {
    check: 'cbv-echo',
    wrong: 'takes an echo for consent',
    spoil: takes((_, said, calling) => said?.challenge === challengeOf(calling)),
  },
  {
    check: 'cbv-echo',
    wrong: 'says no_ack of an echo',
    spoil: reason((name) => (name === 'challenge_failed' ? 'no_ack' : name)),
  },
  {
    check: 'cbv-error',
    wrong: 'says challenge_failed of everything',
    spoil: reason(() => 'challenge_failed'),
  },
  {
    check: 'cbv-error',
    wrong: 'has one word for 4xx and 5xx',
    spoil: reason((name) => (name === 'http_5xx' ? 'http_4xx' : name)),
  },
  {
    check: 'cbv-error',
    wrong: 'takes a failed handshake for a closed port',
    spoil: reason((name) => (name === 'tls_error' ? 'connection_refused' : name)),
  },
  {
    check: 'cbv-error',
    wrong: 'answers with InvalidParams',
    spoil: refusals(() => ({
      code: -32602,
      message: 'The callback could not be verified.',
      data: { kind: 'invalid', path: '/callback/url', expected: 'a callback that answers' },
    })),
  },
  {
    check: 'cbv-error',
    wrong: 'does not say why',
    spoil: refusals(({ code, message }) => ({ code, message })),
  },
  {
    check: 'cbv-one-request',
    wrong: 'tries again when a challenge fails',
    spoil: {
      answered: (answer, calling) =>
        challengeOf(calling) !== undefined && answer.status >= 500 ? calling.send() : answer,
    },
  },
  {
    check: 'cbv-one-request',
    wrong: 'sees first whether anybody is there',
    spoil: {
      callback: async (calling) => {
        if (challengeOf(calling) !== undefined) await calling.send();
      },
    },
  },
  {
    check: 'cbv-no-sharing',
    wrong: 'remembers that a URL was verified, not for whom',
    spoil: {
      callback: (calling) => {
        const challenge = challengeOf(calling);
        if (challenge === undefined) return undefined;
        if (calling.memory[calling.callback.url] === true) return consent(calling, challenge);
        calling.memory[calling.callback.url] = true;
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
