/**
 * Three ways to drain the same log, as a table. Each yields deliveries; what they mean is decided by one rule for all of
 * them (SEP: Stream, Pull, Callback).
 */
import type { Delivery, Drain, Position, ServerCapability, StreamWindow, Subscription } from '../../spec-schema/draft/schema.ts';
import { lastCovered } from '../core/apply.ts';
import { sleep, type Clock } from '../local/clock.ts';
import { LocalError } from '../wire/errors.ts';
import { PULL_EVENTS_DEFAULT, STREAM_BYTES_DEFAULT, STREAM_EVENTS_DEFAULT } from '../wire/limits.ts';
import type { Acknowledger } from './acknowledger.ts';
import type { Calls } from './calls.ts';
import type { Sink } from './options.ts';
import { AsyncQueue } from './queue.ts';

/** What a drain works with during one round: from opening to the first error. */
export interface DrainContext {
  readonly calls: Calls;
  readonly clock: Clock;
  readonly acks: Acknowledger;
  /** Fires when the round is over. */
  readonly signal: AbortSignal;
  readonly subscriptionId: string;
  /** Where the reader stands: the next delivery has to begin there or before. */
  readonly position: () => Position;
  /** The last round ended with missing numbers. */
  readonly missed: boolean;
  /** The delivery is of a life of the log that is over. */
  readonly isLeft: (delivery: Delivery) => boolean;
  readonly window: StreamWindow;
  readonly silenceMs: number | undefined;
  readonly waitMs: number;
  readonly checkMs: number;
  readonly attach: (sink: Sink) => () => void;
  readonly note: (subscription: Subscription) => void;
  /** Acknowledge with a call (true) or with the answer to a callback (false) from now on. */
  readonly acknowledgeByCall: (byCall: boolean) => void;
}

/** Preference, best first: a callback needs no connection, a stream no polling. */
const LADDER: readonly Drain[] = ['callback', 'stream', 'pull'];

/** What to try, in this order. */
export function rungs(wanted: 'auto' | Drain, hasCallback: boolean, capability: ServerCapability): readonly Drain[] {
  const from = wanted === 'auto' ? 0 : LADDER.indexOf(wanted);
  return LADDER.slice(from).filter((drain) => capability.drains.includes(drain) && (drain !== 'callback' || hasCallback));
}

export const drains: Readonly<Record<Drain, (context: DrainContext) => AsyncGenerator<Delivery, void>>> = { stream, pull, callback };

/** In a healthy stream an open window and an event that waits do not go together: after so many heartbeats it is broken. */
const STALLED_HEARTBEATS = 3;

async function* stream({ calls, signal, subscriptionId, position, window, silenceMs, acks, acknowledgeByCall }: DrainContext): AsyncGenerator<Delivery, void> {
  acknowledgeByCall(true);
  const queue = new AsyncQueue<Delivery>();
  const stop = new AbortController();
  const credit = { events: window.events ?? STREAM_EVENTS_DEFAULT, bytes: window.bytes ?? STREAM_BYTES_DEFAULT };
  const after = position();
  let received = after.sequence;
  let inFlight: number[] = [];
  let stalled = 0;
  const fail = (error: unknown): void => { queue.fail(error); stop.abort(); };

  const onDelivery = (delivery: Delivery): void => {
    const before = received;
    received = Math.max(received, lastCovered(delivery));
    inFlight = inFlight.filter((sequence) => sequence > acks.done.sequence);
    for (const { sequence } of delivery.events) if (sequence > before) inFlight.push(sequence);
    if (inFlight.length > credit.events) return fail(broken('window', 'it sent more than the window allows'));
    stalled = received === before && delivery.head > received && inFlight.length === 0 && delivery.status === 'active' ? stalled + 1 : 0;
    if (stalled >= STALLED_HEARTBEATS) return fail(broken('stalled', 'its heartbeats tell of events that it does not send'));
    // A heartbeat that nobody has time for says nothing that the next one does not say.
    if (queue.size === 0 || received > before || delivery.terminated) queue.push(delivery);
  };
  calls
    .stream({ subscriptionId, after, window: credit }, { signal: AbortSignal.any([signal, stop.signal]), onDelivery, onUnacceptable: fail, ...(silenceMs === undefined ? {} : { silenceMs }) })
    .then(() => queue.end(), (error: unknown) => queue.fail(error));
  try {
    yield* queue;
  } finally {
    stop.abort();
  }
}

