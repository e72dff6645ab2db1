// A correct callback receiver of the extension in plain JavaScript, without dependencies: signed
// URLs, both signatures, challenges, and one log for each pair of server and key. As a program it
// also serves the control interface of `docs/conformance.md` and prints its address.
// `broken/receiver/faults.mjs` holds its faults.
import {
  createHash,
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  randomUUID,
  sign,
  timingSafeEqual,
  verify,
} from 'node:crypto';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';
import { lastOf, READER, Reader } from './minimal-reader.mjs';

const METHOD = 'notifications/triggers/delivery';
const TOLERANCE_S = 300;
const JWKS_DEADLINE_MS = 10_000;
const JWKS_BYTES_MAX = 65_536;
const JWS_MEMBERS = [
  'alg',
  'b64',
  'crit',
  'htm',
  'iat',
  'iss',
  'kid',
  'origin',
  'sub',
  'typ',
  'uh',
];
const sha256 = (text) => createHash('sha256').update(text).digest('base64url');
const seconds = () => Date.now() / 1000;
const hmac = (secret, content) =>
  createHmac('sha256', Buffer.from(secret.slice(6), 'base64'))
    .update(content)
    .digest('base64');
const newSecret = () => `whsec_${randomBytes(32).toString('base64')}`;
const same = (a, b) => a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
const jsonOf = (bytes) => {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
};
const decode = (segment = '') => jsonOf(Buffer.from(segment, 'base64url'));
const isNumber = (n) => Number.isSafeInteger(n) && n >= 0;

/**
 * The keys of a registration's server. For an unknown `kid`, fetches them again, at most once per
 * minute; until then it is undecided, and an error.
 */
async function keySet(registration, kid) {
  const { known, jwksUri } = registration;
  if (known?.keys.some((key) => key.kid === kid)) return known.keys;
  if (known && seconds() - known.fetchedAt < 60) throw new Error('the key may be newer');
  const signal = AbortSignal.timeout(JWKS_DEADLINE_MS);
  const response = await fetch(jwksUri, { signal, redirect: 'error' });
  const chunks = [];
  let bytes = 0;
  for await (const chunk of response.body) {
    if ((bytes += chunk.length) > JWKS_BYTES_MAX) throw new Error('the key set is too large');
    chunks.push(chunk);
  }
  const { keys } = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  registration.known = { keys, fetchedAt: seconds() };
  return keys;
}

/** Every decision that a receiver can get wrong. */
export const RECEIVER = {
  ...READER,
  status: {
    signature: 401,
    identity: 401,
    url: 401,
    unknown: 404,
    malformed: 400,
    missing: 503,
    left: 409,
    ended: 409,
  },
  /** An answer before the signatures are verified: a correct receiver sends none. */
  beforeSignature: (_message, _registration) => undefined,
  isId: (id) => /^[A-Za-z0-9_-]{1,128}$/.test(id),
  isTimestamp: (timestamp) => /^[0-9]{1,12}$/.test(timestamp),
  isSignatureList: (text) => text.split(' ').length <= 10 && text.length <= 4096,
  isFresh: (timestamp, now) => Math.abs(timestamp - now) <= TOLERANCE_S,
  signed: (raw) => raw,
  entries: (text) => text.split(' '),
  secretsOf: ({ secret, earlier }) => [secret, ...earlier],
  isEntry: (entry, right) => same(entry, `v1,${right}`),
  isSameSubscription: (header, delivery) => header === delivery.subscriptionId,
  needsSignature: true,
  /* the token in the URL */
  mintAlg: 'EdDSA',
  verifiesToken: ({ alg }, input, signature, key) =>
    (alg === 'EdDSA' || alg === 'Ed25519') && verify(null, input, key, signature),
  isTokenType: (typ) => typ === 'mcp-callback+jwt',
  isIssuer: (iss, own) => iss === own,
  isInTime: (exp) => exp > seconds(),
  isPath: (htp, path) => htp === path,
  isKey: (sub, delivery) => sub === delivery.key,
  find: (registrations, { aud, sub }) => registrations.get(JSON.stringify([aud, sub])),
  /* the server's signature */
  needsIdentity: (registration) => registration.jwksUri !== undefined,
  isHeader: (header) => Object.keys(header).sort().join() === JWS_MEMBERS.join(),
  isJws: ({ typ, alg, b64, crit, htm }) =>
    typ === 'mcp-delivery+jws' &&
    ['EdDSA', 'Ed25519'].includes(alg) &&
    b64 === false &&
    JSON.stringify(crit) === '["b64"]' &&
    htm === 'POST',
  isInstant: (iat) => Number.isInteger(iat) && Math.abs(iat - seconds()) <= TOLERANCE_S,
  isServer: (iss, { audience }) => iss === audience,
  isOrigin: (origin, url) => origin === new URL(url).origin,
  isUrl: (uh, url) => uh === sha256(url),
  isSubject: (sub, subscriptionId) => sub === subscriptionId,
  isKeyOrigin: (jwksUri, audience) => new URL(jwksUri).origin === new URL(audience).origin,
  keysOf: (registration, { kid }) => keySet(registration, kid),
  verifies: (input, key, signature) => verify(null, input, key, signature),
  /* the answer */
  canRead: (_delivery) => true,
  answered: (ackSequence, _delivery) => ({ status: 200, body: { ackSequence } }),
  /** Whether the applied position is stored before it is acknowledged. */
  stores: true,
};

