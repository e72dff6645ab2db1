// A correct client of the extension in plain JavaScript, without dependencies. It has only what the
// client suite of the kit needs, and follows one selection by stream, pull or callback.
// `CONFORMANCE_WRONG` names a fault of `broken/client/faults.mjs`.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { READER, Reader } from './minimal-reader.mjs';
import { Receiver, RECEIVER } from './minimal-receiver.mjs';

const url = process.argv.at(-1);
const era = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION ?? '2026-07-28';
const {
  select,
  drain,
  suggested = {},
  unsubscribeAfter,
} = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT);
const {
  requestTimeoutMs = 60_000,
  streamSilenceMs = 30_000,
  backoffBaseMs = 100,
  pullWaitMs = 20_000,
} = suggested;
const META = 'io.modelcontextprotocol';
const EXTENSION = `${META}/triggers`;
/** The revision of the specification that this client implements. */
const REVISION = '2026-12-01';

/** Every decision that a client can get wrong. */
const RIGHT = {
  ...READER,
  hasExtension: (settings) => settings?.revision === REVISION,
  /** Whether a message can be read. Unknown members are ignored. */
  canRead: (_message) => true,
  /** The meaning of an error, from its code and data. */
  meaning: ({ code, data }) => {
    if (code === -32601) return 'absent';
    if (data?.kind === 'epoch' || data?.kind === 'position') return data.kind;
    return data?.kind === 'subscription' ? 'gone' : 'transient';
  },
  /** The position to drain from. */
  after: (applied, _head) => applied,
  /**
   * Handles a delivery that starts after missing sequence numbers. The error makes the client drain
   * again from its applied position.
   */
  onMissing: () => {
    throw new Error('Sequence numbers are missing. Drain again from the applied position.');
  },
  /** Whether to pull what is missing before a delivery of a callback. */
  catchesUp: (_delivery) => true,
  isUnsubscribed: ({ data }) => data?.kind === 'subscription',
  onListChanged: async (list, call) => {
    list.etag = (await call('triggers/list', { ifNoneMatch: list.etag })).etag;
  },
  renewAfterMs: (subscription) => subscription.renewAfterMs,
  renewal: (subscription) => ({
    subscriptionId: subscription.subscriptionId,
    ttlMs: subscription.ttlMs,
  }),
  pauseMs: (failures, base) => Math.random() * Math.min(30_000, base * 2 ** failures),
  silenceMs: (ms) => ms,
  streamTimeoutMs: (_ms) => Infinity,
  nextPullMs: (result) => result.nextPollMs,
  /** Hands an item to the application before it is acknowledged. */
  hands: (line, say) => say(line),
};
const wrong = process.env.CONFORMANCE_WRONG;
const decisions = {
  ...RIGHT,
  ...(wrong ? (await import('./broken/client/faults.mjs')).faults[wrong].overrides : {}),
};

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const forever = () => new Promise(() => setInterval(() => {}, 60_000));

/* ------------------------------------------------------------ JSON-RPC over Streamable HTTP */

class RpcError extends Error {
  constructor({ code, message, data }) {
    super(message);
    Object.assign(this, { code, data });
  }
}

let session;

/** The messages of one response, as they arrive. */
async function* messages(method, params, signal) {
  const id = randomUUID();
  const _meta =
    era === '2026-07-28'
      ? {
          [`${META}/protocolVersion`]: era,
          [`${META}/clientInfo`]: { name: 'minimal', version: '1' },
          [`${META}/clientCapabilities`]: {},
        }
      : undefined;
  const response = await fetch(url, {
    method: 'POST',
    signal,
    body: JSON.stringify({
      jsonrpc: '2.0',
      ...(method.startsWith('notifications/') ? {} : { id }),
      method,
      params: { ...params, ...(_meta && { _meta }) },
    }),
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(session && { 'mcp-session-id': session }),
      ...(method === 'initialize' ? {} : { 'mcp-protocol-version': era }),
      ...(_meta && { 'mcp-method': method }),
    },
  });
  session = response.headers.get('mcp-session-id') ?? session;
  const streamed = response.headers.get('content-type')?.startsWith('text/event-stream');
  for await (const message of streamed
    ? sse(response.body)
    : response.status === 202
      ? []
      : [await response.json()]) {
    if (message.error) throw new RpcError(message.error);
    yield {
      ...message,
      isAnswer: message.id === id,
      isOurs: message.params?.requestId === id,
    };
  }
}

async function* sse(body) {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of body) {
    text = (text + decoder.decode(chunk, { stream: true })).replace(/\r\n/g, '\n');
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      const data = text
        .slice(0, end)
        .split('\n')
        .filter((line) => line.startsWith('data:'))
        .map((line) => line.slice(5).trimStart())
        .join('\n');
      if (data) yield JSON.parse(data);
    }
  }
}

async function call(method, params = {}, waitMs = 0) {
  for await (const message of messages(
    method,
    params,
    AbortSignal.timeout(requestTimeoutMs + waitMs),
  ))
    if (message.isAnswer) return message.result;
  throw new Error(`${method} got no answer`);
}

async function greet() {
  if (era === '2026-07-28')
    return (await call('server/discover')).capabilities.extensions?.[EXTENSION];
  const { capabilities } = await call('initialize', {
    protocolVersion: era,
    capabilities: {},
    clientInfo: { name: 'minimal', version: '1' },
  });
  for await (const _ of messages(
    'notifications/initialized',
    {},
    AbortSignal.timeout(requestTimeoutMs),
  ));
  return capabilities.experimental?.[EXTENSION];
}

