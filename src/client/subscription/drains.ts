/**
 * Three ways to drain the same log, as a table. Each yields deliveries; what they mean is decided by one rule for all of
 * them (SEP: Stream, Pull, Callback).
 */
import type {
  Delivery,
  Drain,
  Position,
  ServerCapability,
  StreamWindow,
  Subscription,
} from '../../../spec-schema/draft/schema.ts';
import { lastCovered } from '../../protocol/core/apply.ts';
import { RETRY_AFTER_MAX_MS } from '../../protocol/core/policy.ts';
import { sleep, type Clock } from '../../protocol/lib/clock.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import {
  PULL_EVENTS_DEFAULT,
  STREAM_BYTES_DEFAULT,
  STREAM_EVENTS_DEFAULT,
} from '../../protocol/wire/limits.ts';
import type { Acknowledger } from './acknowledger.ts';
import type { TriggersApi } from '../sdk/triggers-api.ts';
import type { Sink } from '../../protocol/lib/sinks.ts';
import { AsyncQueue } from '../../protocol/lib/queue.ts';

/** What a drain works with during one round: from opening to the first error. */
export interface DrainContext {
  readonly api: TriggersApi;
  readonly clock: Clock;
  readonly acks: Acknowledger;
  /** Fires when the round is over. */
  readonly signal: AbortSignal;
  readonly subscriptionId: string;
  /** Where the reader stands: the next delivery has to begin there or before. */
  readonly position: () => Position;
  /** The last round ended with missing numbers. */
  readonly missed: boolean;
  /** The delivery is of a life of the log that is over, or of another log. */
  readonly isForeign: (delivery: Delivery) => boolean;
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
export function drainsToTry(
  wanted: 'auto' | Drain,
  hasCallback: boolean,
  capability: ServerCapability,
): readonly Drain[] {
  const from = wanted === 'auto' ? 0 : LADDER.indexOf(wanted);
  return LADDER.slice(from).filter(
    (drain) => capability.drains.includes(drain) && (drain !== 'callback' || hasCallback),
  );
}

export const drains: Readonly<
  Record<Drain, (context: DrainContext) => AsyncGenerator<Delivery, void>>
> = { stream, pull, callback };

/** In a healthy stream an open window and an event that waits do not go together: after so many heartbeats it is broken. */
const STALLED_HEARTBEATS = 3;
/** So many windows of bytes may wait for the application: the window is for events alone, and counted in the server's way of writing them. */
const UNREAD_WINDOWS = 4;

async function* stream({
  api,
  signal,
  subscriptionId,
  position,
  window,
  silenceMs,
  acks,
  acknowledgeByCall,
}: DrainContext): AsyncGenerator<Delivery, void> {
  acknowledgeByCall(true);
  const queue = new AsyncQueue<{ readonly delivery: Delivery; readonly bytes: number }>();
  const stop = new AbortController();
  const credit = {
    events: window.events ?? STREAM_EVENTS_DEFAULT,
    bytes: window.bytes ?? STREAM_BYTES_DEFAULT,
  };
  const after = position();
  let { epoch, sequence: received } = after;
  let inFlight: number[] = [];
  let stalled = 0;
  let unread = 0;
  const end = (): void => {
    queue.end();
    stop.abort();
  };
  const fail = (error: unknown): void => {
    queue.fail(error);
    stop.abort();
  };

  const onDelivery = (delivery: Delivery): void => {
    if (delivery.epoch !== epoch) {
      ({ epoch } = delivery);
      received = 0;
      inFlight = [];
    }
    const before = received;
    received = Math.max(received, lastCovered(delivery));
    inFlight = inFlight.filter((sequence) => sequence > acks.done.sequence);
    for (const { sequence } of delivery.events) if (sequence > before) inFlight.push(sequence);
    if (inFlight.length > credit.events)
      return fail(broken('window', 'it sent more than the window allows'));
    stalled =
      received === before &&
      delivery.head > received &&
      inFlight.length === 0 &&
      delivery.status === 'active'
        ? stalled + 1
        : 0;
    if (stalled >= STALLED_HEARTBEATS)
      return fail(broken('stalled', 'its heartbeats tell of events that it does not send'));
    // A heartbeat that nobody has time for says nothing that the next one does not say.
    if (queue.size > 0 && received === before && !delivery.terminated) return;
    const bytes = JSON.stringify(delivery).length;
    // Let the application come after; then the log is read on from where it stands.
    if (queue.size > 0 && unread + bytes > credit.bytes * UNREAD_WINDOWS) return end();
    unread += bytes;
    queue.push({ delivery, bytes });
  };
  api
    .stream(
      { subscriptionId, after, window: credit },
      {
        signal: AbortSignal.any([signal, stop.signal]),
        onDelivery,
        onUnacceptable: fail,
        ...(silenceMs === undefined ? {} : { silenceMs }),
      },
    )
    .then(
      () => queue.end(),
      (error: unknown) => queue.fail(error),
    );
  try {
    for await (const { delivery, bytes } of queue) {
      unread -= bytes;
      yield delivery;
    }
  } finally {
    stop.abort();
  }
}

/** An answer that came much sooner than asked for was no long poll. */
const PULLED_TOO_SOON = 0.5;
/** After such an answer. */
const LONG_POLL_PAUSE_MS = 1000;
/** Whatever the server says. */
const PAUSE_MIN_MS = 100;

async function* pull(context: DrainContext): AsyncGenerator<Delivery, void> {
  const { clock, signal, waitMs, acknowledgeByCall } = context;
  acknowledgeByCall(true);
  for (;;) {
    const startedAt = clock.now();
    const { result, advances } = await pullOnce(context, waitMs);
    yield result;
    if (advances && result.hasMore) continue;
    // A long poll may be repeated at once, if it was one (SEP: Pull).
    if (waitMs > 0 && (advances || clock.now() - startedAt >= waitMs * PULLED_TOO_SOON)) continue;
    await sleep(
      clock,
      Math.min(
        RETRY_AFTER_MAX_MS,
        Math.max(result.nextPollMs, waitMs > 0 ? LONG_POLL_PAUSE_MS : PAUSE_MIN_MS),
      ),
      signal,
    );
    signal.throwIfAborted();
  }
}

/** `advances`: there is something after the position that was asked from; else asking again at once would bring the same. */
async function pullOnce(
  { api, acks, signal, subscriptionId, position, window }: DrainContext,
  waitMs: number,
) {
  const ack = await acks.take();
  const after = position();
  const maxEvents = window.events ?? PULL_EVENTS_DEFAULT;
  const result = await api.pull(
    { subscriptionId, after, maxEvents, waitMs, ...(ack ? { ack } : {}) },
    { signal },
  );
  const sameLog = result.subscriptionId === subscriptionId && result.epoch === after.epoch;
  const advances = sameLog && lastCovered(result) > after.sequence;
  if (sameLog && !advances && (result.hasMore || result.head > after.sequence))
    throw broken('stalled', 'it tells of events that it does not send');
  if (ack && sameLog) {
    if (result.acked < ack.sequence) throw broken('ack', 'it does not keep what was acknowledged');
    acks.settle(ack);
  }
  return { result, advances };
}

/** Everything there is from the reader's position on. */
async function* catchUp(context: DrainContext): AsyncGenerator<Delivery, void> {
  context.acknowledgeByCall(true);
  for (let more = true; more;) {
    const { result, advances } = await pullOnce(context, 0);
    more = advances && result.hasMore;
    yield result;
  }
}

/** So many deliveries wait for the application; what comes then is not taken, and comes again. */
const CALLBACKS_WAITING_MAX = 100;

async function* callback(context: DrainContext): AsyncGenerator<Delivery, void> {
  const { acks, api, clock, signal, subscriptionId, position, checkMs } = context;
  const queue = new AsyncQueue<Delivery>();
  let queued: Position = position();
  const detach = context.attach(async (delivery, deadline) => {
    if (context.isForeign(delivery) || queue.size >= CALLBACKS_WAITING_MAX) return acks.saved();
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
      const subscription = await api.get({ subscriptionId }, { signal });
      if ('notModified' in subscription)
        throw broken('result', 'it answered "not modified" to no question');
      context.note(subscription);
      const { epoch, sequence } = position();
      if (subscription.epoch !== epoch || subscription.head > sequence) yield* catchUp(context);
      // Detached by a 410, or suspended: register it again.
      if (!subscription.callback || subscription.status === 'suspended')
        throw new LocalError('unreachable', 'The server has stopped calling back.', {
          reason: 'callback',
        });
    }
  } finally {
    detach();
  }
}

const broken = (reason: string, problem: string) =>
  new LocalError('peer_misbehaved', `The server broke the protocol: ${problem}.`, { reason });