/** A rejected request; `why` selects the status of the answer. */
class Refused extends Error {
  constructor(why) {
    super(why);
    this.why = why;
  }
}
const demand = (condition, why) => {
  if (!condition) throw new Refused(why);
};

const areTexts = (...values) => values.every((value) => typeof value === 'string');
const isChallenge = (d) => areTexts(d?.subscriptionId, d?.key, d?.challenge);
const isDelivery = (d) =>
  areTexts(d?.subscriptionId, d?.key, d?.epoch, d?.etag) &&
  [d.afterSequence, d.head, d.acked].every(isNumber) &&
  Array.isArray(d.events) &&
  d.events.every((event) => isNumber(event?.sequence)) &&
  (d.gaps ?? []).every((gap) => isNumber(gap?.from) && isNumber(gap?.to)) &&
  lastOf(d) <= d.head;

export class Receiver {
  #registrations = new Map();
  #keys = generateKeyPairSync('ed25519');
  #server = createServer((request, response) => void this.#serve(request, response));
  #disk = '[]';

  /** `reader` serves all registrations; without it, each registration has its own. */
  constructor({ reader, decisions = RECEIVER, onMissing = () => {} } = {}) {
    Object.assign(this, { reader, decisions, onMissing });
  }

  async listen(port = 0) {
    await new Promise((done) => this.#server.listen(port, '127.0.0.1', done));
    this.origin = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  close() {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /**
   * The callback to pass to `triggers/subscribe`, with the same key. `audience` is the resource URI of
   * the server: the \`aud\` of the token in the URL, and the \`iss\` of the server's signatures.
   */
  register({ audience, key, jwksUri }) {
    const iat = Math.floor(seconds());
    const token = this.mint(
      { typ: 'mcp-callback+jwt', alg: this.decisions.mintAlg, kid: '1' },
      {
        iss: this.origin,
        aud: audience,
        sub: key,
        htp: '/callback',
        exp: iat + 86_400,
        iat,
        jti: randomUUID(),
      },
    );
    const registration = {
      audience,
      key,
      jwksUri,
      url: `${this.origin}/callback?cb=${token}`,
      secret: newSecret(),
      earlier: [],
      items: [],
    };
    registration.reader = this.reader ?? this.#readerOf(registration);
    this.#registrations.set(JSON.stringify([audience, key]), registration);
    this.#store();
    return { url: registration.url, secret: registration.secret };
  }

  /**
   * Makes a new secret. The earlier ones stay valid: a receiver that forgets them has to wait until
   * the server has used a later one for five minutes.
   */
  rotate({ audience, key }) {
    const registration = this.#registrations.get(JSON.stringify([audience, key]));
    registration.earlier = [registration.secret, ...registration.earlier];
    registration.secret = newSecret();
    this.#store();
    return { url: registration.url, secret: registration.secret };
  }

  forget({ audience, key }) {
    this.#registrations.delete(JSON.stringify([audience, key]));
  }
  applied({ audience, key }) {
    return this.#registrations.get(JSON.stringify([audience, key]))?.items ?? [];
  }

  /** A compact JWS with any content, signed by this receiver. */
  mint(header, claims) {
    const input = [header, claims]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.');
    return `${input}.${sign(null, Buffer.from(input), this.#keys.privateKey).toString('base64url')}`;
  }

  /** Simulates a crash and a restart: keeps only what was stored. */
  restart() {
    this.#registrations = new Map(
      JSON.parse(this.#disk).map(([name, { applied, left, seen, ended, ...registration }]) => {
        registration.reader = Object.assign(this.#readerOf(registration), {
          applied,
          left,
          seen: new Set(seen),
          ended,
        });
        return [name, registration];
      }),
    );
  }

