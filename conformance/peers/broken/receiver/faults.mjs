// Faults of the minimal receiver. Each row replaces some of its decisions so that it breaks one
// requirement. `check` is the requirement without prefix; `wrong` describes the fault.
import { createHmac } from 'node:crypto';
import { RECEIVER } from '../../minimal-receiver.mjs';
import { byName, READER_FAULTS, hasKnownReasons } from '../reader-faults.mjs';

const DELIVERY = new Set([
  'subscriptionId',
  'key',
  'epoch',
  'afterSequence',
  'events',
  'gaps',
  'head',
  'acked',
  'etag',
  'expiresAt',
  'terminated',
  '_meta',
]);
const status = (why, code) => ({ status: { ...RECEIVER.status, [why]: code } });
const proof = (secret, challenge) =>
  createHmac('sha256', Buffer.from(secret.slice(6), 'base64'))
    .update(`challenge.${challenge}`)
    .digest('base64');
const yes = () => true;
const isMember = (allowed) => (header) =>
  Object.keys(header)
    .filter((name) => !allowed.includes(name))
    .sort()
    .join() === 'alg,b64,crit,htm,iat,iss,kid,origin,sub,typ,uh';
/** Checks a header as if this member had this value. */
const isJwsBut = (name, value) => (header) => RECEIVER.isJws({ ...header, [name]: value });
const had = new Set();
const isFirst = ({ eventId }) => had.size < had.add(eventId).size;
const fetched = async (uri) => (await (await fetch(uri)).json()).keys;

