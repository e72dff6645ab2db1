// A correct client of SEP-3415 in plain JavaScript, without dependencies. It has only what the client
// suite of the kit needs. `CONFORMANCE_WRONG` names a fault of `broken/events/faults.mjs`.
import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const url = process.argv.at(-1);
const era = '2026-07-28';
const META = 'io.modelcontextprotocol';
const { mode, suggested = {} } = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT);
const { requestTimeoutMs = 60_000, streamSilenceMs = 60_000, pollFloorMs = 1000 } = suggested;

/** Every decision that a client can get wrong. */
const RIGHT = {
  hasExtension: (settings) => settings !== undefined,
  onListChanged: (call) => call('events/list'),
  pollCursor: (cursor) => cursor,
  /** The cursor to keep after a result; `_before` is the cursor that was kept before. */
  kept: ({ cursor = null }, _before) => cursor,
  pauseMs: ({ hasMore, nextPollMs }, floor) => (hasMore ? 0 : Math.max(floor, nextPollMs)),
  streamTimeoutMs: (_ms) => Infinity,
  silenceMs: (ms) => ms,
  streamCursor: (cursor) => cursor,
  /** Consequence of a notification for its stream: 'end', 'again' = reopen, undefined = none. */
  effect: (kind) => (kind === 'terminated' ? 'end' : undefined),
  /** Runs after a stream that ended without a final result. */
  onBroken: () => {},
  tells: (_line) => true,
  newSecret: () => `whsec_${randomBytes(32).toString('base64')}`,
  refreshMs: (refreshBefore) => (Date.parse(refreshBefore) - Date.now()) / 2,
  hookUrl: (hook, _n) => hook,
};
const wrong = process.env.CONFORMANCE_WRONG;
const decisions = {
  ...RIGHT,
  ...(wrong ? (await import('./broken/events/faults.mjs')).faults[wrong].overrides : {}),
};

const forever = () => new Promise(() => setInterval(() => {}, 60_000));
const say = (line) => {
  if (decisions.tells(line)) process.stdout.write(`${JSON.stringify(line)}\n`);
};

/* ------------------------------------------------------------ JSON-RPC over Streamable HTTP */

async function* messages(method, params, signal) {
  const id = randomUUID();
  const _meta = {
    [`${META}/protocolVersion`]: era,
    [`${META}/clientInfo`]: { name: 'minimal', version: '1' },
    [`${META}/clientCapabilities`]: { extensions: { [`${META}/events`]: {} } },
  };
  const response = await fetch(url, {
    method: 'POST',
    signal,
    body: JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta } }),
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': era,
      'mcp-method': method,
    },
  });
  const streamed = response.headers.get('content-type')?.startsWith('text/event-stream');
  for await (const message of streamed ? sse(response.body) : [await response.json()]) {
    if (message.error) throw new Error(message.error.message);
    yield { ...message, isAnswer: message.id === id };
  }
}

async function* sse(body) {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2))
      yield JSON.parse(text.slice('data: '.length, end));
  }
}

async function call(method, params = {}) {
  for await (const message of messages(method, params, AbortSignal.timeout(requestTimeoutMs)))
    if (message.isAnswer) return message.result;
  throw new Error(`${method} got no answer`);
}

/* ------------------------------------------------------------ the three delivery modes */

async function watchList() {
  for await (const { method } of messages('subscriptions/listen', {
    notifications: { eventsListChanged: true },
  })) {
    if (method === 'notifications/events/list_changed') await decisions.onListChanged(call);
  }
}

const tell = ({ eventId }) => say({ applied: 'event', eventId });

const FOLLOW = {
  async poll(followed) {
    for (let cursor = null; ;) {
      const answer = await call('events/poll', {
        ...followed,
        cursor: decisions.pollCursor(cursor),
      });
      answer.events.forEach(tell);
      if (answer.truncated) say({ applied: 'gap' });
      cursor = decisions.kept(answer, cursor);
      await sleep(decisions.pauseMs(answer, pollFloorMs));
    }
  },

  async push(followed) {
    for (let cursor = null, over = false; !over;) {
      const stop = new AbortController();
      let silence;
      const watch = () => {
        clearTimeout(silence);
        silence = setTimeout(() => stop.abort(), decisions.silenceMs(streamSilenceMs));
      };
      const timeout = decisions.streamTimeoutMs(requestTimeoutMs);
      if (timeout !== Infinity) setTimeout(() => stop.abort(), timeout);
      watch();
      let isWhole = false;
      try {
        for await (const { method, params, isAnswer } of messages(
          'events/stream',
          { ...followed, cursor: decisions.streamCursor(cursor) },
          stop.signal,
        )) {
          watch();
          isWhole ||= isAnswer;
          const kind = method?.split('/').at(-1);
          if (kind === 'event') tell(params);
          if (kind === 'event' || kind === 'heartbeat' || kind === 'active')
            cursor = decisions.kept(params, cursor);
          if (kind === 'terminated') say({ applied: 'ended' });
          const effect = decisions.effect(kind, params);
          if (effect === 'end') over = true;
          if (effect !== undefined) break;
        }
      } catch {
        // The connection broke, or the stream was silent for too long.
      }
      clearTimeout(silence);
      stop.abort();
      if (!over && !isWhole) await decisions.onBroken();
      if (!over) await sleep(50);
    }
    await forever();
  },

  async webhook(followed) {
    const secret = decisions.newSecret();
    const server = createServer((request, response) => take(request, response, secret));
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    for (let n = 0; ; n += 1) {
      const hook = decisions.hookUrl(`http://127.0.0.1:${server.address().port}/hook`, n);
      const { refreshBefore } = await call('events/subscribe', {
        ...followed,
        delivery: { mode: 'webhook', url: hook, ...(secret && { secret }) },
      });
      await sleep(decisions.refreshMs(refreshBefore));
    }
  },
};

function take(request, response, secret) {
  const chunks = [];
  request
    .on('data', (chunk) => chunks.push(chunk))
    .on('end', () => {
      const raw = Buffer.concat(chunks);
      const key = Buffer.from(String(secret).slice('whsec_'.length), 'base64');
      const right = createHmac('sha256', key)
        .update(`${request.headers['webhook-id']}.${request.headers['webhook-timestamp']}.`)
        .update(raw)
        .digest('base64');
      if (!String(request.headers['webhook-signature']).split(' ').includes(`v1,${right}`))
        return response.writeHead(401).end();
      const body = JSON.parse(raw.toString());
      if (body.type === 'verification')
        return response.writeHead(200).end(JSON.stringify({ challenge: body.challenge }));
      if (body.type === undefined) tell(body);
      return response.writeHead(204).end();
    });
}

process.once('SIGTERM', () => process.exit(0));
say({ took: Object.keys(suggested) });
const { capabilities } = await call('server/discover');
const settings = capabilities.extensions?.[`${META}/events`];
if (!decisions.hasExtension(settings)) await forever();
const { events } = await call('events/list');
if (settings?.listChanged) watchList().catch(() => {});
await Promise.all(
  events
    .filter(({ delivery }) => delivery.includes(mode))
    .map(({ name }) => FOLLOW[mode]({ name, arguments: {} })),
);
