// A client of the Triggers extension implemented from sep/0000-triggers.md alone: raw JSON-RPC over
// HTTP for protocol revision 2026-07-28, with Node's built-ins. Names in square brackets are
// requirement ids, the anchors of the SEP.
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

const REVISION = '2026-07-28';
const EXTENSION = 'io.modelcontextprotocol/triggers';
const META = 'io.modelcontextprotocol';
const DEAD_STREAM_MS = 30_000; // [stream-client-dead]
const REMEMBERED = 10_000;

/** [sig-client-secret] */
export const newSecret = () => `whsec_${randomBytes(32).toString('base64')}`;

/**
 * The highest number that a delivery covers, or undefined when it breaks [dlv-coverage],
 * [dlv-coverage] or [dlv-coverage].
 */
export function lastOf({ afterSequence: after, events, gaps = [], head, acked }) {
  const ascending = (list, of) => list.every((item, i) => i === 0 || of(list[i - 1]) < of(item));
  if (!ascending(events, (e) => e.sequence) || !ascending(gaps, (g) => g.from)) return undefined;
  let last = after;
  for (const [from, to] of [
    ...events.map((e) => [e.sequence, e.sequence]),
    ...gaps.map((g) => [g.from, g.to]),
  ].sort((a, b) => a[0] - b[0])) {
    if (from !== last + 1 || to < from) return undefined;
    last = to;
  }
  return last <= head && acked <= head ? last : undefined;
}

/** The error that a server answered. [err-client-unknown]: decide by `code` and `data`. */
export class TriggersError extends Error {
  constructor({ code, message, data }) {
    super(message);
    Object.assign(this, { code, data });
  }
}

/**
 * "Applying a delivery". Per subscription it keeps the applied position, the epochs it left and the
 * events it applied in `store`, a Map that is written in the same step as the effect [recv-atomic].
 * `told` is the application: it gets events, gaps, losses and endings.
 */
export class Reader {
  constructor(told, store = new Map()) {
    Object.assign(this, { told, store });
  }

  /** The applied position, if any is stored. */
  position(subscriptionId) {
    return this.store.get(subscriptionId)?.applied;
  }

  /** Sets the position to start or to continue from. */
  start(subscriptionId, applied) {
    this.store.set(subscriptionId, {
      left: [],
      seen: new Set(),
      ...this.store.get(subscriptionId),
      applied,
    });
  }

  /** The log has a new epoch: tell the application before any event of it [recv-epoch]. */
  lost(subscriptionId, epoch) {
    const state = this.store.get(subscriptionId);
    this.told({ type: 'lost', subscriptionId, at: state.applied });
    state.left.push(state.applied.epoch);
    state.applied = { epoch, sequence: 0 };
  }

  /**
   * Returns `{ ack }`, or `{ refused }` with `invalid`, `ended`, `left` or `missing` and nothing
   * applied.
   */
  apply(d) {
    const last = lastOf(d);
    if (last === undefined) return { refused: 'invalid' };
    if (!this.store.has(d.subscriptionId))
      this.start(d.subscriptionId, { epoch: d.epoch, sequence: d.afterSequence });
    const state = this.store.get(d.subscriptionId);
    if (state.ended) return { refused: 'ended' }; // forgetting it would let a repeated request start it again
    if (state.left.includes(d.epoch)) return { refused: 'left' }; // [recv-left-epoch]
    if (d.epoch !== state.applied.epoch) this.lost(d.subscriptionId, d.epoch);
    if (d.afterSequence > state.applied.sequence) {
      if (d.afterSequence > d.acked) return { refused: 'missing' }; // [recv-missing]
      const from = state.applied.sequence + 1;
      this.told({ type: 'elsewhere', subscriptionId: d.subscriptionId, from, to: d.afterSequence }); // [recv-elsewhere]
      state.applied = { epoch: d.epoch, sequence: d.afterSequence };
    }
    const parts = [
      ...d.events.map((event) => ({
        type: 'event',
        from: event.sequence,
        to: event.sequence,
        event,
      })),
      ...(d.gaps ?? []).map((gap) => ({ type: 'gap', ...gap })),
    ].sort((a, b) => a.from - b.from);
    for (const part of parts) {
      if (part.to <= state.applied.sequence) continue; // [recv-duplicate]
      if (part.type === 'gap')
        this.told({ ...part, subscriptionId: d.subscriptionId, from: state.applied.sequence + 1 }); // [rec-tell]
      else this.#event(state, d.subscriptionId, part.event);
      state.applied = { epoch: d.epoch, sequence: part.to };
    }
    const ack = Math.min(state.applied.sequence, last);
    if (d.terminated) {
      this.told({ type: 'terminated', subscriptionId: d.subscriptionId, ...d.terminated });
      state.ended = true;
    }
    return { ack };
  }

  #event(state, subscriptionId, event) {
    const identity = `${event.name}\n${event.eventId}`;
    if (state.left.length > 0 && state.seen.has(identity)) return; // [recv-epoch-repeat]
    this.told({ type: 'event', subscriptionId, event });
    state.seen.add(identity);
    if (state.seen.size > REMEMBERED) state.seen.delete(state.seen.values().next().value);
  }
}

/** The messages of a `text/event-stream` body. */
async function* sse(body) {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of body) {
    text = (text + decoder.decode(chunk, { stream: true })).replace(/\r\n|\r(?=.)/gs, '\n');
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      const data = text
        .slice(0, end)
        .split('\n')
        .filter((line) => line.startsWith('data:'))
        .map((line) => line.slice(5).replace(/^ /, ''))
        .join('\n');
      if (data) yield JSON.parse(data);
    }
  }
}

/** One server, one access token. */
export class Client {
  constructor({ url, token }) {
    Object.assign(this, { url, token });
  }

