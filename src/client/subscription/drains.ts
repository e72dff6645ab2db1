/**
 * The table of drains: three ways to get the deliveries of one log. `LogReader` decides what a
 * delivery means, in the same way on every drain (SEP: Stream, triggers/pull, Callback).
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
import { offersDrain } from '../../protocol/wire/capability.ts';
import {
  PULL_EVENTS_DEFAULT,
  STREAM_BYTES_DEFAULT,
  STREAM_EVENTS_DEFAULT,
} from '../../protocol/wire/limits.ts';
import { AsyncQueue } from '../../protocol/lib/queue.ts';
import type { Sink } from '../../protocol/lib/sinks.ts';
import type { AckTracker } from '../ack-tracker.ts';
import type { TriggersApi } from '../sdk/triggers-api.ts';
import { misbehaved } from '../sdk/peer-error.ts';

/** The context of a drain during one round, that is until its first error. */
export interface DrainContext {
  readonly api: TriggersApi;
  readonly clock: Clock;
  readonly acks: AckTracker;
  /** Fires when the round is over. */
  readonly signal: AbortSignal;
  readonly subscriptionId: string;
  /** The position up to which the log was read. The next delivery has to begin there or before. */
  readonly position: () => Position;
  /** The last round ended with missing numbers. */
  readonly missed: boolean;
  /** Whether the delivery belongs to an epoch that is over, or to another log. */
  readonly isForeign: (delivery: Delivery) => boolean;
  /** Whether to pull what another reader has acknowledged before this delivery. */
  readonly readsBefore: (delivery: Delivery) => boolean;
  readonly window: StreamWindow;
  readonly silenceMs: number | undefined;
  readonly waitMs: number;
  readonly checkMs: number;
  readonly attach: (sink: Sink) => () => void;
  readonly noteSubscription: (subscription: Subscription) => void;
  /** Acknowledges with a call (true), or with the response to a callback (false), from now on. */
  readonly acknowledgeByCall: (byCall: boolean) => void;
}

/** Best first: a callback needs no connection, a stream no polling. */
const DRAINS: readonly {
  readonly name: Drain;
  readonly run: (context: DrainContext) => AsyncGenerator<Delivery, void>;
}[] = [
  { name: 'callback', run: callback },
  { name: 'stream', run: stream },
  { name: 'pull', run: pull },
];

/** The place of a drain in the order of preference; 0 is the best. */
export const drainRank = (drain: Drain): number => DRAINS.findIndex(({ name }) => name === drain);

/** The drains to try, in order. */
export function drainsToTry(
  wanted: 'auto' | Drain,
  hasCallback: boolean,
  capability: ServerCapability,
): readonly Drain[] {
  return DRAINS.slice(wanted === 'auto' ? 0 : drainRank(wanted))
    .map(({ name }) => name)
    .filter((drain) => offersDrain(capability, drain) && (drain !== 'callback' || hasCallback));
}

/** Yields deliveries by the drain until its first error. */
export const drainWith = (drain: Drain, context: DrainContext): AsyncGenerator<Delivery, void> =>
  DRAINS[drainRank(drain)]!.run(context);

/**
 * A stream is stalled after this many heartbeats that announce an event while the window is open.
 */
const STALLED_HEARTBEATS = 3;
/**
 * Unread bytes that may wait for the application, as a multiple of the window. More than one
 * window, because the window counts only the events, as the server serializes them.
 */
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
      return fail(misbehaved('window', 'it sent more than the window allows'));
    stalled =
      received === before && delivery.head > received && inFlight.length === 0 ? stalled + 1 : 0;
    if (stalled >= STALLED_HEARTBEATS)
      return fail(misbehaved('stalled', 'its heartbeats announce events that it does not send'));
    // A heartbeat behind other deliveries is dropped: the next one says the same.
    if (queue.size > 0 && received === before && !delivery.terminated) return;
    const bytes = JSON.stringify(delivery).length;
    // The application reads too slowly. Ends the round, so that the application can catch up; the
    // next round continues from its position.
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

