// The callback drain of the minimal server: which URLs it calls, how it sends and signs a request,
// what an answer means, and when it tries again. The state of a callback is in `sub.callback`; the
// running attempt is `sub.attempt`, because it outlives a replaced callback.
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { lookup } from 'node:dns';
import { request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { BlockList, isIP } from 'node:net';
import { delivery, instant, makeGap, now, read } from './minimal-server-log.mjs';
import { hmac, invalid, lastOf, webhookId } from './minimal-server-wire.mjs';

const URL_CHARS_MAX = 2048;
const DEADLINE_MS = 10_000;
const ANSWER_BYTES_MAX = 8192;
const BATCH = { events: 100, bytes: 245_760 };
const ROTATION_MS = 300_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const WAIT_MAX_MS = 300_000;
const PARTIAL_PAUSE_MS = 100;
const CONFIGURATION_FAILURES_MAX = 5;
const MISCONFIGURED_MS = 600_000;
const TRYING_MAX_MS = 24 * HOUR_MS;

/* ------------------------------------------------------------ destinations */

const special = new BlockList();
for (const range of [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
]) {
  const [address, bits] = range.split('/');
  special.addSubnet(address, Number(bits), 'ipv4');
}
/** Global unicast IPv6, without documentation addresses and those that embed IPv4. */
const global = new BlockList();
global.addSubnet('2000::', 3, 'ipv6');
for (const [address, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
])
  special.addSubnet(address, bits, 'ipv6');
/** An IPv4-mapped IPv6 address is checked as IPv4; `special` contains both spellings. */
const mapped = new BlockList();
mapped.addSubnet('::ffff:0:0', 96, 'ipv6');

function isPublic(address) {
  if (isIP(address) === 4) return !special.check(address);
  return (
    isIP(address) === 6 &&
    !address.includes('%') &&
    (global.check(address, 'ipv6') || mapped.check(address, 'ipv6')) &&
    !special.check(address, 'ipv6')
  );
}
/** Whether a name may be called: it has an address, and all its addresses are public. */
export const arePublic = (addresses) => addresses.length > 0 && addresses.every(isPublic);

const isLoopback = (host) =>
  host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);

/** Throws unless a callback may use this URL. `unsafe` allows http and loopback, for tests. */
export function requireUrl(url, unsafe) {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const { protocol, hostname = '', username, password } = parsed ?? {};
  const tolerated = unsafe && isLoopback(hostname);
  // The URL parser normalizes its input, so compare its output with what the client wrote.
  if (
    parsed?.href !== url ||
    url.length > URL_CHARS_MAX ||
    username !== '' ||
    password !== '' ||
    url.includes('#')
  )
    throw invalid('/callback/url', 'a URL in normal form without user or fragment');
  if (protocol !== 'https:' && !(tolerated && protocol === 'http:'))
    throw invalid('/callback/url', 'an https URL');
  const address = hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(address) !== 0 && !tolerated && !isPublic(address))
    throw invalid('/callback/url', 'a host that is public');
}

/** Host names for tests. */
export const NAMES = { 'inside.minimal.example': '10.0.0.1' };

/** Resolves host names. Treats a name with any non-public address as one that does not exist. */
function resolve(hostname, options, done) {
  const found = (error, list) => {
    if (error === null && !arePublic(list.map(({ address }) => address)))
      error = new Error('not found');
    if (error !== null) return done(error);
    return options.all ? done(null, list) : done(null, list[0].address, list[0].family);
  };
  if (NAMES[hostname] !== undefined) return found(null, [{ address: NAMES[hostname], family: 4 }]);
  return lookup(hostname, { all: true, verbatim: true }, found);
}

/* ------------------------------------------------------------ one request */

/**
 * Sends the request. Resolves with `{ status, body, retryAfter }`, where `body` is undefined when
 * it is too long or not JSON, or with `{ category }` when no answer arrives. Never rejects.
 */
