/**
 * `events/stream`: a stream of the client's log as notifications of `events/*`. SEP-3415 has no
 * acknowledgement for streams, so the server acknowledges each event once it is sent. A client that
 * lost events gets them again with an older cursor.
 */
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import type { Log } from '../../engine/ports.ts';
import type { Delivery, TriggerEvent } from '../../../protocol/wire/schema.ts';
import { tagged, untilUnauthorized, type RequestContext } from '../request-context.ts';
import { isDenied, needsRenewal } from '../implicit-subscription.ts';
import { endingError, eventsError } from './errors.ts';
import { begin, logOf, selectionOf, type Start } from './start.ts';
import { cursorOf, lastOf, occurrence } from './occurrence.ts';
import type { Profile } from './profiles.ts';
import { STREAM_NOTIFICATIONS, type EventsNotification } from '../../../protocol/events/names.ts';
import type { EventsErrorObject, StreamParams } from '../../../protocol/events/types.ts';

/** The context of a stream. */
export interface StreamContext {
  readonly engine: BindableEngine;
  readonly caller: Caller;
  readonly request: RequestContext<EventsNotification>;
  readonly profile: Profile;
  readonly log: Log;
}

/**
 * Serves one stream. Resolves when the server ends it or the client disconnects. Rejects as {@link
 * begin} and `triggers/stream` do.
 */
export async function stream(context: StreamContext, params: StreamParams): Promise<void> {
  const start = await begin(context.engine, context.caller, params, context.engine.clock.now());
  await untilUnauthorized(context.request, async (end) => {
    const sink = new EventsSink(context, params, start, end);
    await context.engine.stream(
      context.caller,
      { subscriptionId: start.log.subscriptionId, after: start.after },
      sink,
      sink.end,
    );
  });
}

/** A part of a delivery: one event, or a gap (null). */
interface Part {
  readonly upTo: number;
  readonly event: TriggerEvent | null;
}

/** Converts the deliveries of a stream into notifications of `events/*`. */
class EventsSink {
  readonly #context: StreamContext;
  readonly #params: StreamParams;
  readonly #log: Start['log'];
  readonly #ended = new AbortController();
  /** Fires when nothing more may be sent. */
  readonly end: AbortSignal;
  /** Content of the first `active` notification; null = it has been sent. */
  #opening: { readonly truncated: boolean } | null;

  constructor(
    context: StreamContext,
    params: StreamParams,
    { log, truncated }: Start,
    end: AbortSignal,
  ) {
    this.#context = context;
    this.#params = params;
    this.#log = log;
    this.#opening = { truncated };
    this.end = AbortSignal.any([end, this.#ended.signal]);
  }

  async send(delivery: Delivery): Promise<void> {
    const parts = partsOf(delivery);
    const at = (sequence: number): string => cursorOf(delivery, sequence);
    if (this.#opening !== null) {
      const { truncated } = this.#opening;
      this.#opening = null;
      const gap = parts[0]?.event === null ? parts.shift() : undefined;
      await this.#notify('active', {
        cursor: at(gap?.upTo ?? delivery.afterSequence),
        truncated: truncated || gap !== undefined,
      });
    } else if (parts.length === 0 && delivery.terminated === undefined) {
      await this.#notify('heartbeat', { cursor: at(delivery.afterSequence) });
    }
    for (const { event, upTo } of parts) {
      if (event === null) await this.#notify('active', { cursor: at(upTo), truncated: true });
      else await this.#notify('event', occurrence(event, delivery, at(upTo)));
    }
    if (delivery.terminated === undefined) await this.#keep(delivery);
    else await this.#terminated(endingError(delivery.terminated.reason, this.#context.profile));
  }

  async #notify(
    kind: Exclude<keyof typeof STREAM_NOTIFICATIONS, 'error'>,
    params: object,
  ): Promise<void> {
    const { request } = this.#context;
    this.end.throwIfAborted();
    await request.notify(STREAM_NOTIFICATIONS[kind], tagged(params, request.requestId));
  }

  /**
   * Sends `terminated`. A null error = the client ended the log itself or let it expire; its stream
   * ends without this notification.
   */
  async #terminated(error: EventsErrorObject | null): Promise<void> {
    if (error !== null) await this.#notify('terminated', { error });
  }

  /** Acknowledges what was sent, so that the engine sends more, and renews the log when it is due. */
  async #keep(delivery: Delivery): Promise<void> {
    const { engine, caller, log } = this.#context;
    const { subscriptionId, epoch } = delivery;
    const last = lastOf(delivery);
    try {
      if (last > delivery.afterSequence)
        await engine.ack(caller, { subscriptionId, position: { epoch, sequence: last } });
      const { ttlMs } = this.#log;
      const { expiresAt } = delivery;
      if (
        expiresAt !== undefined &&
        ttlMs !== undefined &&
        needsRenewal({ expiresAt, ttlMs }, engine.clock.now())
      )
        await this.#renew();
    } catch (error) {
      // The next delivery tries both again. The engine itself reports the end of the log or of its
      // epoch.
      log.debug(
        { err: error, subscriptionId },
        'acknowledging or renewing the log of an events/stream failed; trying again with the next delivery',
      );
    }
  }

  /** Renews the log. If the client has lost the permission, sends `terminated` and ends the stream. */
  async #renew(): Promise<void> {
    const { engine, caller, profile } = this.#context;
    try {
      await logOf(engine, caller, selectionOf(this.#params), engine.clock.now());
    } catch (error) {
      if (!isDenied(error)) throw error;
      await this.#terminated(eventsError(error, profile));
      this.#ended.abort();
    }
  }
}

/**
 * The parts of a delivery in ascending order. Adjacent gaps become one part, because only the
 * position of their end is reported.
 */
function partsOf({ events, gaps = [] }: Delivery): Part[] {
  const all: Part[] = [
    ...events.map((event) => ({ upTo: event.sequence, event })),
    ...gaps.map(({ to }) => ({ upTo: to, event: null })),
  ];
  all.sort((a, b) => a.upTo - b.upTo);
  return all.filter(({ event }, at) => event !== null || all[at + 1]?.event !== null);
}