/** A pull that took less than this part of `waitMs` does not count as a long poll. */
const LONG_POLL_PART = 0.5;
/** The pause after a pull that does not count as a long poll. */
const LONG_POLL_PAUSE_MS = 1000;
/** The shortest pause, whatever the server asks for. */
const PAUSE_MIN_MS = 100;

async function* pull(context: DrainContext): AsyncGenerator<Delivery, void> {
  const { clock, signal, waitMs, acknowledgeByCall } = context;
  acknowledgeByCall(true);
  for (;;) {
    const startedAt = clock.now();
    const { result, advances } = await pullOnce(context, waitMs);
    yield result;
    if (advances && result.hasMore) continue;
    // The next pull may follow at once only after a real long poll (SEP: triggers/pull).
    if (waitMs > 0 && (advances || clock.now() - startedAt >= waitMs * LONG_POLL_PART)) continue;
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

/**
 * Pulls once. `advances`: the result covers something after the position that was read. Otherwise
 * another pull at once would return the same.
 */
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
    throw misbehaved('stalled', 'it announces events that it does not send');
  if (ack && sameLog) {
    if (result.acked < ack.sequence) throw misbehaved('ack', 'it lost an acknowledgement');
    acks.settle(ack);
  }
  return { result, advances };
}

/** Pulls everything after the position that was read. */
async function* catchUp(context: DrainContext): AsyncGenerator<Delivery, void> {
  context.acknowledgeByCall(true);
  for (let more = true; more;) {
    const { result, advances } = await pullOnce(context, 0);
    more = advances && result.hasMore;
    yield result;
  }
}

/**
 * Deliveries that may wait for the application. Later ones are not acknowledged, so the server
 * sends them again.
 */
const CALLBACKS_WAITING_MAX = 100;

/** Longest pause between two requests to resume a suspended callback. */
const RESUME_MAX_MS = 3_600_000;

async function* callback(context: DrainContext): AsyncGenerator<Delivery, void> {
  const { acks, api, clock, signal, subscriptionId, position, checkMs } = context;
  const queue = new AsyncQueue<Delivery>();
  let queued: Position = position();
  let resumeAt = 0;
  let resumePauseMs = checkMs;
  const detach = context.attach(async (delivery, deadline) => {
    if (context.isForeign(delivery) || queue.size >= CALLBACKS_WAITING_MAX) return acks.saved();
    const last = { epoch: delivery.epoch, sequence: lastCovered(delivery) };
    // The server repeats a delivery while the application is busy.
    const known = last.epoch === queued.epoch && last.sequence <= queued.sequence;
    if (!known || delivery.terminated) queue.push(delivery);
    if (!known) queued = last;
    await acks.finished(last, AbortSignal.any([signal, deadline]));
    // The response is an acknowledgement, so the position is saved first.
    return acks.saved();
  });
  try {
    if (context.missed) yield* catchUp(context);
    for (;;) {
      const delivery = await queue.next(clock, checkMs, signal);
      signal.throwIfAborted();
      if (delivery) {
        if (context.readsBefore(delivery)) yield* catchUp(context);
        context.acknowledgeByCall(false);
        yield delivery;
        continue;
      }
      const subscription = await api.get({ subscriptionId }, { signal });
      if ('notModified' in subscription)
        throw misbehaved('result', 'it answered "not modified" to a request without an ETag');
      context.noteSubscription(subscription);
      const { epoch, sequence } = position();
      if (subscription.epoch !== epoch || subscription.head > sequence) yield* catchUp(context);
      if (!subscription.callback)
        throw new LocalError(
          'unreachable',
          'Somebody removed the callback. Register the callback again.',
          { reason: 'callback' },
        );
      if (subscription.callback.state !== 'suspended') resumePauseMs = checkMs;
      // Until the endpoint works again, the log is read by pull. Asking with growing pauses is for
      // servers that do not probe the endpoint themselves.
      else if (resumeAt <= clock.now()) {
        resumeAt = clock.now() + resumePauseMs;
        resumePauseMs = Math.min(RESUME_MAX_MS, resumePauseMs * 2);
        context.noteSubscription(await api.update({ subscriptionId, resume: true }, { signal }));
      }
    }
  } finally {
    detach();
  }
}