function post(url, body, headers) {
  return new Promise((done) => {
    let category = 'connection_refused';
    const { origin, hostname, protocol } = new URL(url);
    const request = (protocol === 'https:' ? tlsRequest : plainRequest)(origin, {
      method: 'POST',
      // Cut from the text, because a parsed URL loses a trailing "?".
      path: url.slice(origin.length),
      agent: false,
      headers,
      ...(isLoopback(hostname) ? {} : { lookup: resolve }),
    });
    const deadline = setTimeout(() => finish({ category: 'timeout' }), DEADLINE_MS);
    function finish(answer) {
      clearTimeout(deadline);
      request.destroy();
      done(answer);
    }
    request.on('error', () => finish({ category }));
    request.on('socket', (socket) => {
      if (protocol === 'https:')
        socket
          .once('connect', () => {
            category = 'tls_error';
          })
          .once('secureConnect', () => {
            category = 'connection_refused';
          });
    });
    request.on('response', (response) => {
      const chunks = [];
      let bytes = 0;
      const answered = () =>
        finish({
          status: response.statusCode,
          body: bytes > ANSWER_BYTES_MAX ? undefined : jsonOf(Buffer.concat(chunks)),
          retryAfter: response.headers['retry-after'],
        });
      response.on('error', () => finish({ category }));
      response.on('end', answered);
      response.on('data', (chunk) => {
        chunks.push(chunk);
        if ((bytes += chunk.length) > ANSWER_BYTES_MAX) answered();
      });
    });
    request.end(body);
  });
}

function jsonOf(bytes) {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** The `webhook-id` of a request that covers no number: a challenge, a heartbeat, the last delivery. */
const randomId = () => `msg_${randomBytes(24).toString('base64url')}`;

/* ------------------------------------------------------------ limits of a callback */

/** The known members of the limits of a callback; undefined without one. */
export function limitsOf({ limits = {} } = {}) {
  const known = ['maxEvents', 'maxBytes', 'maxPerMinute', 'lingerMs'].filter(
    (name) => name in limits,
  );
  return known.length === 0
    ? undefined
    : Object.fromEntries(known.map((name) => [name, limits[name]]));
}

/** When the requests of the last minute ended, by subscription and URL; Infinity = not yet. */
const requests = new Map();
const keyOf = ({ subscriptionId }, url) => `${subscriptionId} ${url}`;

/** Counts a request to this callback from its start until a minute after its end. */
async function counted(sub, url, request) {
  const key = keyOf(sub, url);
  const one = { endedAt: Infinity };
  const recent = (requests.get(key) ?? []).filter(({ endedAt }) => endedAt > now() - MINUTE_MS);
  requests.set(key, [...recent, one]);
  for (const [other, list] of requests)
    if (list.every(({ endedAt }) => endedAt <= now() - MINUTE_MS)) requests.delete(other);
  try {
    return await request();
  } finally {
    one.endedAt = now();
  }
}

/** Milliseconds until the next request to this callback may start. */
export function waitForTurn(sub, url, { maxPerMinute = Infinity } = {}) {
  const recent = (requests.get(keyOf(sub, url)) ?? [])
    .map(({ endedAt }) => Math.min(endedAt, now()) + MINUTE_MS)
    .filter((free) => free > now())
    .sort((a, b) => a - b);
  return recent.length < maxPerMinute ? 0 : recent[recent.length - maxPerMinute] - now();
}

/** The first part of a delivery whose body has at most this many bytes, but at least one event. */
function cut(made, maxBytes = Infinity) {
  let part = made;
  while (bodyOf(part).length > maxBytes) {
    const { events, gaps = [] } = part;
    const last = lastOf(part);
    if (events.length + gaps.length <= 1) break;
    const rest = gaps.filter(({ to }) => to !== last);
    part = { ...part, events: events.filter(({ sequence }) => sequence !== last), gaps: rest };
    if (rest.length === 0) delete part.gaps;
  }
  return part;
}

/** Whether the callback waits for more events before it sends this delivery, which is not full. */
function lingers(sub, made, { maxEvents = Infinity, lingerMs = 0 } = {}) {
  const [oldest] = made.events;
  return (
    oldest !== undefined &&
    made.events.length < maxEvents &&
    lastOf(made) === made.head &&
    now() < Date.parse(oldest.acceptedAt) + lingerMs
  );
}

/** Sends one delivery, signed with these secrets. Resolves as `post` does. */
function send(url, secrets, made) {
  const { subscriptionId, epoch, afterSequence, gaps = [] } = made;
  const last = lastOf(made);
  const id =
    last > afterSequence ? webhookId(subscriptionId, epoch, afterSequence, last, gaps) : randomId();
  const [event, ...others] = made.events;
  const trace = others.length === 0 ? event?._meta : {};
  return sendParams(url, secrets, made, id, trace);
}

/** Sends the params of a callback request, signed with these secrets, with the headers of `trace`. */
function sendParams(url, secrets, params, id, trace = {}) {
  const body = bodyOf(params);
  const timestamp = Math.floor(now() / 1000);
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  const headers = {
    'content-type': 'application/json',
    'content-length': body.length,
    'user-agent': 'minimal-triggers',
    'mcp-subscription-id': params.subscriptionId,
    ...trace,
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': secrets.map((secret) => `v1,${hmac(secret, signed)}`).join(' '),
  };
  return counted(params, url, () => post(url, body, headers));
}

/** The body of a callback request. */
const bodyOf = (params) =>
  Buffer.from(
    JSON.stringify({ jsonrpc: '2.0', method: 'notifications/triggers/delivery', params }),
  );

/* ------------------------------------------------------------ the meaning of an answer */

const CONFIGURATION = new Set([400, 401, 403, 404, 415, 422]);

/**
 * The meaning of an answer to a delivery of `afterSequence` + 1 to `last`. A server without the
 * option `reject` (`takesReject` false) ignores the member of that name.
 */
export function meaning(
  { afterSequence, last },
  { category, status, body, retryAfter },
  at,
  takesReject = true,
) {
  if (category !== undefined) return { kind: 'transient', category, retryAfterMs: null };
  if (status >= 200 && status <= 299) {
    const { ackSequence, reject } = Object(body);
    const rejects = takesReject && reject !== undefined && reject !== null;
    const right =
      Number.isSafeInteger(ackSequence) &&
      ackSequence >= afterSequence &&
      ackSequence <= last &&
      (rejects
        ? reject.sequence === ackSequence + 1 && reject.sequence <= last
        : ackSequence > afterSequence || last === afterSequence);
    return right
      ? { kind: 'acked', ackSequence, reject: rejects ? reject.sequence : null }
      : { kind: 'transient', category: 'no_ack', retryAfterMs: null };
  }
  if (status === 410) return { kind: 'gone' };
  if (status === 413) return { kind: 'too_large' };
  if ((status >= 300 && status <= 399) || CONFIGURATION.has(status))
    return { kind: 'config', category: 'http_4xx' };
  return {
    kind: 'transient',
    category: status >= 400 && status <= 499 ? 'http_4xx' : 'http_5xx',
    retryAfterMs: status === 429 || status === 503 ? waitOf(retryAfter, at) : null,
  };
}

function waitOf(text = '', at) {
  // The asctime format has no time zone and means UTC.
  const ms = /^\d{1,10}$/.test(text)
    ? Number(text) * 1000
    : Date.parse(/GMT$/.test(text) ? text : `${text} GMT`) - at;
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), HOUR_MS);
}

