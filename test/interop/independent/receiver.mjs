// A callback receiver implemented from sep/0000-triggers.md alone, on node:http. It verifies both
// signatures over the raw bytes, answers challenges with a proof, applies, and acknowledges
// explicitly. Names in square brackets are requirement ids of the SEP.
import { createHash, createHmac, createPublicKey, timingSafeEqual, verify } from 'node:crypto';
import { createServer } from 'node:http';
import { lastOf } from './client.mjs';

const TOLERANCE_S = 300;
const MAX_BODY = 262_144; // [cb-body-limit]
const METHOD = 'notifications/triggers/delivery';
const HEADER_MEMBERS = [
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

/** A request that is not authentic: 401, and nothing is applied [sig-refusal] [jws-refusal]. */
class Refused extends Error {}
const demand = (condition, why) => {
  if (!condition) throw new Refused(why);
};
const sha256 = (text) => createHash('sha256').update(text).digest('base64url');
/** [sig-constant-time] */
const same = (a, b) => a.length === b.length && timingSafeEqual(a, b);

/**
 * The bytes of `text` if it is exactly how this encoding writes them; rejects other alphabets,
 * missing padding and stray bits.
 */
function exactBytes(text, encoding) {
  const bytes = Buffer.from(text, encoding);
  return bytes.toString(encoding) === text ? bytes : undefined;
}

/** The HMAC key: standard base64 of 24 to 64 bytes after `whsec_`. */
function secretBytes(secret) {
  const bytes = secret.startsWith('whsec_') ? exactBytes(secret.slice(6), 'base64') : undefined;
  if (bytes === undefined || bytes.length < 24 || bytes.length > 64)
    throw new Refused('the secret is malformed');
  return bytes;
}

/** The proof of a challenge: "Verification", step 2. */
const proofOf = (secret, challenge) =>
  createHmac('sha256', secretBytes(secret)).update(`challenge.${challenge}`).digest('base64');

/** Step 3, as a server does it: is this answer the proof? [cbv-proof] */
export const isProof = (secret, challenge, answer) =>
  answer?.challenge === challenge &&
  typeof answer.proof === 'string' &&
  same(Buffer.from(answer.proof), Buffer.from(proofOf(secret, challenge)));

/** "Message identity" [cb-id-range]. */
export const webhookId = ({ subscriptionId, epoch, afterSequence, last, gaps = [] }) =>
  `msg_${sha256([subscriptionId, epoch, afterSequence, last, gaps.map((g) => `${g.from}-${g.to}`).join(',')].join('\n')).slice(0, 32)}`;

/**
 * "Signature": the secret under which one of the entries verifies; throws if no entry does. `body`
 * is the raw bytes [sig-raw-bytes].
 */
export function verifyWebhook({ headers, body, secrets, nowMs }) {
  const {
    'webhook-id': id = '',
    'webhook-timestamp': timestamp = '',
    'webhook-signature': signature = '',
  } = headers;
  const entries = signature.split(' ');
  demand(/^[A-Za-z0-9_-]{1,128}$/.test(id), 'webhook-id'); // [sig-grammar]
  demand(/^[0-9]{1,12}$/.test(timestamp), 'webhook-timestamp');
  demand(entries.length <= 10 && Buffer.byteLength(signature) <= 4096, 'webhook-signature');
  demand(
    Math.abs(Number(timestamp) - nowMs / 1000) <= TOLERANCE_S,
    'the timestamp is outside the window',
  ); // [sig-window]
  const secret = secrets.find((candidate) => {
    const mac = createHmac('sha256', secretBytes(candidate))
      .update(`${id}.${timestamp}.`)
      .update(body)
      .digest('base64');
    return entries.some((entry) => same(Buffer.from(entry), Buffer.from(`v1,${mac}`))); // [sig-any]
  });
  demand(secret, 'no signature verifies');
  return secret;
}

/**
 * "Server identity": throws unless `token` is a detached JWS of exactly the required form by a key
 * of `keys` [jws-verify].
 */
export function verifyServer({ token = '', body, issuer, url, subscriptionId, keys, nowMs }) {
  const [encoded = '', payload, encodedSignature = '', ...rest] = token.split('.');
  const [json, signature] = [
    exactBytes(encoded, 'base64url'),
    exactBytes(encodedSignature, 'base64url'),
  ];
  demand(payload === '' && rest.length === 0 && json && signature, 'not a detached JWS');
  const header = parse(json);
  demand(
    header !== null &&
      typeof header === 'object' &&
      Object.keys(header).sort().join() === HEADER_MEMBERS.join(),
    'protected header',
  ); // [jws-header] [jws-no-header-keys]
  const { typ, alg, kid, b64, crit, iss, iat, htm, origin, uh, sub } = header;
  demand(
    typ === 'mcp-delivery+jws' &&
      b64 === false &&
      JSON.stringify(crit) === '["b64"]' &&
      htm === 'POST',
    'protected header',
  );
  demand(alg === 'EdDSA' || alg === 'Ed25519', 'alg'); // [jws-header]
  demand(Number.isInteger(iat) && Math.abs(iat - nowMs / 1000) <= TOLERANCE_S, 'iat');
  demand(origin === new URL(url).origin && uh === sha256(url), 'made for another URL');
  demand(iss === issuer, 'made by another server');
  demand(sub === subscriptionId, 'made for another subscription');
  const jwk = keys.find((key) => key.kid === kid && key.kty === 'OKP' && key.crv === 'Ed25519'); // [jws-key]
  demand(jwk, 'unknown key');
  demand(
    verify(
      null,
      Buffer.concat([Buffer.from(`${encoded}.`), body]),
      createPublicKey({ key: jwk, format: 'jwk' }),
      signature,
    ),
    'server signature',
  );
}

function parse(bytes) {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return null;
  }
}