/** An answer that came much sooner than asked for was no long poll. */
const PULLED_TOO_SOON = 0.5;
const PAUSE_MIN_MS = 1000;

async function* pull(context: DrainContext): AsyncGenerator<Delivery, void> {
  const { clock, signal, waitMs, acknowledgeByCall } = context;
  acknowledgeByCall(true);
  for (;;) {
    const startedAt = clock.now();
    const result = await pullOnce(context, waitMs);
    yield result;
    // A long poll may be repeated at once, if it was one (SEP: Pull).
    const waited = clock.now() - startedAt >= waitMs * PULLED_TOO_SOON || lastCovered(result) > result.after;
    if (result.hasMore || (waitMs > 0 && waited)) continue;
    await sleep(clock, Math.max(result.nextPollMs, waitMs > 0 ? PAUSE_MIN_MS : 0), signal);
    signal.throwIfAborted();
  }
}

async function pullOnce({ calls, acks, signal, subscriptionId, position, window }: DrainContext, waitMs: number) {
  const ack = await acks.take();
  const maxEvents = window.events ?? PULL_EVENTS_DEFAULT;
  const result = await calls.pull({ subscriptionId, after: position(), maxEvents, waitMs, ...(ack ? { ack } : {}) }, { signal });
  if (ack) acks.settle(ack);
  return result;
}

/** Everything there is from the reader's position on. */
async function* catchUp(context: DrainContext): AsyncGenerator<Delivery, void> {
  context.acknowledgeByCall(true);
  for (let more = true; more;) {
    const result = await pullOnce(context, 0);
    more = result.hasMore;
    yield result;
  }
}

async function* callback(context: DrainContext): AsyncGenerator<Delivery, void> {
  const { acks, calls, clock, signal, subscriptionId, position, checkMs } = context;
  const queue = new AsyncQueue<Delivery>();
  let queued: Position = position();
  const detach = context.attach(async (delivery, deadline) => {
    if (context.isLeft(delivery)) return acks.saved();
    const last = { epoch: delivery.epoch, sequence: lastCovered(delivery) };
    // While the application is busy the same numbers come again and again: once is enough.
    const known = last.epoch === queued.epoch && last.sequence <= queued.sequence;
    if (!known || delivery.terminated) queue.push(delivery);
    if (!known) queued = last;
    await acks.finished(last, AbortSignal.any([signal, deadline]));
    // The answer is an acknowledgement, so what it says is saved first.
    return acks.saved();
  });
  try {
    if (context.missed) yield* catchUp(context);
    for (;;) {
      const delivery = await queue.next(clock, checkMs, signal);
      signal.throwIfAborted();
      if (delivery) {
        context.acknowledgeByCall(false);
        yield delivery;
        continue;
      }
      const subscription = await calls.get({ subscriptionId }, { signal });
      if ('notModified' in subscription) throw broken('result', 'it answered "not modified" to no question');
      context.note(subscription);
      const { epoch, sequence } = position();
      if (subscription.epoch !== epoch || subscription.head > sequence) yield* catchUp(context);
      // Detached by a 410, or suspended: register it again.
      if (!subscription.callback || subscription.status === 'suspended') throw new LocalError('unreachable', 'The server has stopped calling back.', { reason: 'callback' });
    }
  } finally {
    detach();
  }
}

const broken = (reason: string, problem: string) => new LocalError('peer_misbehaved', `The server broke the protocol: ${problem}.`, { reason });