  async #post(method, params, signal) {
    const id = randomUUID();
    const _meta = {
      [`${META}/protocolVersion`]: REVISION,
      [`${META}/clientInfo`]: { name: 'stranger', version: '1.0.0' },
      [`${META}/clientCapabilities`]: { extensions: { [EXTENSION]: {} } },
    }; // [cap-client-optional]
    const response = await fetch(this.url, {
      method: 'POST',
      signal,
      body: JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta } }),
      headers: {
        authorization: `Bearer ${this.token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': REVISION,
        'mcp-method': method,
      },
    });
    return { id, response };
  }

  /** The messages of the answer, whichever of the two forms of Streamable HTTP the server chose. */
  async *#messages(method, params, signal) {
    const { id, response } = await this.#post(method, params, signal);
    const streamed = response.headers.get('content-type')?.startsWith('text/event-stream');
    if (!streamed && !response.headers.get('content-type')?.startsWith('application/json'))
      throw new Error(`HTTP ${response.status}`);
    for await (const message of streamed ? sse(response.body) : [await response.json()]) {
      if (message.error) throw new TriggersError(message.error);
      yield {
        ...message,
        mine: message.id === id,
        tag: message.params?.requestId === id,
      };
    }
  }

  /** One request, one result. Throws TriggersError. */
  async call(method, params = {}, { signal } = {}) {
    for await (const message of this.#messages(method, params, signal))
      if (message.mine) return message.result;
    throw new Error(`the connection ended before ${method} was answered`);
  }

  /**
   * The settings of the extension, or undefined: then none of its methods may be sent
   * [cap-no-call].
   */
  async settings() {
    return (await this.call('server/discover')).capabilities.extensions?.[EXTENSION];
  }

  /** Every trigger type, over all pages. */
  async list() {
    const triggers = [];
    for (let cursor; ;) {
      const page = await this.call('triggers/list', cursor === undefined ? {} : { cursor });
      triggers.push(...page.triggers);
      if ((cursor = page.nextCursor) === undefined) return triggers;
    }
  }

  subscribe(params) {
    return this.call('triggers/subscribe', params);
  }
  get(subscriptionId, ifNoneMatch) {
    return this.call('triggers/get', { subscriptionId, ...(ifNoneMatch && { ifNoneMatch }) });
  }
  update(subscriptionId, ifMatch, changes) {
    return this.call('triggers/update', { subscriptionId, ifMatch, ...changes });
  } // [upd-writers]
  ack(subscriptionId, position) {
    return this.call('triggers/ack', { subscriptionId, position });
  }

  /** [uns-ends] */
  async unsubscribe(subscriptionId) {
    await this.call('triggers/unsubscribe', { subscriptionId }).catch((error) => {
      if (error.data?.kind !== 'subscription') throw error;
    });
  }

  /**
   * The deliveries of one stream, until the server sends the empty result, the signal aborts or the
   * stream is dead.
   */
  async *stream(subscriptionId, { after, window, signal } = {}) {
    const dead = new AbortController();
    const either = AbortSignal.any([dead.signal, ...(signal ? [signal] : [])]);
    let timer = setTimeout(() => dead.abort(), DEAD_STREAM_MS);
    try {
      for await (const m of this.#messages(
        'triggers/stream',
        { subscriptionId, ...(after && { after }), ...(window && { window }) },
        either,
      )) {
        clearTimeout(timer);
        timer = setTimeout(() => dead.abort(), DEAD_STREAM_MS);
        if (m.mine) return;
        if (m.method !== 'notifications/triggers/delivery') continue;
        if (!m.tag) throw new Error('a delivery that belongs to no request of ours'); // [stream-tag]
        yield m.params;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Sends long polls until `signal`: reads from the applied position and acknowledges it in the
   * same request.
   */
  drainByPull(subscriptionId, reader, { signal, waitMs = 20_000 }) {
    return this.#drain(subscriptionId, reader, signal, async () => {
      const at = reader.position(subscriptionId);
      const result = await this.call(
        'triggers/pull',
        { subscriptionId, ...(at && { after: at, ack: at }), waitMs },
        { signal },
      );
      if (reader.apply(result).refused)
        throw new Error('a pull answered something else than what was asked');
    });
  }

  /** Streams until `signal`, and acknowledges what was applied. */
  drainByStream(subscriptionId, reader, { signal }) {
    return this.#drain(subscriptionId, reader, signal, async () => {
      for await (const d of this.stream(subscriptionId, {
        after: reader.position(subscriptionId),
        signal,
      })) {
        const { ack, refused } = reader.apply(d);
        if (refused) return; // begin again from the applied position [recv-missing-fetch]
        if (ack > d.acked && !d.terminated)
          await this.ack(subscriptionId, { epoch: d.epoch, sequence: ack });
      }
    });
  }

  /**
   * "Recovery by the client": retries from the applied position [rec-from-applied], with backoff
   * and jitter [rec-backoff].
   */
  async #drain(subscriptionId, reader, signal, once) {
    for (let failures = 0; !signal.aborted;) {
      try {
        await once();
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (error.data?.kind === 'epoch') reader.lost(subscriptionId, error.data.epoch);
        else if (error.data?.kind === 'position') {
          reader.told({ type: 'claimed too much', subscriptionId, ...error.data });
          reader.start(subscriptionId, { epoch: error.data.epoch, sequence: error.data.acked });
        } else if (error.data?.kind === 'subscription')
          return void reader.told({ type: 'ended', subscriptionId, ...error.data }); // [rec-tell]
        else
          await sleep(Math.random() * Math.min(5_000, 50 * 2 ** failures++), undefined, {
            signal,
          }).catch(() => {});
      }
    }
  }
}
