/** Answers to a challenge: the proof, and what an echo service or a careless receiver sends instead. */
import { base64, hmac, secretBytes, secretOf } from './keys.ts';
import type { VectorCase, VectorFamily } from './types.ts';

const SECRET = secretOf(32, 0x41);
const CHALLENGE = 'c3VjaC1hLXJhbmRvbS1jaGFsbGVuZ2U';
const proof = (secret: string, text: string): string => base64(hmac(secretBytes(secret), text));
const good = proof(SECRET, `challenge.${CHALLENGE}`);

const made = (verdict: 'valid' | 'invalid', comment: string, answer: unknown): VectorCase => ({
  comment,
  flags: verdict === 'valid' ? [] : ['no_proof'],
  secret: SECRET,
  challenge: CHALLENGE,
  answer,
  verdict,
});

export const challengeProof: VectorFamily = {
  family: 'challenge-proof',
  description:
    'The 2xx answer to this challenge. valid: the endpoint knows the secret. An invalid answer is the category challenge_failed.',
  notes: {
    no_proof:
      'An answer that an endpoint can give without the secret, or with a careless implementation.',
  },
  cases: [
    made('valid', 'the proof', { challenge: CHALLENGE, proof: good }),
    made('valid', 'with an unknown member', {
      challenge: CHALLENGE,
      proof: good,
      server: 'x',
    }),
    made('invalid', 'an echo', { challenge: CHALLENGE }),
    made('invalid', 'an echo of the whole request', {
      jsonrpc: '2.0',
      method: 'notifications/triggers/delivery',
      params: { challenge: CHALLENGE },
    }),
    made('invalid', 'challenge of another request', { challenge: `${CHALLENGE}x`, proof: good }),
    made('invalid', 'proof without the prefix "challenge."', {
      challenge: CHALLENGE,
      proof: proof(SECRET, CHALLENGE),
    }),
    made('invalid', 'proof with the text of the secret as key', {
      challenge: CHALLENGE,
      proof: base64(hmac(Buffer.from(SECRET), `challenge.${CHALLENGE}`)),
    }),
    made('invalid', 'proof under another secret', {
      challenge: CHALLENGE,
      proof: proof(secretOf(32, 0x42), `challenge.${CHALLENGE}`),
    }),
    made('invalid', 'proof as base64url', {
      challenge: CHALLENGE,
      proof: hmac(secretBytes(SECRET), `challenge.${CHALLENGE}`).toString('base64url'),
    }),
    made('invalid', 'proof as hexadecimal', {
      challenge: CHALLENGE,
      proof: hmac(secretBytes(SECRET), `challenge.${CHALLENGE}`).toString('hex'),
    }),
    made('invalid', 'empty proof', { challenge: CHALLENGE, proof: '' }),
    made('invalid', 'an acknowledgement', { ackSequence: 0 }),
  ],
};