const isNumber = (n) => Number.isSafeInteger(n) && n >= 0;
const isDelivery = (d) =>
  [d.subscriptionId, d.key, d.epoch, d.etag].every((text) => typeof text === 'string') &&
  [d.afterSequence, d.head, d.acked].every(isNumber) &&
  Array.isArray(d.events) &&
  d.events.every((e) => isNumber(e?.sequence)) &&
  (d.gaps === undefined ||
    (Array.isArray(d.gaps) && d.gaps.every((g) => isNumber(g?.from) && isNumber(g?.to)))) &&
  lastOf(d) !== undefined;

/**
 * The keys at a `jwksUri`; an unknown `kid` fetches again, at most once per minute
 * [jws-unknown-kid].
 */
function keySet(uri, now) {
  let keys = [];
  let fetchedAt = -Infinity;
  return async (token = '') => {
    const kid = parse(Buffer.from(token.split('.')[0], 'base64url'))?.kid;
    if (!keys.some((key) => key.kid === kid) && now() - fetchedAt >= 60_000) {
      fetchedAt = now();
      ({ keys } = await (await fetch(uri)).json());
    }
    return keys;
  };
}

/** The answer of a reader to a delivery that it rejected. */
const REFUSAL_STATUS = { invalid: 400, missing: 503, left: 409, ended: 404 }; // [ans-receiver-malformed] [ans-receiver-missing]

/**
 * An endpoint on loopback. One path per registration, so that the secret is known before anything
 * in the request is trusted.
 */
export class Receiver {
  #endpoints = new Map();
  #server = createServer((request, response) => void this.#serve(request, response));

  constructor({ reader, now = Date.now }) {
    Object.assign(this, { reader, now, requests: [], answers: [] });
  }

  async listen() {
    await new Promise((done) => this.#server.listen(0, '127.0.0.1', done));
    this.origin = `http://127.0.0.1:${this.#server.address().port}`;
  }

  close() {
    this.#server.closeAllConnections();
    return new Promise((done) => this.#server.close(done));
  }

  /**
   * Called before the client subscribes. `jwksUri` comes from the server's settings
   * [jws-jwks-origin], and `issuer` is the server's resource URI; returns the URL to register.
   */
  register(path, { secrets, jwksUri, issuer }) {
    const url = `${this.origin}${path}`;
    this.#endpoints.set(path, {
      url,
      secrets,
      issuer,
      keysFor: jwksUri && keySet(jwksUri, this.now),
    });
    return url;
  }

  async #serve(request, response) {
    const chunks = [];
    let size = 0;
    for await (const chunk of request) if ((size += chunk.length) <= MAX_BODY) chunks.push(chunk);
    const seen = {
      method: request.method,
      path: request.url,
      headers: request.headers,
      body: Buffer.concat(chunks),
    };
    const { status, body } = size > MAX_BODY ? { status: 413 } : await this.answer(seen);
    this.requests.push(seen);
    this.answers.push({ status, body });
    response
      .writeHead(status, { 'content-type': 'application/json' })
      .end(body === undefined ? '' : JSON.stringify(body));
  }

  /** Resolves with the status and body of the answer to one request. */
  async answer({ method, path, headers, body }) {
    const endpoint = this.#endpoints.get(path);
    if (endpoint === undefined) return { status: 404 };
    if (method !== 'POST') return { status: 405 };
    const subscriptionId = headers['mcp-subscription-id'];
    try {
      const secret = verifyWebhook({ headers, body, secrets: endpoint.secrets, nowMs: this.now() }); // [sig-verify-first] [cbv-receiver]
      if (endpoint.keysFor) {
        const token = headers['mcp-delivery-signature'];
        verifyServer({
          token,
          body,
          issuer: endpoint.issuer,
          url: endpoint.url,
          subscriptionId,
          keys: await endpoint.keysFor(token),
          nowMs: this.now(),
        });
      }
      const message = parse(body);
      const d = message?.params;
      if (message?.method !== METHOD || d === null || typeof d !== 'object') return { status: 400 };
      demand(d.subscriptionId === subscriptionId, 'MCP-Subscription-Id'); // [sig-subscription]
      if (typeof d.challenge === 'string')
        return {
          status: 200,
          body: { challenge: d.challenge, proof: proofOf(secret, d.challenge) },
        }; // [cbv-not-forwarded]
      if (!isDelivery(d)) return { status: 400 };
      const { ack, refused } = this.reader.apply(d);
      return refused
        ? { status: REFUSAL_STATUS[refused] }
        : { status: 200, body: { ackSequence: ack } }; // [ans-receiver-ack]
    } catch (error) {
      if (error instanceof Refused) return { status: 401, body: { error: error.message } };
      // The failure is on this side, such as unreachable keys. The server retries after a 503.
      return { status: 503 };
    }
  }
}