/** Whether the answer contains the challenge and its proof. */
export function isProof(secret, challenge, body) {
  const proof = Buffer.from(hmac(secret, `challenge.${challenge}`));
  const { challenge: repeated, proof: given } = Object(body);
  return (
    repeated === challenge &&
    typeof given === 'string' &&
    given.length === proof.length &&
    timingSafeEqual(Buffer.from(given.padEnd(proof.length)).subarray(0, proof.length), proof)
  );
}

/** Sends a challenge. Resolves with null, or with the category of the failure. */
export async function verify({ subscriptionId, key }, { url, secret }) {
  const challenge = randomBytes(24).toString('base64url');
  const { category, status, body } = await sendParams(
    url,
    [secret],
    { subscriptionId, key, challenge },
    randomId(),
  );
  if (category !== undefined) return category;
  if (status === 410) return 'gone';
  if (status < 200 || status > 299) return status >= 300 && status <= 499 ? 'http_4xx' : 'http_5xx';
  return isProof(secret, challenge, body) ? null : 'challenge_failed';
}

/* ------------------------------------------------------------ attempts */

/** A callback whose endpoint has consented. */
export const newCallback = ({ url, secret, skipAfterMs, limits }) => ({
  url,
  secret,
  skipAfterMs,
  limits: limitsOf({ limits }),
  verifiedAt: now(),
  attempts: 0,
  configurationFailures: 0,
  nextAt: 0,
  probeAt: Infinity,
  batch: BATCH.events,
});