/* ------------------------------------------------------------ the subscription */

let events = 0;
let subscription;
let list;
let receiver;
let renewing;
const reader = new Reader((line) => {
  decisions.hands(line, say);
  if (line.applied === 'event') events += 1;
}, decisions);

async function subscribe() {
  const params = { key: 'minimal', select };
  if (drain === 'callback') {
    receiver ??= await new Receiver({
      reader,
      decisions: { ...RECEIVER, ...decisions },
      onMissing: (delivery) => {
        if (decisions.catchesUp(delivery)) catchUp().catch(() => {});
      },
    }).listen();
    params.callback = receiver.register({ audience: url, key: 'minimal' });
  }
  subscription = await call('triggers/subscribe', params);
  reader.applied ??= { epoch: subscription.epoch, sequence: subscription.acked };
  clearTimeout(renewing);
  renewing = setTimeout(renew, decisions.renewAfterMs(subscription));
}

async function renew() {
  try {
    subscription = await call('triggers/update', decisions.renewal(subscription));
    renewing = setTimeout(renew, decisions.renewAfterMs(subscription));
  } catch {
    renewing = setTimeout(renew, 1000);
  }
}

const acknowledge = async (sequence) => {
  if (sequence > 0)
    await call('triggers/ack', {
      subscriptionId: subscription.subscriptionId,
      position: { epoch: reader.applied.epoch, sequence },
    });
  if (unsubscribeAfter !== undefined && events >= unsubscribeAfter) await unsubscribe();
};

async function unsubscribe() {
  try {
    await call('triggers/unsubscribe', { subscriptionId: subscription.subscriptionId });
  } catch (error) {
    if (!decisions.isUnsubscribed(error)) process.exit(1);
  }
  process.exit(0);
}

/** Applies a delivery. Returns whether the reader accepted it. */
function take(delivery) {
  if (!decisions.canRead(delivery))
    throw new Error('The message cannot be read. Drain again from the applied position.');
  const { refused } = reader.apply(delivery);
  if (refused === 'missing') decisions.onMissing(delivery);
  return refused === undefined;
}

const DRAINS = {
  async stream() {
    const stop = new AbortController();
    let silence;
    const watch = () => {
      clearTimeout(silence);
      silence = setTimeout(() => stop.abort(), decisions.silenceMs(streamSilenceMs));
    };
    const timeout = decisions.streamTimeoutMs(requestTimeoutMs);
    if (timeout !== Infinity) setTimeout(() => stop.abort(), timeout).unref();
    watch();
    try {
      const after = decisions.after(reader.applied, subscription.head);
      for await (const message of messages(
        'triggers/stream',
        { subscriptionId: subscription.subscriptionId, ...(after && { after }) },
        stop.signal,
      )) {
        watch();
        if (message.isAnswer) return;
        if (message.method === 'notifications/triggers/list_changed')
          await decisions.onListChanged(list, call);
        if (message.method !== 'notifications/triggers/delivery' || !message.isOurs) continue;
        subscription.head = message.params.head;
        const before = reader.applied;
        if (take(message.params) && reader.applied !== before)
          await acknowledge(reader.applied.sequence);
      }
    } finally {
      clearTimeout(silence);
      stop.abort();
    }
  },
  async pull() {
    for (;;) {
      const result = await pullOnce(pullWaitMs);
      subscription.head = result.head;
      take(result);
      if (unsubscribeAfter !== undefined && events >= unsubscribeAfter) await unsubscribe();
      if (pullWaitMs === 0 && !result.hasMore) await sleep(decisions.nextPullMs(result));
    }
  },
  callback: forever,
};

function pullOnce(waitMs) {
  const { subscriptionId, head } = subscription;
  const after = decisions.after(reader.applied, head);
  const ack = reader.applied.sequence > 0 && after ? { ack: reader.applied } : {};
  return call('triggers/pull', { subscriptionId, ...(after && { after }), ...ack, waitMs }, waitMs);
}

/** For callbacks: pulls the missing sequence numbers and applies them. */
async function catchUp() {
  for (let more = true; more;) {
    const result = await pullOnce(0);
    reader.apply(result);
    more = result.hasMore;
  }
  await acknowledge(reader.applied.sequence);
}

/* ------------------------------------------------------------ main loop */

say({ took: Object.keys(suggested) });
process.once('SIGTERM', () => process.exit(0));
const settings = await greet();
if (!decisions.hasExtension(settings)) await forever();
for (let failures = 0, wanted = true; ;) {
  const { applied } = reader;
  try {
    list ??= await call('triggers/list');
    if (wanted) await subscribe();
    wanted = false;
    await DRAINS[drain]();
    failures = 0;
  } catch (error) {
    const { data } = error;
    switch (decisions.meaning(error)) {
      case 'absent':
        await forever();
        break;
      case 'epoch':
        reader.lose(data.epoch);
        break;
      case 'position':
        reader.tell({ applied: 'lost', ...reader.applied });
        reader.applied = { epoch: data.epoch, sequence: data.acked };
        break;
      case 'gone':
        reader.tell({ applied: 'lost', ...reader.applied, reason: data.reason });
        reader.left.push(reader.applied.epoch);
        reader.applied = null;
        wanted = true;
        break;
      default:
        if (reader.applied !== applied) failures = 0;
        await sleep(decisions.pauseMs(failures++, backoffBaseMs));
    }
  }
}