  #readerOf(registration) {
    return new Reader((line) => registration.items.push(line), this.decisions);
  }

  #store() {
    if (this.reader) return;
    this.#disk = JSON.stringify(
      [...this.#registrations].map(
        ([
          name,
          {
            reader: { applied, left, seen, ended },
            ...rest
          },
        ]) => [name, { ...rest, applied, left, seen: [...seen], ended }],
      ),
    );
  }

  async #serve(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { status, body } = await this.#answer(request, Buffer.concat(chunks)).catch((error) => ({
      status: error instanceof Refused ? this.decisions.status[error.why] : 503,
    }));
    response
      .writeHead(status, { 'content-type': 'application/json' })
      .end(body === undefined ? '' : JSON.stringify(body));
  }

  async #answer({ method, url, headers }, raw) {
    const { decisions } = this;
    if (method !== 'POST') return { status: 405 };
    const claims = this.#open(new URL(url, this.origin));
    const registration = decisions.find(this.#registrations, claims);
    demand(registration, 'unknown');
    const message = jsonOf(raw);
    const early = decisions.beforeSignature(message, registration);
    if (early) return early;
    const secret = decisions.needsSignature
      ? this.#verifySignature(headers, raw, registration)
      : registration.secret;
    const subscriptionId = headers['mcp-subscription-id'];
    if (decisions.needsIdentity(registration))
      await this.#verifyIdentity(
        headers['mcp-delivery-signature'],
        raw,
        registration,
        subscriptionId,
      );
    const delivery = message?.params;
    demand(
      message?.method === METHOD &&
        (isChallenge(delivery) || isDelivery(delivery)) &&
        decisions.canRead(delivery),
      'malformed',
    );
    demand(decisions.isSameSubscription(subscriptionId, delivery), 'signature');
    demand(decisions.isKey(claims.sub, delivery), 'url');
    if (delivery.challenge !== undefined)
      return {
        status: 200,
        body: {
          challenge: delivery.challenge,
          proof: hmac(secret, `challenge.${delivery.challenge}`),
        },
      };
    const { ackSequence, refused } = registration.reader.apply(delivery);
    if (refused === 'missing') this.onMissing(delivery);
    demand(refused === undefined, refused);
    if (decisions.stores) this.#store();
    return decisions.answered(ackSequence, delivery);
  }

  /** The claims of the token in the URL. Throws unless the token is valid. */
  #open({ pathname, searchParams }) {
    const { decisions } = this;
    const [header, payload, signature = '', ...rest] = (searchParams.get('cb') ?? '').split('.');
    const [protectedHeader, claims] = [decode(header), decode(payload)];
    demand(protectedHeader && claims && rest.length === 0, 'url');
    demand(
      decisions.verifiesToken(
        protectedHeader,
        Buffer.from(`${header}.${payload}`),
        Buffer.from(signature, 'base64url'),
        this.#keys.publicKey,
      ),
      'url',
    );
    demand(
      decisions.isTokenType(protectedHeader.typ) &&
        decisions.isIssuer(claims.iss, this.origin) &&
        decisions.isInTime(claims.exp) &&
        decisions.isPath(claims.htp, pathname),
      'url',
    );
    return claims;
  }

  #verifySignature(
    { 'webhook-id': id = '', 'webhook-timestamp': timestamp = '', 'webhook-signature': list = '' },
    raw,
    registration,
  ) {
    const { decisions } = this;
    demand(
      decisions.isId(id) && decisions.isTimestamp(timestamp) && decisions.isSignatureList(list),
      'signature',
    );
    demand(decisions.isFresh(Number(timestamp), seconds()), 'signature');
    const content = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), decisions.signed(raw)]);
    const secret = decisions.secretsOf(registration).find((one) => {
      const right = hmac(one, content);
      return decisions.entries(list).some((entry) => decisions.isEntry(entry, right));
    });
    demand(secret, 'signature');
    return secret;
  }

  async #verifyIdentity(token = '', raw, registration, subscriptionId) {
    const { decisions } = this;
    const [encoded, payload, signature = '', ...rest] = token.split('.');
    const header = decode(encoded);
    demand(
      header &&
        payload === '' &&
        rest.length === 0 &&
        decisions.isHeader(header) &&
        decisions.isJws(header),
      'identity',
    );
    demand(
      decisions.isInstant(header.iat) &&
        decisions.isServer(header.iss, registration) &&
        decisions.isOrigin(header.origin, registration.url) &&
        decisions.isUrl(header.uh, registration.url) &&
        decisions.isSubject(header.sub, subscriptionId),
      'identity',
    );
    const { jwksUri, audience } = registration;
    if (!decisions.isKeyOrigin(jwksUri, audience)) throw new Error('keys of another origin');
    const jwk = (await decisions.keysOf(registration, header)).find(
      ({ kid, kty, crv }) => kid === header.kid && kty === 'OKP' && crv === 'Ed25519',
    );
    demand(jwk, 'identity');
    demand(
      decisions.verifies(
        Buffer.concat([Buffer.from(`${encoded}.`), raw]),
        createPublicKey({ key: jwk, format: 'jwk' }),
        Buffer.from(signature, 'base64url'),
      ),
      'identity',
    );
  }
}