/** Replaces the secret of a callback; the old one signs too for five minutes. */
export function rotate(callback, secret) {
  Object.assign(callback, {
    verifiedAt: now(),
    ...(secret === callback.secret
      ? {}
      : { secret, previous: { secret: callback.secret, until: now() + ROTATION_MS } }),
  });
}

/** Resets the failure counters and ends a suspension; the last error stays visible. */
export const reset = (callback) =>
  Object.assign(callback, {
    attempts: 0,
    configurationFailures: 0,
    misconfiguredSince: undefined,
    failingSince: undefined,
    transientSince: undefined,
    nextAt: 0,
    suspendedAt: undefined,
    probeAt: Infinity,
  });

/** The pauses between probes grow with the time of the suspension, from a minute to an hour. */
const probeAfter = ({ suspendedAt }) =>
  now() + Math.min(HOUR_MS, Math.max(60_000, now() - suspendedAt));

/** Challenges a suspended callback if that is due. A proof resumes it: then calls `resume(sub)`. */
export async function probe(sub, resume) {
  const { callback } = sub;
  if (callback === undefined || sub.paused || callback.probeAt > now()) return;
  if (waitForTurn(sub, callback.url, callback.limits) > 0) return;
  callback.probeAt = probeAfter(callback);
  const { url, secret } = callback;
  const failure = await verify(sub, { url, secret });
  if (failure === null && sub.callback === callback && callback.secret === secret) resume(sub);
}

const previousOf = ({ previous }) =>
  previous !== undefined && previous.until > now() ? previous : undefined;

const stateOf = ({ suspendedAt, attempts }) =>
  suspendedAt !== undefined ? 'suspended' : attempts > 0 ? 'failing' : 'ok';

/** The part of a callback that changes by itself: its state and its failures. */
export function conditionOf(callback) {
  const { attempts, lastDeliveryAt, failingSince, lastError, suspendedAt } = callback;
  return {
    state: stateOf(callback),
    health: {
      attempts,
      ...(lastDeliveryAt ? { lastDeliveryAt: instant(lastDeliveryAt) } : {}),
      ...(failingSince ? { failingSince: instant(failingSince) } : {}),
      ...(lastError ? { lastError } : {}),
      ...(suspendedAt ? { suspendedAt: instant(suspendedAt) } : {}),
    },
  };
}

export function describedCallback(callback) {
  const { url, verifiedAt, skipAfterMs, limits } = callback;
  const previous = previousOf(callback);
  return {
    origin: new URL(url).origin,
    verifiedAt: instant(verifiedAt),
    ...(previous ? { previousSecretUntil: instant(previous.until) } : {}),
    ...(skipAfterMs === undefined ? {} : { skipAfterMs }),
    ...(limits === undefined ? {} : { limits }),
    ...conditionOf(callback),
  };
}

const secretsOf = (callback) => [
  callback.secret,
  ...(previousOf(callback) ? [callback.previous.secret] : []),
];

/**
 * Makes the next attempt when there is something to send and no attempt is running. `on` contains the
 * parts of the server that an answer needs: `acknowledge(sub, sequence)`, `announce(sub)`,
 * `isLive(sub)`, and `takesReject`, whether it has the option `reject`.
 */
export async function attemptDelivery(sub, on) {
  const { callback } = sub;
  if (
    callback === undefined ||
    sub.attempt ||
    sub.paused ||
    callback.suspendedAt !== undefined ||
    callback.nextAt > now() ||
    !on.isLive(sub)
  )
    return;
  const { limits } = callback;
  // The server tries again several times a second.
  if (waitForTurn(sub, callback.url, limits) > 0) return;
  const events = Math.min(callback.batch, limits?.maxEvents ?? callback.batch);
  const made = cut(read(sub, sub.acked, { events, bytes: BATCH.bytes }), limits?.maxBytes);
  if (lingers(sub, made, limits)) return;
  const sent = { afterSequence: made.afterSequence, last: lastOf(made) };
  if (sent.last === sent.afterSequence) return;
  sub.attempt = true;
  const secrets = secretsOf(callback);
  const answer = await send(callback.url, secrets, made);
  sub.attempt = false;
  if (!on.isLive(sub)) return;
  // The answer of a callback that was replaced meanwhile does not count, nor one to a request that
  // a secret signed which is no longer in use.
  if (sub.callback === callback && secrets.every((one) => secretsOf(callback).includes(one))) {
    const before = stateOf(callback);
    settle(sub, made, meaning(sent, answer, now(), on.takesReject), on);
    if (stateOf(callback) !== before) on.announce(sub);
  }
  void attemptDelivery(sub, on);
}

