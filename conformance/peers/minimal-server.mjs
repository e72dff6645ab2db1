// A complete server of the extension in plain JavaScript, without dependencies, written by
// following `docs/porting.md`: Streamable HTTP in both revisions, every method, logs in memory
// (`volatile`). `--drains pull,stream` and `--options history,skip` (or `none`) select what it
// declares and serves; `--unserved skip` makes it declare an option that it does not serve. It also
// serves the control interface of `docs/conformance.md`. As a program it prints
// `{ url, token, control }`.
import { randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { isDeepStrictEqual, parseArgs } from 'node:util';
import {
  conditionOf,
  describedCallback,
  limitsOf,
  attemptDelivery,
  requireUrl,
  NAMES,
  newCallback,
  newNotice,
  probe,
  reset,
  rotate,
  sendNotice,
  verify,
  waitForTurn,
} from './minimal-server-callbacks.mjs';
import {
  append,
  clock,
  delivery,
  etag,
  head,
  instant,
  isEvent,
  requirePosition,
  requireSent,
  now,
  read,
  timeOf,
  trim,
} from './minimal-server-log.mjs';
import { openStream } from './minimal-server-stream.mjs';
import {
  violation,
  digest,
  grant,
  invalid,
  lastOf,
  normal,
  WireError,
  requireParams,
} from './minimal-server-wire.mjs';

/** The options of this server and the drain that each needs. */
const OPTIONS = {
  conditionalReads: 'pull',
  history: 'pull',
  multiSelect: 'pull',
  trace: 'pull',
  pause: 'callback',
  skip: 'callback',
  reject: 'callback',
  limits: 'callback',
};
const {
  values: { drains: claimed, options: chosen, unserved, 'unsafe-allow-loopback': unsafe },
} = parseArgs({
  options: {
    drains: { type: 'string', default: 'callback,stream,pull' },
    options: { type: 'string', default: Object.keys(OPTIONS).join(',') },
    unserved: { type: 'string', default: '' },
    'unsafe-allow-loopback': { type: 'boolean', default: false },
  },
});
const DRAINS = claimed.split(',');
const DECLARED = Object.keys(OPTIONS).filter(
  (option) => chosen.split(',').includes(option) && DRAINS.includes(OPTIONS[option]),
);
const SERVED = new Set(DECLARED.filter((option) => !unserved.split(',').includes(option)));
const EXTENSION = 'io.modelcontextprotocol/triggers';
const META = 'io.modelcontextprotocol';
const SETTINGS = {
  revision: '2026-12-01',
  levels: DRAINS.map((drain) => (drain === 'pull' ? 'log' : drain)),
  ...(DECLARED.length === 0 ? {} : { options: DECLARED }),
  minTtlMs: 1000,
  maxTtlMs: 7 * 86_400_000,
};
const GRANTS = {
  minMs: SETTINGS.minTtlMs,
  maxMs: SETTINGS.maxTtlMs,
  defaultMs: 3_600_000,
  allowNoExpiry: false,
};
const HOUR_MS = 3_600_000;
const TOMBSTONE_MS = 25 * HOUR_MS;
const PULL = { events: 1000, bytes: 1_000_000, waitMs: 25_000 };
const QUOTAS = { subscriptions: 300, streams: 100, waiting_pulls: 100 };
const FAILURES = { maxOfOwner: 20, max: 200, withinMs: 60_000 };
const PAGE = 50;
const BODY_BYTES_MAX = 4_194_304;

const token = (bytes) => randomBytes(bytes).toString('base64url');

/* ------------------------------------------------------------ trigger types and permissions */

const text = { type: 'string' };
const itemType = (name, more = {}) => ({
  name,
  description: 'Something happened to a topic.',
  inputSchema: { type: 'object', properties: { topic: text }, additionalProperties: false },
  payloadSchema: {
    type: 'object',
    required: ['topic', 'n'],
    properties: { topic: text, n: { type: 'integer' }, pad: text },
  },
  drains: DRAINS,
  retention: { maxAgeMs: HOUR_MS, maxEvents: 1000 },
  ordering: 'arrival',
  ...more,
});
const HISTORY = DECLARED.includes('history') ? { history: { maxAgeMs: HOUR_MS } } : {};
const FIRST_TYPES = [
  itemType('minimal.plain'),
  ...(DECLARED.includes('history') ? [itemType('minimal.history', HISTORY)] : []),
  itemType('minimal.short', {
    retention: { maxAgeMs: HOUR_MS, maxEvents: 20, maxBytes: 524_288 },
    ...HISTORY,
  }),
  itemType('minimal.pull_only', { drains: ['pull'] }),
  {
    ...itemType('minimal.initial', { initial: true }),
    inputSchema: {
      type: 'object',
      properties: { topic: text },
      required: ['topic'],
      additionalProperties: false,
    },
  },
];
/** The text that identifies an owner: issuer, subject and client of its tokens. */
const ownerOf = (subject, { issuer = 'https://issuer.example', client = 'kit' } = {}) =>
  JSON.stringify([issuer, subject, client]);
const PRINCIPALS = {
  main: ownerOf('main'),
  other: ownerOf('other'),
  stranger: ownerOf('stranger'),
  namesake: ownerOf('main', { issuer: 'https://elsewhere.example' }),
  sibling: ownerOf('main', { client: 'sibling' }),
};
const TOKENS = Object.fromEntries(
  Object.keys(PRINCIPALS).map((name) => [name, `token_${token(24)}`]),
);
const byToken = new Map(Object.entries(TOKENS).map(([name, value]) => [value, PRINCIPALS[name]]));

/** The whole state of the server, which `forget` clears as a crash does. */
let types, forbidden, states, accepted, live, ended, sessions, failures, queues, serial;
function forget() {
  types = new Map(FIRST_TYPES.map((type) => [type.name, type]));
  forbidden = new Set();
  /** The data of the last event of each topic of `minimal.initial`. */
  states = new Map();
  /** Events by scope, name and id, in the order accepted: for repetitions and for `since`. */
  accepted = new Map();
  live = new Map();
  ended = new Map();
  /** For revisions with a handshake: session id → open streams by request id. */
  sessions = new Map();
  /** Failed verifications, `{ owner, at }`, by host. */
  failures = new Map();
  /** The last queued call for each key or id, see `oneByOne`. */
  queues = new Map();
  serial = 0;
}
forget();

const permitted = (principal, name) =>
  principal !== undefined &&
  principal !== PRINCIPALS.stranger &&
  !forbidden.has(`${principal} ${name}`);
const visible = (principal) => [...types.values()].filter(({ name }) => permitted(principal, name));

/* ------------------------------------------------------------ events */

const idOf = ({ scope = '', name, eventId }) => JSON.stringify([scope, name, eventId]);

/**
 * Accepts an event once and appends it to every log that it concerns. Data that violate the schema
 * make it a gap, as does `gap`, which says that nobody watched the source; `known` has the
 * arguments that the gap concerns.
 */
function accept({
  scope,
  name,
  eventId = randomUUID(),
  timestamp = now(),
  data,
  _meta,
  gap,
  known = {},
  audience,
}) {
  const type = types.get(name);
  if (type === undefined) throw new Error('The trigger type is unknown. Correct the event.');
  const id = idOf({ scope, name, eventId });
  if (accepted.has(id)) return;
  if (gap === undefined && violation(type.payloadSchema, data) !== null) {
    process.stderr.write(`An event of ${name} violates its schema; its number is a gap.\n`);
    [gap, known] = ['invalid', typeof data?.topic === 'string' ? { topic: data.topic } : {}];
  }
  const at = now();
  const event = { eventId, name, timestamp: instant(timestamp), acceptedAt: instant(at), data };
  if (_meta !== undefined && SERVED.has('trace')) event._meta = _meta;
  const entry =
    gap === undefined
      ? { event, at, bytes: Buffer.byteLength(JSON.stringify(event)) }
      : { event: { eventId, name }, at, gap, known };
  entry.audience = audience?.map((principal) => PRINCIPALS[principal]);
  if (gap === undefined && type.initial) states.set(data.topic, data);
  accepted.set(id, entry);
  for (const sub of live.values()) {
    if (!concerns(sub, entry)) continue;
    append(sub, entry);
    wake(sub);
  }
}

/** The present state of the topic of a selection, as an event. */
function presentState({ name, arguments: { topic } }) {
  const data = states.get(topic) ?? { topic, n: 0 };
  const at = now();
  const moment = { timestamp: instant(at), acceptedAt: instant(at) };
  const event = { eventId: randomUUID(), name, ...moment, data };
  return { event, at, bytes: Buffer.byteLength(JSON.stringify(event)) };
}

/** Whether an event matches the subscription, or a gap cannot be shown not to match. */
const concerns = ({ principal, select }, { event: { name, data }, known, audience }) =>
  (audience?.includes(principal) ?? true) &&
  select.some(
    (one) =>
      one.name === name &&
      Object.entries(one.arguments).every(([argument, value]) =>
        known === undefined ? data[argument] === value : (known[argument] ?? value) === value,
      ),
  );

function acknowledge(sub, sequence = 0) {
  if (sequence <= sub.acked) return;
  sub.acked = sequence;
  wake(sub);
}

/* ------------------------------------------------------------ subscriptions */

const leastOf = (select, member) =>
  Math.min(...select.map(({ name }) => types.get(name).retention[member] ?? Infinity));

function described(sub) {
  trim(sub);
  const left = sub.expiresAt - now();
  return {
    subscriptionId: sub.subscriptionId,
    etag: etag(sub),
    epoch: sub.epoch,
    key: sub.key,
    select: sub.select,
    ...(sub.paused ? { paused: true } : {}),
    ttlMs: sub.ttlMs,
    expiresAt: instant(sub.expiresAt),
    renewAfterMs: Math.floor(left * (0.5 + 0.3 * Math.random())),
    head: head(sub),
    acked: sub.acked,
    oldest: sub.trimmed + 1,
    retention: sub.retention,
    createdAt: instant(sub.createdAt),
    ...(sub.callback === undefined ? {} : { callback: describedCallback(sub.callback) }),
  };
}

/**
 * The live subscription of this principal. Otherwise throws `NotFound`: with the reason and the final
 * state for an ended subscription of its own, without them for any other id.
 */
function own(principal, subscriptionId) {
  const sub = live.get(subscriptionId);
  if (sub?.principal === principal) return sub;
  const tombstone = ended.get(subscriptionId);
  throw new WireError('NotFound', {
    kind: 'subscription',
    ...(tombstone?.principal === principal
      ? { reason: tombstone.reason, final: tombstone.final }
      : {}),
  });
}

/** Runs `change` on the configuration. Changes the ETag if that made a difference. */
function configure(sub, change) {
  const configuration = () => [
    sub.select,
    sub.ttlMs,
    sub.paused,
    sub.callback?.skipAfterMs,
    sub.callback?.limits,
    sub.callback?.url,
    sub.callback?.secret,
  ];
  const before = configuration();
  change();
  sub.retention = {
    maxAgeMs: leastOf(sub.select, 'maxAgeMs'),
    maxEvents: leastOf(sub.select, 'maxEvents'),
  };
  const maxBytes = leastOf(sub.select, 'maxBytes');
  if (maxBytes < Infinity) sub.retention.maxBytes = maxBytes;
  if (isDeepStrictEqual(configuration(), before)) return;
  sub.version += 1;
  announce(sub);
}

/** Resumes a suspended callback and resets its failures. */
function resume(sub) {
  if (sub.callback?.suspendedAt === undefined) return;
  reset(sub.callback);
  announce(sub);
  void attemptDelivery(sub, reactions);
}
/** Sends an empty delivery on the open streams, because the configuration or the state of the
 * callback changed. */
const announce = (sub) => {
  for (const stream of sub.streams) stream.send(delivery(sub, stream.position));
};
const reactions = {
  acknowledge,
  announce,
  isLive: (sub) => live.get(sub.subscriptionId) === sub,
  takesReject: SERVED.has('reject'),
};

function renew(sub, params) {
  sub.ttlMs = grant(params, GRANTS);
  sub.expiresAt = now() + sub.ttlMs;
}

/** Ends a subscription: keeps a tombstone and sends a termination notice on every drain. */
function end(sub, reason) {
  live.delete(sub.subscriptionId);
  const tombstone = {
    principal: sub.principal,
    reason,
    at: now(),
    final: { epoch: sub.epoch, head: head(sub), acked: sub.acked },
    notice:
      sub.callback !== undefined && reason !== 'unsubscribed' ? newNotice(sub, reason) : undefined,
  };
  ended.set(sub.subscriptionId, tombstone);
  const terminated = { reason };
  for (const stream of [...sub.streams]) {
    stream.send(delivery(sub, stream.position, { terminated }));
    stream.end();
  }
  for (const pull of [...sub.pulls]) pull(delivery(sub, pull.after, { terminated }));
  void notify(tombstone);
}

/** Sends the termination notice of an ended subscription, until one is taken. */
async function notify(tombstone) {
  const { notice } = tombstone;
  if (notice !== undefined && (await sendNotice(notice))) tombstone.notice = undefined;
}

/** Wakes everything that waits for a change of this log: pulls, streams and the callback. */
function wake(sub) {
  for (const pull of [...sub.pulls]) if (head(sub) > pull.after) pull();
  for (const stream of [...sub.streams]) stream.pump();
  void attemptDelivery(sub, reactions);
}

/**
 * Runs everything that is due. Every method runs it first, so that no expired state is visible.
 */
function tick() {
  for (const sub of [...live.values()]) {
    if (sub.expiresAt <= now()) end(sub, 'expired');
    else if (sub.select.some(({ name }) => !permitted(sub.principal, name))) end(sub, 'revoked');
    else {
      for (const stream of [...sub.streams]) stream.tick();
      void attemptDelivery(sub, reactions);
      void probe(sub, resume);
    }
  }
  for (const [id, tombstone] of ended) {
    if (tombstone.at < now() - TOMBSTONE_MS) ended.delete(id);
    else void notify(tombstone);
  }
  for (const [
    id,
    {
      at,
      event: { name },
    },
  ] of accepted)
    if (at < now() - (types.get(name)?.retention.maxAgeMs ?? 0)) accepted.delete(id);
}
setInterval(tick, 250);

/* ------------------------------------------------------------ methods: (params, principal, connection) → result */

/** Normalizes selections. Throws in the order of the SEP: first the types, then their arguments. */
function selecting(select, principal) {
  for (const { name } of select)
    if (!types.has(name) || !permitted(principal, name))
      throw new WireError('NotFound', { kind: 'trigger' });
  const selections = normal(select);
  for (const [at, { name, arguments: given }] of selections.entries()) {
    const wrong = violation(types.get(name).inputSchema, given, `/select/${at}/arguments`);
    if (wrong !== null) throw new WireError('InvalidParams', wrong);
  }
  return selections;
}

/** Throws unless the callback may be used for these selections. */
function requireCallback(callback, select) {
  if (callback?.url !== undefined) requireUrl(callback.url, unsafe);
  if (callback && select.some(({ name }) => types.get(name).drains?.includes('callback') === false))
    throw new WireError('Unsupported', { feature: 'callback' });
}

/**
 * Throws unless the endpoint consents. Failures are limited for each pair of owner and host, and
 * with a larger bound for each host.
 */
async function requireConsent(sub, callback) {
  const { host } = new URL(callback.url);
  const recent = (failures.get(host) ?? []).filter(({ at }) => at > now() - FAILURES.withinMs);
  const own = recent.filter(({ owner }) => owner === sub.principal);
  const full = [
    [own, FAILURES.maxOfOwner],
    [recent, FAILURES.max],
  ].find(([list, max]) => list.length >= max);
  if (full !== undefined)
    throw new WireError('ResourceExhausted', {
      limit: 'verifications',
      retryAfterMs: Math.max(1, full[0][0].at + FAILURES.withinMs - now()),
    });
  const wait = waitForTurn(sub, callback.url, callback.limits);
  if (wait > 0)
    throw new WireError('ResourceExhausted', { limit: 'callback_requests', retryAfterMs: wait });
  const category = await verify(sub, callback);
  if (category === null) return;
  failures.set(host, [...recent, { owner: sub.principal, at: now() }]);
  throw new WireError('CallbackEndpointError', { category });
}

/**
 * Runs calls for one key or id in sequence, so that no other call runs between a verification and
 * its commit.
 */
async function oneByOne(thing, call) {
  const before = queues.get(thing);
  const mine = (async () => {
    await before?.catch(() => undefined);
    return call();
  })();
  queues.set(thing, mine);
  try {
    return await mine;
  } finally {
    if (queues.get(thing) === mine) queues.delete(thing);
  }
}

function limit(name, used) {
  if (used >= QUOTAS[name])
    throw new WireError('ResourceExhausted', { limit: name, max: QUOTAS[name] });
}
const ownedBy = (principal) => [...live.values()].filter((sub) => sub.principal === principal);
const requireMatch = (sub, { ifMatch }) => {
  if (ifMatch !== undefined && ifMatch !== etag(sub))
    throw new WireError('Conflict', { kind: 'etag', etag: etag(sub) });
};

/** The params that belong to a level or an option. */
const FEATURES = {
  callback: 'callback',
  resume: 'callback',
  revokePrevious: 'callback',
  removeCallback: 'callback',
  ifNoneMatch: 'conditionalReads',
  paused: 'pause',
  since: 'history',
};

/** Throws for a parameter of a level or an option that the server does not have. */
function requireServed(method, params = {}) {
  const served = new Set([...SETTINGS.levels, ...SERVED]);
  for (const [parameter, feature] of Object.entries(FEATURES))
    if (parameter in params && !served.has(feature))
      throw new WireError('Unsupported', { feature: parameter });
  if (params.callback?.skipAfterMs !== undefined && !served.has('skip'))
    throw new WireError('Unsupported', { feature: 'skipAfterMs' });
  if (params.callback?.limits !== undefined && !served.has('limits'))
    throw new WireError('Unsupported', { feature: 'limits' });
  if (params.select?.length > 1 && !served.has('multiSelect'))
    throw new WireError('Unsupported', { feature: 'select' });
  if (method === 'triggers/stream' && !served.has('stream'))
    throw new WireError('Unsupported', { feature: 'stream' });
}

const methods = {
  'triggers/list': ({ cursor, ifNoneMatch }, principal) => {
    if (cursor !== undefined) throw invalid('/cursor', 'a cursor of this list');
    const triggers = visible(principal);
    const tag = digest(triggers);
    const common = { etag: tag, ttlMs: 60_000, cacheScope: 'private' };
    return ifNoneMatch === tag ? { notModified: true, ...common } : { triggers, ...common };
  },

  'triggers/subscribe': (params, principal) =>
    oneByOne(`${principal} ${params.key}`, async () => {
      const { key, select: asked, callback, since } = params;
      const select = selecting(asked, principal);
      requireCallback(callback, select);
      const reaches = select.map(({ name }) => types.get(name).history?.maxAgeMs ?? 0);
      if (since !== undefined && reaches.includes(0))
        throw new WireError('Unsupported', { feature: 'since' });
      const found = ownedBy(principal).find((sub) => sub.key === key);
      if (found !== undefined) {
        const same =
          isDeepStrictEqual(found.select, select) &&
          found.callback?.url === callback?.url &&
          found.callback?.secret === callback?.secret &&
          found.callback?.skipAfterMs === callback?.skipAfterMs &&
          isDeepStrictEqual(found.callback?.limits, limitsOf(callback));
        if (!same)
          throw new WireError('Conflict', {
            kind: 'key',
            subscriptionId: found.subscriptionId,
            etag: etag(found),
          });
        configure(found, () => renew(found, params));
        return { ...described(found), created: false };
      }
      limit('subscriptions', ownedBy(principal).length);
      const sub = {
        subscriptionId: `sub_${token(24)}`,
        serial: ++serial,
        principal,
        key,
        select,
        paused: false,
        createdAt: now(),
        epoch: token(16),
        version: 0,
        entries: [],
        trimmed: 0,
        acked: 0,
        sent: 0,
        streams: new Set(),
        pulls: new Set(),
        callback: undefined,
        attempt: false,
      };
      configure(sub, () => renew(sub, params));
      if (callback !== undefined) {
        await requireConsent(sub, callback);
        sub.callback = newCallback(callback);
      }
      const from =
        since === undefined ? undefined : Math.max(timeOf(since), now() - Math.min(...reaches));
      // Events beyond the retention of the log become its leading gap.
      if (from !== undefined)
        for (const entry of [...accepted.values()].filter(
          (one) => one.at >= from && (isEvent(one) || one.known) && concerns(sub, one),
        ))
          append(sub, entry);
      for (const one of select.filter(({ name }) => types.get(name).initial))
        append(sub, presentState(one));
      live.set(sub.subscriptionId, sub);
      wake(sub);
      return {
        ...described(sub),
        created: true,
        ...(from === undefined ? {} : { since: instant(from) }),
      };
    }),

  'triggers/update': (params, principal) =>
    oneByOne(params.subscriptionId, async () => {
      const { callback, removeCallback } = params;
      const isNew = ({ callback: current }) =>
        callback && (callback.url !== current?.url || callback.secret !== current.secret);
      const checked = () => {
        const sub = own(principal, params.subscriptionId);
        const select =
          params.select === undefined ? sub.select : selecting(params.select, principal);
        requireCallback(callback ?? (removeCallback ? undefined : sub.callback && {}), select);
        requireMatch(sub, params);
        return { sub, select };
      };
      const { sub: asked } = checked();
      if (isNew(asked)) await requireConsent(asked, callback);
      // Check again, because an endpoint may take ten seconds to answer.
      const { sub, select } = checked();
      configure(sub, () => {
        Object.assign(sub, {
          select,
          paused: params.paused ?? sub.paused,
        });
        if (params.ttlMs !== undefined || params.noExpiry) renew(sub, params);
        if (removeCallback) sub.callback = undefined;
        else if (isNew(sub))
          if (callback.url === sub.callback?.url) rotate(reset(sub.callback), callback.secret);
          else sub.callback = newCallback(callback);
        if (params.revokePrevious && sub.callback) sub.callback.previous = undefined;
        if (callback) {
          sub.callback.skipAfterMs = callback.skipAfterMs;
          sub.callback.limits = limitsOf(callback);
        }
      });
      if (params.resume) resume(sub);
      void attemptDelivery(sub, reactions);
      return described(sub);
    }),

  'triggers/get': ({ subscriptionId, ifNoneMatch }, principal) => {
    const sub = own(principal, subscriptionId);
    const whole = described(sub);
    if (ifNoneMatch !== whole.etag) return whole;
    return {
      notModified: true,
      etag: whole.etag,
      epoch: whole.epoch,
      head: whole.head,
      acked: whole.acked,
      oldest: whole.oldest,
      expiresAt: whole.expiresAt,
      ...(sub.callback === undefined ? {} : { callback: conditionOf(sub.callback) }),
    };
  },

  'triggers/subscriptions': ({ cursor = '0' }, principal) => {
    if (!/^\d{1,15}$/.test(cursor)) throw invalid('/cursor', 'a cursor of this list');
    // In creation order, so that a subscription that starts or ends meanwhile changes no other page.
    const rest = ownedBy(principal).filter((sub) => sub.serial > Number(cursor));
    const page = rest.slice(0, PAGE);
    return {
      subscriptions: page.map(described),
      ...(rest.length > PAGE ? { nextCursor: String(page.at(-1).serial) } : {}),
    };
  },

  'triggers/unsubscribe': (params, principal) => {
    const sub = own(principal, params.subscriptionId);
    requireMatch(sub, params);
    end(sub, 'unsubscribed');
    return {};
  },

  'triggers/ack': ({ subscriptionId, position }, principal) => {
    const sub = own(principal, subscriptionId);
    requireSent(sub, position);
    acknowledge(sub, position.sequence);
    return { epoch: sub.epoch, acked: sub.acked, head: head(sub) };
  },

  'triggers/pull': async (
    { subscriptionId, after, ack, maxEvents = 100, waitMs = 0 },
    principal,
    { onClose },
  ) => {
    const sub = own(principal, subscriptionId);
    requireSent(sub, ack);
    requirePosition(sub, after);
    const waits =
      waitMs > 0 &&
      maxEvents > 0 &&
      head(sub) === (after?.sequence ?? Math.max(sub.acked, ack?.sequence ?? 0));
    if (waits)
      limit(
        'waiting_pulls',
        ownedBy(principal).reduce((count, { pulls }) => count + pulls.size, 0),
      );
    acknowledge(sub, ack?.sequence);
    const start = after?.sequence ?? sub.acked;
    const last = waits ? await news(sub, start, Math.min(waitMs, PULL.waitMs), onClose) : undefined;
    const answer =
      last ??
      (maxEvents === 0
        ? delivery(sub, start)
        : read(sub, start, { events: Math.min(maxEvents, PULL.events), bytes: PULL.bytes }));
    const hasMore = last === undefined && lastOf(answer) < answer.head;
    return { ...answer, hasMore, nextPollMs: hasMore ? 0 : 1000 };
  },
};

/** Opens a stream. Throws when it is rejected, before anything is sent. */
function stream({ subscriptionId, after, window }, principal, connection) {
  const sub = own(principal, subscriptionId);
  if (sub.select.some(({ name }) => types.get(name).drains?.includes('stream') === false))
    throw new WireError('Unsupported', { feature: 'stream' });
  requirePosition(sub, after);
  limit(
    'streams',
    ownedBy(principal).reduce((count, { streams }) => count + streams.size, 0),
  );
  openStream(sub, after?.sequence ?? sub.acked, window, connection);
}

/**
 * Resolves with undefined when the log has an entry after `start` or when the time is over, and with
 * the termination notice when the subscription ends.
 */
const news = (sub, start, ms, onClose) =>
  new Promise((resolve) => {
    const pull = (terminated) => {
      clearTimeout(timer);
      sub.pulls.delete(pull);
      resolve(terminated);
    };
    pull.after = start;
    const timer = setTimeout(pull, ms, undefined);
    sub.pulls.add(pull);
    onClose(() => pull());
  });

/* ------------------------------------------------------------ JSON-RPC over Streamable HTTP */

const REVISIONS = ['2026-07-28', '2025-11-25'];
const INFO = { name: 'minimal-triggers-server', version: '1' };
const INTERNAL = { code: -32603, message: 'Internal error.' };

const base = {
  'server/discover': () => ({
    supportedVersions: [REVISIONS[0]],
    capabilities: { extensions: { [EXTENSION]: SETTINGS } },
    ttlMs: 0,
    cacheScope: 'private',
    _meta: { [`${META}/serverInfo`]: INFO },
  }),
  ping: () => ({}),
};

/** Answers one message. */
async function serve(request, response, message) {
  const { id, method, params = {} } = message;
  const {
    authorization = '',
    'mcp-protocol-version': revision,
    'mcp-session-id': sessionId,
    'mcp-method': named,
  } = request.headers;
  const answer = (status, body, headers = {}) =>
    response
      .writeHead(status, { 'content-type': 'application/json', ...headers })
      .end(
        body && JSON.stringify({ jsonrpc: '2.0', ...(id === undefined ? {} : { id }), ...body }),
      );
  const principal = byToken.get(authorization.replace(/^Bearer /, ''));
  if (authorization !== '' && principal === undefined)
    return answer(401, undefined, { 'www-authenticate': 'Bearer error="invalid_token"' });
  const modern = revision === REVISIONS[0];
  try {
    if (method === 'initialize') {
      const made = token(16);
      sessions.set(made, new Map());
      const capabilities = { experimental: { [EXTENSION]: SETTINGS } };
      return answer(
        200,
        { result: { protocolVersion: REVISIONS[1], capabilities, serverInfo: INFO } },
        { 'mcp-session-id': made },
      );
    }
    if (revision !== undefined && !REVISIONS.includes(revision))
      return answer(400, {
        error: {
          code: -32022,
          message: 'Unsupported protocol version',
          data: { supported: REVISIONS, requested: revision },
        },
      });
    if (modern && (named !== method || params?._meta?.[`${META}/protocolVersion`] !== revision))
      return answer(400, { error: { code: -32020, message: 'Headers and body disagree' } });
    const session = sessions.get(sessionId);
    if (!modern && session === undefined)
      return answer(404, { error: { code: -32001, message: 'Session not found' } });
    if (id === undefined) {
      if (method === 'notifications/cancelled') session?.get(params?.requestId)?.();
      return answer(202);
    }
    const onClose = (gone) => response.on('close', gone);
    if (Object.hasOwn(base, method))
      return answer(200, { result: { resultType: 'complete', ...base[method]() } });
    if (method !== 'triggers/stream' && !Object.hasOwn(methods, method))
      return answer(404, { error: { code: -32601, message: 'Method not found' } });
    requireParams(method, params);
    if (params.since !== undefined && Number.isNaN(timeOf(params.since)))
      throw invalid('/since', 'an RFC 3339 date-time');
    requireServed(method, params);
    if (principal === undefined && method !== 'triggers/list')
      throw new WireError('Forbidden', { kind: 'authentication' });
    tick();
    if (method !== 'triggers/stream') {
      const result = await methods[method](params, principal, { onClose });
      return answer(200, { result: { resultType: 'complete', ...result } });
    }
    const close = () => response.end();
    session?.set(id, close);
    onClose(() => session?.delete(id));
    const say = (said) => {
      if (!response.headersSent)
        response.writeHead(200, {
          'content-type': 'text/event-stream',
          'cache-control': 'no-cache',
        });
      response.write(`event: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', ...said })}\n\n`);
    };
    return stream(params, principal, {
      id,
      say,
      unread: () => response.writableLength,
      close,
      onClose,
    });
  } catch (error) {
    if (error.error === undefined) process.stderr.write(`${error.stack}\n`);
    return answer(200, { error: error.error ?? INTERNAL });
  }
}

const bodyOf = async (request) => {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    if ((bytes += chunk.length) > BODY_BYTES_MAX)
      throw new Error('The body is too large. Send at most 4 MiB.');
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
};

const mcp = createServer((request, response) => {
  // A request with this header comes from a web page.
  if (request.headers.origin !== undefined) return response.writeHead(403).end();
  if (request.method !== 'POST') return response.writeHead(405, { allow: 'POST' }).end();
  bodyOf(request).then(
    (message) => serve(request, response, message),
    () =>
      response.writeHead(400, { 'content-type': 'application/json' }).end(
        JSON.stringify({
          jsonrpc: '2.0',
          error: { code: -32700, message: 'The body is not JSON, or too large' },
        }),
      ),
  );
});

/* ------------------------------------------------------------ the control interface, for tests */

const verbs = {
  emit: ({ events }) => events.forEach(accept),
  unwatch: ({ name, arguments: known }) => accept({ name, gap: 'unwatched', known }),
  crash: () => {
    mcp.closeAllConnections();
    forget();
  },
  advance: ({ ms }) => {
    clock.leadMs += ms;
    tick();
  },
  permit: ({ principal, name, allowed }) => {
    forbidden[allowed ? 'delete' : 'add'](`${PRINCIPALS[principal]} ${name}`);
    tick();
  },
  redact: (which) => {
    const entry = accepted.get(idOf(which));
    // All logs share one entry. Its id stays, because without it the event could be accepted again.
    if (entry !== undefined)
      Object.assign(entry, {
        gap: 'redacted',
        event: { name: which.name, eventId: which.eventId },
      });
  },
  remove: ({ name, reason }) => {
    for (const sub of [...live.values()])
      if (sub.select.some((one) => one.name === name)) end(sub, reason);
    types.delete(name);
  },
  declare: ({ name }) => void types.set(name, itemType(name)),
};
const offer = () => ({
  verbs: Object.keys(verbs),
  types: {
    plain: 'minimal.plain',
    ...(DECLARED.includes('history') ? { history: 'minimal.history' } : {}),
    short: 'minimal.short',
    pullOnly: 'minimal.pull_only',
    initial: 'minimal.initial',
  },
  tokens: TOKENS,
  names: { inside: Object.keys(NAMES)[0] },
  aheadMs: clock.leadMs,
});

const control = createServer((request, response) => {
  const answer = (status, body) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  if (request.method === 'GET') return answer(200, offer());
  bodyOf(request)
    .then(({ do: verb, ...params }) => {
      if (!Object.hasOwn(verbs, verb))
        return answer(400, {
          error: 'unknown_verb',
          message: `This verb is not known. Use one of: ${Object.keys(verbs).join(', ')}.`,
        });
      verbs[verb](params);
      return answer(200, {});
    })
    .catch((error) => answer(500, { error: 'failed', message: error.message }));
});

mcp.listen(0, '127.0.0.1', () =>
  control.listen(0, '127.0.0.1', () => {
    const at = (server, path) => `http://127.0.0.1:${server.address().port}${path}`;
    process.stdout.write(
      `${JSON.stringify({ url: at(mcp, '/mcp'), token: TOKENS.main, control: at(control, '/') })}\n`,
    );
  }),
);
