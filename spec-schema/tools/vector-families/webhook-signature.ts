/** Standard Webhooks signatures, and invalid ones that lenient verifiers accept. */
import { base64, hmac, secretBytes, secretOf } from './keys.ts';
import type { VectorCase, VectorFamily } from './types.ts';

const SECRET = secretOf(32, 0x41);
const OTHER = secretOf(32, 0x42);
const ID = 'msg_2b6fV3pQk0sZy8T1vXcnE9wLrJ7uHdA5';
const AT = 1795253400;
const BODY = Buffer.from(
  '{"jsonrpc":"2.0","method":"notifications/triggers/delivery","params":{"after":0}}',
);

interface Parts {
  readonly secrets?: readonly string[];
  readonly id?: string;
  readonly timestamp?: string;
  readonly body?: Buffer;
  readonly signature?: string;
  readonly nowMs?: number;
}

const v1 = (secret: string, id: string, timestamp: string, body: Buffer): string =>
  `v1,${base64(hmac(secretBytes(secret), `${id}.${timestamp}.`, body))}`;

function make(
  verdict: 'valid' | 'invalid',
  comment: string,
  flags: readonly string[],
  parts: Parts,
  extra: Readonly<Record<string, unknown>> = {},
): VectorCase {
  const {
    secrets = [SECRET],
    id = ID,
    timestamp = String(AT),
    body = BODY,
    nowMs = AT * 1000,
  } = parts;
  const signature = parts.signature ?? v1(secrets[0]!, id, timestamp, body);
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signature,
  };
  return { comment, flags, ...extra, secrets, headers, bodyBase64: base64(body), nowMs, verdict };
}
const valid = (
  comment: string,
  flags: readonly string[],
  parts: Parts,
  extra?: Record<string, unknown>,
) => make('valid', comment, flags, parts, extra);
const invalid = (reason: string, comment: string, flags: readonly string[], parts: Parts) => ({
  ...make('invalid', comment, flags, parts),
  reason,
});

const good = v1(SECRET, ID, String(AT), BODY);
const flip = (text: string, index: number): string =>
  text.slice(0, index) + (text[index] === 'A' ? 'B' : 'A') + text.slice(index + 1);
const without = (header: string): VectorCase => {
  const whole: VectorCase = invalid('missing_header', `no ${header}`, ['grammar'], {});
  return {
    ...whole,
    headers: Object.fromEntries(
      Object.entries(whole['headers'] as Record<string, string>).filter(
        ([name]) => name !== header,
      ),
    ),
  };
};
const invalidUtf8 = (byte: number): Buffer =>
  Buffer.concat([Buffer.from('{"a":"'), Buffer.from([byte]), Buffer.from('"}')]);