/** The wait after this many failures in a row. */
const backoffOf = (failures) => Math.random() * Math.min(WAIT_MAX_MS, 1000 * 2 ** (failures - 1));

/** Applies the meaning of an answer to the subscription. */
function settle(sub, made, { kind, ackSequence, reject, category, retryAfterMs }, on) {
  const { callback } = sub;
  const suspend = () => {
    callback.suspendedAt = now();
    callback.probeAt = probeAfter(callback);
  };
  const skip = (reason) => {
    makeGap(sub, made.events[0].sequence, reason);
    return reset(callback);
  };
  if (kind === 'acked') {
    if (reject !== null) makeGap(sub, reject, 'rejected');
    Object.assign(reset(callback), {
      lastDeliveryAt: now(),
      lastError: undefined,
      batch: BATCH.events,
      nextAt: ackSequence < lastOf(made) ? now() + PARTIAL_PAUSE_MS : 0,
    });
    // Rejecting a number that the delivery reported as a gap acknowledges it.
    const isKnown = made.gaps?.some(({ from, to }) => from <= reject && reject <= to);
    return on.acknowledge(sub, isKnown ? reject : ackSequence);
  }
  if (kind === 'too_large' && made.events.length > 1)
    return void (callback.batch = Math.floor(made.events.length / 2));
  callback.lastError = kind === 'gone' ? 'gone' : (category ?? 'http_4xx');
  callback.failingSince ??= now();
  callback.attempts += 1;
  if (kind === 'gone') return suspend();
  if (kind === 'too_large' && made.events.length === 1) return skip('too_large');
  callback.configurationFailures = kind === 'transient' ? 0 : callback.configurationFailures + 1;
  callback.misconfiguredSince =
    kind === 'transient' ? undefined : (callback.misconfiguredSince ?? now());
  const tooOften =
    (callback.configurationFailures >= CONFIGURATION_FAILURES_MAX &&
      now() - callback.misconfiguredSince >= MISCONFIGURED_MS) ||
    now() - callback.failingSince >= TRYING_MAX_MS;
  callback.nextAt = now() + Math.max(backoffOf(callback.attempts), retryAfterMs ?? 0);
  // A delivery without events contains nothing to skip.
  callback.transientSince = kind === 'transient' ? (callback.transientSince ?? now()) : undefined;
  const isStuck = now() - callback.transientSince >= (callback.skipAfterMs ?? Infinity);
  if (kind === 'transient' && isStuck && made.events.length > 0) skip('skipped');
  else if (tooOften) suspend();
}

/** The termination notice that a callback has still to take. */
export const newNotice = (sub, reason) => ({ sub, reason, attempts: 0, nextAt: 0, sending: false });

/**
 * Sends a termination notice if it is due and no attempt is running. Resolves with true when it is
 * not to be repeated.
 */
export async function sendNotice(notice) {
  const { sub, reason } = notice;
  const { callback } = sub;
  if (notice.sending || sub.attempt || notice.nextAt > now()) return false;
  if (waitForTurn(sub, callback.url, callback.limits) > 0) return false;
  notice.sending = true;
  const { status, retryAfter } = await send(
    callback.url,
    secretsOf(callback),
    delivery(sub, sub.acked, { terminated: { reason } }),
  );
  notice.sending = false;
  notice.attempts += 1;
  const asked = status === 429 || status === 503 ? waitOf(retryAfter, now()) : 0;
  notice.nextAt = now() + Math.max(backoffOf(notice.attempts), asked ?? 0);
  return (status >= 200 && status <= 299) || status === 410;
}