/* ------------------------------------------------------------ the control interface, and the program */

/** Starts a receiver and its control interface on loopback ports, with one registration. */
export async function serve(decisions = RECEIVER) {
  const receiver = await new Receiver({ decisions }).listen();
  const verbs = {
    register: (params) => receiver.register(params),
    rotate: (params) => receiver.rotate(params),
    forget: (params) => (receiver.forget(params), {}),
    applied: (params) => ({ items: receiver.applied(params) }),
    restart: () => (receiver.restart(), {}),
    mint: ({ header, claims }) => ({ token: receiver.mint(header, claims) }),
  };
  const server = createServer((request, response) => {
    const chunks = [];
    request
      .on('data', (chunk) => chunks.push(chunk))
      .on('end', () => {
        const { do: verb, ...params } =
          request.method === 'GET' ? {} : JSON.parse(Buffer.concat(chunks));
        const answer =
          request.method === 'GET'
            ? { verbs: Object.keys(verbs) }
            : Object.hasOwn(verbs, verb) && verbs[verb](params);
        const unknown = {
          error: 'unknown_verb',
          message: `This verb is not known. Use one of: ${Object.keys(verbs).join(', ')}.`,
        };
        response
          .writeHead(answer ? 200 : 400, { 'content-type': 'application/json' })
          .end(JSON.stringify(answer || unknown));
      });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { url, secret } = receiver.register({
    audience: 'https://mcp.example.com/mcp',
    key: 'conformance',
  });
  const close = () => {
    receiver.close();
    server.closeAllConnections();
    server.close();
  };
  return { url, secret, control: `http://127.0.0.1:${server.address().port}/`, close };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { url, secret, control } = await serve();
  process.stdout.write(`${JSON.stringify({ url, secret, control })}\n`);
}