export const webhookSignature: VectorFamily = {
  family: 'standard-webhooks-signature',
  description:
    'Checks of webhook-id, webhook-timestamp and webhook-signature over the raw body (bodyBase64), with any of the secrets, at nowMs and a tolerance of 300,000 ms. reason names the check that fails first.',
  notes: {
    published: 'A published vector.',
    wrong_input: 'The secret, the signature or a signed input was changed.',
    clock: 'The timestamp is at most 300 seconds before or after nowMs, both ends included.',
    grammar:
      'The strict grammar of the headers. Some verifiers parse numbers leniently or allow a dot in the id, so that one signature is valid for several messages.',
    raw_bytes:
      'The signature is over bytes. A verifier that first decodes the body as text replaces invalid bytes by U+FFFD, and one signature is then valid for several bodies.',
    rotation: 'Several signatures in one header: one match is enough.',
    other_version: 'Entries of other versions are ignored, whatever they contain.',
    weak_secret:
      'A secret that is not whsec_ and standard base64 of 24 to 64 bytes is rejected before any check.',
  },
  cases: [
    valid(
      'Standard Webhooks, the vector of the reference libraries',
      ['published'],
      {
        secrets: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
        id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
        timestamp: '1614265330',
        body: Buffer.from('{"test": 2432232314}'),
        signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
        nowMs: 1614265330000,
      },
      { source: 'https://github.com/standard-webhooks/standard-webhooks, libraries/*/tests' },
    ),
    valid('one signature', [], {}),
    valid('empty body', [], { body: Buffer.alloc(0) }),
    valid('shortest secret: 24 bytes', [], { secrets: [secretOf(24, 1)] }),
    valid('longest secret: 64 bytes', [], { secrets: [secretOf(64, 1)] }),
    valid('longest id: 128 characters', ['grammar'], { id: 'm'.repeat(128) }),
    valid('leading zero: the text is signed, not the number', ['grammar'], {
      timestamp: `00${AT}`,
    }),
    valid('300 s old', ['clock'], { nowMs: (AT + 300) * 1000 }),
    valid('299 s old', ['clock'], { nowMs: (AT + 299) * 1000 }),
    valid('299 s ahead', ['clock'], { nowMs: (AT - 299) * 1000 }),
    invalid('stale', '301 s old', ['clock'], { nowMs: (AT + 301) * 1000 }),
    invalid('stale', '301 s ahead', ['clock'], { nowMs: (AT - 301) * 1000 }),
    invalid(
      'stale',
      'milliseconds instead of seconds: within 12 digits but in the far future',
      ['clock'],
      { timestamp: '179525340000' },
    ),
    valid('body with byte 0xFF', ['raw_bytes'], { body: invalidUtf8(0xff) }),
    invalid('no_match', 'byte 0xFE under the signature of byte 0xFF', ['raw_bytes'], {
      body: invalidUtf8(0xfe),
      signature: v1(SECRET, ID, String(AT), invalidUtf8(0xff)),
    }),
    invalid('no_match', 'U+FFFD under the signature of byte 0xFF', ['raw_bytes'], {
      body: Buffer.from('{"a":"\ufffd"}'),
      signature: v1(SECRET, ID, String(AT), invalidUtf8(0xff)),
    }),
    invalid('no_match', 'the same JSON with a space', ['raw_bytes'], {
      body: Buffer.from(BODY.toString().replace(':', ': ')),
      signature: good,
    }),
    invalid('no_match', 'first byte of the signature wrong', ['wrong_input'], {
      signature: flip(good, 3),
    }),
    invalid('no_match', 'middle byte of the signature wrong', ['wrong_input'], {
      signature: flip(good, 24),
    }),
    invalid('no_match', 'last byte of the signature wrong', ['wrong_input'], {
      signature: flip(good, good.length - 2),
    }),
    invalid('no_match', 'other secret', ['wrong_input'], {
      signature: v1(OTHER, ID, String(AT), BODY),
    }),
    invalid('no_match', 'other id', ['wrong_input'], {
      signature: v1(SECRET, 'msg_other', String(AT), BODY),
    }),
    invalid('no_match', 'other timestamp', ['wrong_input'], {
      signature: v1(SECRET, ID, String(AT - 1), BODY),
    }),
    invalid('no_match', 'one bit of the body flipped', ['wrong_input'], {
      body: Buffer.from(BODY.toString().replace('0}', '1}')),
      signature: good,
    }),
    invalid(
      'malformed_id',
      'a dot in the id moves the boundary between id and timestamp',
      ['grammar'],
      {
        id: `${ID}.${AT - 5}`,
        body: Buffer.from('{"evil":true}'),
        signature: v1(SECRET, ID, String(AT - 5), Buffer.from(`${AT}.{"evil":true}`)),
      },
    ),
    invalid('malformed_id', 'empty id', ['grammar'], { id: '' }),
    invalid('malformed_id', 'id of 129 characters', ['grammar'], { id: 'm'.repeat(129) }),
    invalid('malformed_id', 'id with a space', ['grammar'], { id: 'msg 1' }),
    invalid('malformed_timestamp', 'digits followed by other characters', ['grammar'], {
      timestamp: `${AT}xyz`,
      signature: good,
    }),
    invalid('malformed_timestamp', 'a sign', ['grammar'], { timestamp: `+${AT}` }),
    invalid('malformed_timestamp', 'a fraction', ['grammar'], { timestamp: `${AT}.0` }),
    invalid('malformed_timestamp', '13 digits: milliseconds', ['grammar'], {
      timestamp: String(AT * 1000),
    }),
    invalid('malformed_timestamp', 'exponent', ['grammar'], { timestamp: '1795e6' }),
    valid('new and old secret during a rotation', ['rotation'], {
      signature: `${v1(OTHER, ID, String(AT), BODY)} ${good}`,
    }),
    valid('a receiver with both secrets', ['rotation'], {
      secrets: [OTHER, SECRET],
      signature: good,
    }),
    valid('ten entries, the last one matches', ['rotation'], {
      signature: [...Array(9).fill(v1(OTHER, ID, String(AT), BODY)), good].join(' '),
    }),
    invalid('malformed_signature', 'eleven entries', ['rotation'], {
      signature: [...Array(10).fill(v1(OTHER, ID, String(AT), BODY)), good].join(' '),
    }),
    invalid('malformed_signature', 'more than 4,096 bytes', ['grammar'], {
      signature: `v1a,${'A'.repeat(4096)} ${good}`,
    }),
    valid('an entry of another version beside a valid one', ['other_version'], {
      signature: `v1a,${'A'.repeat(86)}== ${good}`,
    }),
    valid('an entry without a comma beside a valid one', ['other_version'], {
      signature: `v1 ${good}`,
    }),
    invalid('no_match', 'only entries of other versions', ['other_version'], {
      signature: good.replace('v1,', 'v2,'),
    }),
    invalid('no_match', 'upper-case version', ['other_version'], {
      signature: good.replace('v1,', 'V1,'),
    }),
    invalid('no_match', 'signature without version', ['other_version'], {
      signature: good.slice(3),
    }),
    invalid('no_match', 'signature as base64url', ['grammar'], {
      signature: `v1,${hmac(secretBytes(SECRET), `${ID}.${AT}.`, BODY).toString('base64url')}`,
    }),
    invalid('no_match', 'signature as hexadecimal', ['grammar'], {
      signature: `v1,${hmac(secretBytes(SECRET), `${ID}.${AT}.`, BODY).toString('hex')}`,
    }),
    invalid('no_match', 'empty signature', ['grammar'], { signature: 'v1,' }),
    without('webhook-id'),
    without('webhook-timestamp'),
    without('webhook-signature'),
    invalid('secret_malformed', 'secret of one byte', ['weak_secret'], {
      secrets: [secretOf(1, 0x78)],
    }),
    invalid('secret_malformed', 'secret of 23 bytes', ['weak_secret'], {
      secrets: [secretOf(23, 1)],
    }),
    invalid('secret_malformed', 'secret of 65 bytes', ['weak_secret'], {
      secrets: [secretOf(65, 1)],
    }),
    invalid('secret_malformed', 'secret without prefix', ['weak_secret'], {
      secrets: [SECRET.slice(6)],
      signature: good,
    }),
    invalid('secret_malformed', 'secret whose base64 has stray bits at its end', ['weak_secret'], {
      secrets: [`${SECRET.slice(0, -2)}B=`],
      signature: good,
    }),
  ],
};
