// How the minimal receiver can be wrong: each row replaces decisions of it so that one requirement is broken. `check` is the requirement without
// prefix, `wrong` says in a few words what is wrong.
import { createHmac } from 'node:crypto';
import { RECEIVER } from '../../minimal-receiver.mjs';

const DELIVERY = new Set([
  'subscriptionId',
  'key',
  'epoch',
  'after',
  'events',
  'gaps',
  'head',
  'acked',
  'etag',
  'status',
  'expiresAt',
  'challenge',
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
    .join() === 'alg,b64,crit,htm,iat,kid,origin,sub,typ,uh';
/** Whether the header says this, apart from one member. */
const isJwsBut = (name, value) => (header) => RECEIVER.isJws({ ...header, [name]: value });
const had = new Set();
const isFirst = ({ eventId }) => had.size < had.add(eventId).size;
const fetched = async (uri) => (await (await fetch(uri)).json()).keys;

const ROWS = [
  {
    check: 'gen-ignore-unknown',
    wrong: 'refuses a delivery with a member that it does not know',
    how: { canRead: (delivery) => Object.keys(delivery).every((name) => DELIVERY.has(name)) },
  },
  {
    check: 'ack-client-durable',
    wrong: 'stores after it has acknowledged',
    how: { stores: false },
  },
  {
    check: 'dlv-repeat',
    wrong: 'refuses what it had',
    how: { canRead: ({ events }) => events.filter(isFirst).length === events.length },
  },
  { check: 'recv-duplicate', wrong: 'applies a number twice', how: { isDuplicate: () => false } },
  { check: 'recv-missing', wrong: 'jumps over missing numbers', how: { isMissing: () => false } },
  {
    check: 'recv-epoch',
    wrong: 'does not tell that the log was lost',
    how: { tells: ({ applied }) => applied !== 'lost' },
  },
  {
    check: 'recv-epoch-repeat',
    wrong: 'applies renumbered events again',
    how: { isRepeated: () => false },
  },
  {
    check: 'recv-left-epoch',
    wrong: 'goes back to an epoch that it has left',
    how: { isLeft: () => false },
  },
  {
    check: 'sig-raw-bytes',
    wrong: 'verifies what it has parsed and written again',
    how: {
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
    wrong: 'looks at the body first',
    how: {
      beforeSignature: (message) =>
        message?.params?.subscriptionId === undefined ? { status: 400 } : undefined,
    },
  },
  {
    check: 'sig-verify-first',
    wrong: 'lets the end of a subscription through',
    how: {
      beforeSignature: (message, { reader }) => {
        if (message?.params?.terminated) reader.ended = true;
      },
    },
  },
  {
    check: 'sig-verify-first',
    wrong: 'takes note of a new epoch before it is verified',
    how: {
      beforeSignature: (message, { reader }) => {
        if (reader.applied && message?.params?.epoch === 'another-epoch-000000')
          reader.lose(message.params.epoch);
      },
    },
  },
  { check: 'sig-grammar', wrong: 'takes any webhook-id', how: { isId: yes } },
  {
    check: 'sig-grammar',
    wrong: 'takes a webhook-id of any length',
    how: { isId: (id) => /^[A-Za-z0-9_-]+$/.test(id) },
  },
  {
    check: 'sig-grammar',
    wrong: 'takes any number for a timestamp',
    how: { isTimestamp: (timestamp) => Number.isFinite(Number(timestamp)) },
  },
  {
    check: 'sig-grammar',
    wrong: 'takes a timestamp of any length',
    how: { isTimestamp: (timestamp) => /^[0-9]+$/.test(timestamp) },
  },
  {
    check: 'sig-grammar',
    wrong: 'takes any number of signatures',
    how: { isSignatureList: (text) => text.length <= 4096 },
  },
  {
    check: 'sig-grammar',
    wrong: 'takes signatures of any length',
    how: { isSignatureList: (text) => text.split(' ').length <= 10 },
  },
  {
    check: 'sig-window',
    wrong: 'takes requests that are too old',
    how: { isFresh: (timestamp, now) => timestamp - now <= 300 },
  },
  {
    check: 'sig-window',
    wrong: 'takes requests from the future',
    how: { isFresh: (timestamp, now) => now - timestamp <= 300 },
  },
  {
    check: 'sig-window',
    wrong: 'tolerates no clock that differs',
    how: { isFresh: (timestamp, now) => Math.abs(timestamp - now) <= 60 },
  },
  {
    check: 'sig-any',
    wrong: 'looks at the first signature only',
    how: { entries: (text) => text.split(' ').slice(0, 1) },
  },
  {
    check: 'sig-any',
    wrong: 'looks at the last signature only',
    how: { entries: (text) => text.split(' ').slice(-1) },
  },
  {
    check: 'sig-any',
    wrong: 'refuses signatures of other versions',
    how: {
      entries: (text) =>
        text.split(' ').every((entry) => entry.startsWith('v1,')) ? text.split(' ') : [],
    },
  },
  {
    check: 'sig-any',
    wrong: 'does not look at the version',
    how: { isEntry: (entry, right) => entry.split(',').at(-1) === right },
  },
  {
    check: 'sig-any',
    wrong: 'compares as far as it is given',
    how: { isEntry: (entry, right) => entry.length > 3 && `v1,${right}`.startsWith(entry) },
  },
  {
    check: 'sig-subscription',
    wrong: 'does not compare the subscription in header and body',
    how: { isSameSubscription: yes },
  },
  {
    check: 'sig-subscription',
    wrong: 'does without the header',
    how: {
      isSameSubscription: (header, { subscriptionId }) =>
        header === undefined || header === subscriptionId,
    },
  },
  { check: 'sig-refusal', wrong: 'refuses signatures with 403', how: status('signature', 403) },
  {
    check: 'sig-refusal',
    wrong: 'refuses signatures and applies',
    how: {
      beforeSignature: (message, { reader }) => {
        if (message?.params?.events?.[0]?.eventId.startsWith('refused-'))
          reader.apply(message.params);
      },
    },
  },
  {
    check: 'jws-jwks-origin',
    wrong: 'fetches keys from where the header says',
    how: {
      isHeader: isMember(['jku']),
      keysOf: async (registration, { jku }) => fetched(jku ?? registration.jwksUri),
    },
  },
  {
    check: 'jws-jwks-origin',
    wrong: 'looks at what the header names before it refuses',
    how: {
      isHeader: (header) => {
        if (header.jku) void fetch(header.jku);
        return RECEIVER.isHeader(header);
      },
    },
  },
  { check: 'jws-jwks-origin', wrong: 'takes any key under a known kid', how: { verifies: yes } },
  {
    check: 'jws-no-header-keys',
    wrong: 'takes the key in the header',
    how: {
      isHeader: isMember(['jwk']),
      keysOf: async ({ jwksUri }, { jwk }) => (jwk ? [jwk] : fetched(jwksUri)),
    },
  },
  { check: 'jws-no-header-keys', wrong: 'ignores a jku', how: { isHeader: isMember(['jku']) } },
  {
    check: 'jws-no-header-keys',
    wrong: 'ignores an x5c',
    how: { isHeader: isMember(['x5c']), verifies: yes },
  },
  {
    check: 'jws-verify',
    wrong: 'does without the signature of the server',
    how: { needsIdentity: () => false },
  },
  {
    check: 'jws-verify',
    wrong: 'does not look at typ',
    how: { isJws: isJwsBut('typ', 'mcp-delivery+jws') },
  },
  {
    check: 'jws-verify',
    wrong: 'does not look at alg',
    how: { isJws: isJwsBut('alg', 'EdDSA'), verifies: yes },
  },
  {
    check: 'jws-verify',
    wrong: 'refuses Ed25519',
    how: { isJws: (header) => header.alg === 'EdDSA' && RECEIVER.isJws(header) },
  },
  { check: 'jws-verify', wrong: 'does not look at b64', how: { isJws: isJwsBut('b64', false) } },
  {
    check: 'jws-verify',
    wrong: 'does not look at crit',
    how: { isJws: isJwsBut('crit', ['b64']) },
  },
  { check: 'jws-verify', wrong: 'does not look at htm', how: { isJws: isJwsBut('htm', 'POST') } },
  { check: 'jws-verify', wrong: 'takes further members', how: { isHeader: isMember(['exp']) } },
  { check: 'jws-verify', wrong: 'does not look at iat', how: { isInstant: yes } },
  { check: 'jws-verify', wrong: 'does not look at origin', how: { isOrigin: yes } },
  { check: 'jws-verify', wrong: 'does not look at uh', how: { isUrl: yes } },
  { check: 'jws-verify', wrong: 'does not look at sub', how: { isSubject: yes } },
  { check: 'jws-verify', wrong: 'does not verify it', how: { verifies: yes } },
  { check: 'jws-refusal', wrong: 'refuses a server with 403', how: status('identity', 403) },
  {
    check: 'jws-unknown-kid',
    wrong: 'fetches the key set for every request',
    how: { keysOf: ({ jwksUri }) => fetched(jwksUri) },
  },
  {
    check: 'curl-alg',
    wrong: 'takes tokens without a signature',
    how: {
      verifiesToken: (header, ...rest) =>
        header.alg === 'none' || RECEIVER.verifiesToken(header, ...rest),
    },
  },
  {
    check: 'curl-alg',
    wrong: 'does not look at alg',
    how: {
      verifiesToken: (header, ...rest) =>
        RECEIVER.verifiesToken({ ...header, alg: 'EdDSA' }, ...rest),
    },
  },
  {
    check: 'curl-alg',
    wrong: 'takes HS256 under an empty key',
    how: {
      verifiesToken: (header, input, signature, key) =>
        header.alg === 'HS256'
          ? createHmac('sha256', '').update(input).digest().equals(signature)
          : RECEIVER.verifiesToken(header, input, signature, key),
    },
  },
  {
    check: 'curl-alg',
    wrong: 'mints with another alg',
    how: {
      mintAlg: 'ES256',
      verifiesToken: (header, ...rest) =>
        RECEIVER.verifiesToken(
          { ...header, alg: header.alg === 'ES256' ? 'EdDSA' : header.alg },
          ...rest,
        ),
    },
  },
  { check: 'curl-typ', wrong: 'takes tokens of any type', how: { isTokenType: yes } },
  {
    check: 'curl-typ',
    wrong: 'takes tokens without a type',
    how: { isTokenType: (typ) => typ === undefined || RECEIVER.isTokenType(typ) },
  },
  { check: 'curl-claims', wrong: 'does not look at iss', how: { isIssuer: yes } },
  { check: 'curl-claims', wrong: 'does not look at exp', how: { isInTime: yes } },
  { check: 'curl-claims', wrong: 'does not look at htp', how: { isPath: yes } },
  { check: 'curl-body', wrong: 'does not compare the key', how: { isKey: yes } },
  {
    check: 'curl-aud',
    wrong: 'finds the secret by the key alone',
    how: {
      find: (registrations, { sub }) => [...registrations.values()].find(({ key }) => key === sub),
    },
  },
  { check: 'curl-refusal', wrong: 'refuses URLs with 400', how: status('url', 400) },
  {
    check: 'curl-not-instead',
    wrong: 'takes a good URL for a signature',
    how: { needsSignature: false },
  },
  {
    check: 'cbv-receiver',
    wrong: 'answers every challenge',
    how: {
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
    wrong: "proves with its answer's status only",
    how: {
      beforeSignature: (message) =>
        message?.params?.challenge ? { status: 200, body: {} } : undefined,
    },
  },
  {
    check: 'ans-receiver-ack',
    wrong: 'acknowledges everything that it has applied',
    how: { answered: (ack, { head }) => ({ status: 200, body: { ack: Math.max(ack, head) } }) },
  },
  { check: 'ans-receiver-ack', wrong: 'answers 204', how: { answered: () => ({ status: 204 }) } },
  {
    check: 'ans-receiver-ack',
    wrong: 'answers 202',
    how: { answered: (ack) => ({ status: 202, body: { ack } }) },
  },
  {
    check: 'ans-receiver-ack',
    wrong: 'counts events, not numbers',
    how: { answered: (_ack, { events }) => ({ status: 200, body: { ack: events.length } }) },
  },
  {
    check: 'ans-receiver-missing',
    wrong: 'refuses missing numbers with 409',
    how: status('missing', 409),
  },
  {
    check: 'ans-receiver-malformed',
    wrong: 'refuses bodies with 422',
    how: status('malformed', 422),
  },
  {
    check: 'ans-receiver-unknown',
    wrong: 'refuses unknown subscriptions with 403',
    how: status('unknown', 403),
  },
];

/** By name: the requirement and what is wrong. */
export const ways = Object.fromEntries(ROWS.map((row) => [`${row.check}: ${row.wrong}`, row]));