const ROWS = [
  {
    check: 'gen-ignore-unknown',
    wrong: 'rejects a gap for an unknown reason',
    overrides: { canRead: hasKnownReasons },
  },
  {
    check: 'gen-ignore-unknown',
    wrong: 'rejects a delivery with an unknown member',
    overrides: { canRead: (delivery) => Object.keys(delivery).every((name) => DELIVERY.has(name)) },
  },
  {
    check: 'ack-client-durable',
    wrong: 'acknowledges before it stores',
    overrides: { stores: false },
  },
  {
    check: 'recv-duplicate',
    wrong: 'rejects a delivery that it has already applied',
    overrides: { canRead: ({ events }) => events.filter(isFirst).length === events.length },
  },
  {
    check: 'recv-elsewhere',
    wrong: 'refuses what follows numbers that another reader has acknowledged',
    overrides: { isMissing: ({ afterSequence }, { sequence }) => afterSequence > sequence },
  },
  {
    check: 'sig-raw-bytes',
    wrong: 'verifies the signature over a re-serialized body',
    overrides: {
      signed: (raw) => {
        try {
          return Buffer.from(JSON.stringify(JSON.parse(raw)));
        } catch {
          return raw;
        }
      },
    },
  },
  {
    check: 'sig-verify-first',
    wrong: 'validates the body before the signature',
    overrides: {
      beforeSignature: (message) =>
        message?.params?.subscriptionId === undefined ? { status: 400 } : undefined,
    },
  },
  {
    check: 'sig-verify-first',
    wrong: 'ends a subscription before it verifies the signature',
    overrides: {
      beforeSignature: (message, { reader }) => {
        if (message?.params?.terminated) reader.ended = true;
      },
    },
  },
  {
    check: 'sig-verify-first',
    wrong: 'adopts a new epoch before it verifies the signature',
    overrides: {
      beforeSignature: (message, { reader }) => {
        if (reader.applied && message?.params?.epoch === 'another-epoch-000000')
          reader.lose(message.params.epoch);
      },
    },
  },
  { check: 'sig-grammar', wrong: 'accepts any webhook-id', overrides: { isId: yes } },
  {
    check: 'sig-grammar',
    wrong: 'accepts a webhook-id of any length',
    overrides: { isId: (id) => /^[A-Za-z0-9_-]+$/.test(id) },
  },
  {
    check: 'sig-grammar',
    wrong: 'accepts any number as timestamp',
    overrides: { isTimestamp: (timestamp) => Number.isFinite(Number(timestamp)) },
  },
  {
    check: 'sig-grammar',
    wrong: 'accepts a timestamp of any length',
    overrides: { isTimestamp: (timestamp) => /^[0-9]+$/.test(timestamp) },
  },
  {
    check: 'sig-grammar',
    wrong: 'accepts any number of signatures',
    overrides: { isSignatureList: (text) => text.length <= 4096 },
  },
  {
    check: 'sig-grammar',
    wrong: 'accepts signatures of any length',
    overrides: { isSignatureList: (text) => text.split(' ').length <= 10 },
  },
  {
    check: 'sig-window',
    wrong: 'accepts requests that are too old',
    overrides: { isFresh: (timestamp, now) => timestamp - now <= 300 },
  },
  {
    check: 'sig-window',
    wrong: 'accepts requests from the future',
    overrides: { isFresh: (timestamp, now) => now - timestamp <= 300 },
  },
  {
    check: 'sig-window',
    wrong: 'tolerates a clock difference of one minute only',
    overrides: { isFresh: (timestamp, now) => Math.abs(timestamp - now) <= 60 },
  },
  {
    check: 'sig-any',
    wrong: 'compares only the first signature',
    overrides: { entries: (text) => text.split(' ').slice(0, 1) },
  },
  {
    check: 'sig-any',
    wrong: 'compares only the last signature',
    overrides: { entries: (text) => text.split(' ').slice(-1) },
  },
  {
    check: 'sig-any',
    wrong: 'rejects a list with signatures of other versions',
    overrides: {
      entries: (text) =>
        text.split(' ').every((entry) => entry.startsWith('v1,')) ? text.split(' ') : [],
    },
  },
  {
    check: 'sig-any',
    wrong: 'ignores the version of a signature',
    overrides: { isEntry: (entry, right) => entry.split(',').at(-1) === right },
  },
  {
    check: 'sig-any',
    wrong: 'accepts a prefix of the signature',
    overrides: { isEntry: (entry, right) => entry.length > 3 && `v1,${right}`.startsWith(entry) },
  },
  {
    check: 'sig-subscription',
    wrong: 'does not compare the subscription of header and body',
    overrides: { isSameSubscription: yes },
  },
  {
    check: 'sig-subscription',
    wrong: 'accepts a request without the subscription header',
    overrides: {
      isSameSubscription: (header, { subscriptionId }) =>
        header === undefined || header === subscriptionId,
    },
  },
  {
    check: 'sig-refusal',
    wrong: 'answers a wrong signature with 403',
    overrides: status('signature', 403),
  },
  {
    check: 'sig-refusal',
    wrong: 'applies a delivery that it rejects',
    overrides: {
      beforeSignature: (message, { reader }) => {
        if (message?.params?.events?.[0]?.eventId.startsWith('refused-'))
          reader.apply(message.params);
      },
    },
  },
  {
    check: 'sig-rotation-receiver',
    wrong: 'forgets the old secret at once',
    overrides: { secretsOf: ({ secret }) => [secret] },
  },
  {
    check: 'sig-rotation-receiver',
    wrong: 'keeps the last two secrets only',
    overrides: { secretsOf: ({ secret, earlier }) => [secret, ...earlier.slice(0, 1)] },
  },
  {
    check: 'sig-rotation-receiver',
    wrong: 'accepts a new secret only after it forgot the old one',
    overrides: { secretsOf: ({ secret, earlier }) => earlier.slice(-1).concat(secret).slice(0, 1) },
  },
  {
    check: 'jws-jwks-origin',
    wrong: 'takes keys from any origin',
    overrides: { isKeyOrigin: yes },
  },
  {
    check: 'jws-jwks-origin',
    wrong: 'fetches keys from the jku of the header',
    overrides: {
      isHeader: isMember(['jku']),
      keysOf: async (registration, { jku }) => fetched(jku ?? registration.jwksUri),
    },
  },
  {
    check: 'jws-jwks-origin',
    wrong: 'fetches the jku of a header that it rejects',
    overrides: {
      isHeader: (header) => {
        if (header.jku) void fetch(header.jku);
        return RECEIVER.isHeader(header);
      },
    },
  },
  {
    check: 'jws-jwks-origin',
    wrong: 'accepts any key under a known kid',
    overrides: { verifies: yes },
  },
  {
    check: 'jws-no-header-keys',
    wrong: 'accepts the jwk of the header',
    overrides: {
      isHeader: isMember(['jwk']),
      keysOf: async ({ jwksUri }, { jwk }) => (jwk ? [jwk] : fetched(jwksUri)),
    },
  },
  {
    check: 'jws-no-header-keys',
    wrong: 'ignores a jku',
    overrides: { isHeader: isMember(['jku']) },
  },
  {
    check: 'jws-no-header-keys',
    wrong: 'ignores an x5c',
    overrides: { isHeader: isMember(['x5c']), verifies: yes },
  },
  {
    check: 'jws-verify',
    wrong: "accepts a request without the server's signature",
    overrides: { needsIdentity: () => false },
  },
  {
    check: 'jws-verify',
    wrong: 'ignores typ',
    overrides: { isJws: isJwsBut('typ', 'mcp-delivery+jws') },
  },
  {
    check: 'jws-verify',
    wrong: 'ignores alg',
    overrides: { isJws: isJwsBut('alg', 'EdDSA'), verifies: yes },
  },
  {
    check: 'jws-verify',
    wrong: 'rejects Ed25519',
    overrides: { isJws: (header) => header.alg === 'EdDSA' && RECEIVER.isJws(header) },
  },
  {
    check: 'jws-verify',
    wrong: 'ignores b64',
    overrides: { isJws: isJwsBut('b64', false) },
  },
  {
    check: 'jws-verify',
    wrong: 'ignores crit',
    overrides: { isJws: isJwsBut('crit', ['b64']) },
  },
  {
    check: 'jws-verify',
    wrong: 'ignores htm',
    overrides: { isJws: isJwsBut('htm', 'POST') },
  },
  {
    check: 'jws-verify',
    wrong: 'accepts unknown header members',
    overrides: { isHeader: isMember(['exp']) },
  },
  { check: 'jws-verify', wrong: 'ignores iat', overrides: { isInstant: yes } },
  { check: 'jws-verify', wrong: 'ignores iss', overrides: { isServer: yes } },
  {
    check: 'jws-verify',
    wrong: 'accepts a signature without iss',
    overrides: {
      isHeader: (header) => RECEIVER.isHeader({ iss: '', ...header }),
      isServer: (iss, registration) => iss === undefined || RECEIVER.isServer(iss, registration),
    },
  },
  {
    check: 'jws-verify',
    wrong: 'compares only the origin of iss',
    overrides: {
      isServer: (iss, { audience }) => new URL(iss).origin === new URL(audience).origin,
    },
  },
  { check: 'jws-verify', wrong: 'ignores origin', overrides: { isOrigin: yes } },
  { check: 'jws-verify', wrong: 'ignores uh', overrides: { isUrl: yes } },
  { check: 'jws-verify', wrong: 'ignores sub', overrides: { isSubject: yes } },
  {
    check: 'jws-verify',
    wrong: "does not verify the server's signature",
    overrides: { verifies: yes },
  },
  {
    check: 'jws-refusal',
    wrong: 'answers a wrong server signature with 403',
    overrides: status('identity', 403),
  },
  {
    check: 'jws-unknown-kid',
    wrong: 'fetches the key set for every request',
    overrides: { keysOf: ({ jwksUri }) => fetched(jwksUri) },
  },
  {
    check: 'jws-refusal',
    wrong: 'answers 401 while the keys cannot be fetched',
    overrides: {
      keysOf: (registration, header) => RECEIVER.keysOf(registration, header).catch(() => []),
    },
  },
  {
    check: 'jws-unknown-kid',
    wrong: 'rejects an unknown kid without fetching the key set again',
    overrides: {
      keysOf: async (registration, header) =>
        registration.known?.keys ?? (await RECEIVER.keysOf(registration, header)),
    },
  },
  {
    check: 'jws-after-hmac',
    wrong: 'fetches the key set before it verifies the webhook signature',
    overrides: {
      beforeSignature: (_message, { jwksUri }) => {
        if (jwksUri) void fetched(jwksUri).catch(() => undefined);
      },
    },
  },
  {
    check: 'end-receiver',
    wrong: 'rejects a repeated termination notice',
    overrides: { isRepeatedEnd: () => false },
  },
  {
    check: 'curl-alg',
    wrong: 'accepts unsigned tokens',
    overrides: {
      verifiesToken: (header, ...rest) =>
        header.alg === 'none' || RECEIVER.verifiesToken(header, ...rest),
    },
  },
  {
    check: 'curl-alg',
    wrong: 'ignores alg',
    overrides: {
      verifiesToken: (header, ...rest) =>
        RECEIVER.verifiesToken({ ...header, alg: 'EdDSA' }, ...rest),
    },
  },
  {
    check: 'curl-alg',
    wrong: 'accepts HS256 under an empty key',
    overrides: {
      verifiesToken: (header, input, signature, key) =>
        header.alg === 'HS256'
          ? createHmac('sha256', '').update(input).digest().equals(signature)
          : RECEIVER.verifiesToken(header, input, signature, key),
    },
  },
  {
    check: 'curl-alg',
    wrong: 'mints with another alg',
    overrides: {
      mintAlg: 'ES256',
      verifiesToken: (header, ...rest) =>
        RECEIVER.verifiesToken(
          { ...header, alg: header.alg === 'ES256' ? 'EdDSA' : header.alg },
          ...rest,
        ),
    },
  },
  { check: 'curl-alg', wrong: 'accepts tokens of any type', overrides: { isTokenType: yes } },
  {
    check: 'curl-alg',
    wrong: 'accepts tokens without a type',
    overrides: { isTokenType: (typ) => typ === undefined || RECEIVER.isTokenType(typ) },
  },
  { check: 'curl-claims', wrong: 'ignores iss', overrides: { isIssuer: yes } },
  { check: 'curl-claims', wrong: 'ignores exp', overrides: { isInTime: yes } },
  { check: 'curl-claims', wrong: 'ignores htp', overrides: { isPath: yes } },
  { check: 'curl-body', wrong: 'does not compare the key', overrides: { isKey: yes } },
  {
    check: 'curl-aud',
    wrong: 'looks up the secret by the key alone',
    overrides: {
      find: (registrations, { sub }) => [...registrations.values()].find(({ key }) => key === sub),
    },
  },
  { check: 'curl-refusal', wrong: 'answers a wrong URL with 400', overrides: status('url', 400) },
  {
    check: 'curl-not-instead',
    wrong: 'accepts a valid URL without a signature',
    overrides: { needsSignature: false },
  },
  {
    check: 'cbv-receiver',
    wrong: 'answers a challenge before it verifies the signature',
    overrides: {
      beforeSignature: (message, { secret }) =>
        message?.params?.challenge
          ? {
              status: 200,
              body: {
                challenge: message.params.challenge,
                proof: proof(secret, message.params.challenge),
              },
            }
          : undefined,
    },
  },
  {
    check: 'cbv-receiver',
    wrong: 'answers a challenge in a whole delivery only',
    overrides: { canRead: ({ events }) => Array.isArray(events) },
  },
  {
    check: 'cbv-receiver',
    wrong: 'answers a challenge without a proof',
    overrides: {
      beforeSignature: (message) =>
        message?.params?.challenge ? { status: 200, body: {} } : undefined,
    },
  },
  {
    check: 'ans-receiver-ack',
    wrong: 'acknowledges beyond the delivery',
    overrides: {
      answered: (ack, { head }) => ({ status: 200, body: { ackSequence: Math.max(ack, head) } }),
    },
  },
  {
    check: 'ans-receiver-ack',
    wrong: 'answers 204',
    overrides: { answered: () => ({ status: 204 }) },
  },
  {
    check: 'ans-receiver-ack',
    wrong: 'answers 202',
    overrides: { answered: (ack) => ({ status: 202, body: { ackSequence: ack } }) },
  },
  {
    check: 'ans-receiver-ack',
    wrong: 'acknowledges the number of events',
    overrides: {
      answered: (_ack, { events }) => ({ status: 200, body: { ackSequence: events.length } }),
    },
  },
  {
    check: 'recv-left-epoch',
    wrong: 'remembers the last eight epochs only',
    overrides: { isLeft: (epoch, left) => left.slice(-8).includes(epoch) },
  },
  {
    check: 'ans-receiver-missing',
    wrong: 'answers missing sequence numbers with 409',
    overrides: status('missing', 409),
  },
  {
    check: 'ans-receiver-malformed',
    wrong: 'answers a malformed body with 422',
    overrides: status('malformed', 422),
  },
  {
    check: 'ans-receiver-unknown',
    wrong: 'answers an unknown subscription with 403',
    overrides: status('unknown', 403),
  },
];

/** The faults by name, which consists of the requirement and the description. */
export const faults = byName([...READER_FAULTS, ...ROWS]);
