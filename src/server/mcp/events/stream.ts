/**
 * `events/stream`: an ordinary stream of the client's log, told in notifications of the extension. It has no acknowledgement, so what is
 * sent counts as acknowledged; what got lost on the way is had again with an older cursor.
 */
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import type { Log } from '../../engine/ports.ts';
import { WireError } from '../../../protocol/wire/errors.ts';
import type { Delivery, Event } from '../../../protocol/wire/schema.ts';
import { tagged, untilUnauthorized, type RequestContext } from '../request-context.ts';
import { isFresh } from '../implicit-subscription.ts';
import { cursorAt } from './cursor.ts';
import { endingError, eventsError } from './errors.ts';
import { begin, feedOf, selectionOf, type Start } from './feed.ts';
import { lastOf, occurrence } from './occurrence.ts';
import type { Profile } from './profiles.ts';
import { STREAM_NOTIFICATIONS, type EventsNotification } from '../../../protocol/events/names.ts';
import type { EventsErrorObject, StreamParams } from '../../../protocol/events/types.ts';

/** What a stream needs beside its params. */
export interface StreamContext {
  readonly engine: BindableEngine;
  readonly caller: Caller;
  readonly exchange: RequestContext<EventsNotification>;
  readonly profile: Profile;
  readonly log: Log;
}

/** Resolves when the server ends the stream or the client is gone. Rejects, before anything is sent, as {@link begin} and `triggers/stream` do. */
export async function stream(context: StreamContext, params: StreamParams): Promise<void> {
  const start = await begin(context.engine, context.caller, params, context.engine.clock.now());
  await untilUnauthorized(context.exchange, async (end) => {
    const push = new Push(context, params, start, end);
    await context.engine.stream(
      context.caller,
      { subscriptionId: start.log.subscriptionId, after: start.after },
      push,
      push.end,
    );
  });
}

/** A stretch of a delivery: one event, or numbers that will never come. */
interface Part {
  readonly upTo: number;
  readonly event: Event | null;
}

class Push {
  readonly #context: StreamContext;
  readonly #params: StreamParams;
  readonly #log: Start['log'];
  readonly #over = new AbortController();
  /** Fires when nothing more may be sent. */
  readonly end: AbortSignal;
  /** Until the first message: whether that one has to say that something was skipped. */
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
    this.end = AbortSignal.any([end, this.#over.signal]);
  }

  async send(delivery: Delivery): Promise<void> {
    const parts = partsOf(delivery);
    const at = (sequence: number): string => cursorAt(delivery, sequence);
    if (this.#opening !== null) {
      const { truncated } = this.#opening;
      this.#opening = null;
      const gap = parts[0]?.event === null ? parts.shift() : undefined;
      await this.#notify('active', {
        cursor: at(gap?.upTo ?? delivery.after),
        truncated: truncated || gap !== undefined,
      });
    } else if (parts.length === 0 && delivery.terminated === undefined) {
      await this.#notify('heartbeat', { cursor: at(delivery.after) });
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
    const { exchange } = this.#context;
    this.end.throwIfAborted();
    await exchange.notify(STREAM_NOTIFICATIONS[kind], tagged(params, exchange.requestId));
  }

  /** Null = the client let it go itself, and its stream just ends. */
  async #terminated(error: EventsErrorObject | null): Promise<void> {
    if (error !== null) await this.#notify('terminated', { error });
  }

  /** The window moves on, and the log is kept while somebody listens. */
  async #keep(delivery: Delivery): Promise<void> {
    const { engine, caller, log } = this.#context;
    const { subscriptionId, epoch } = delivery;
    const last = lastOf(delivery);
    try {
      if (last > delivery.after)
        await engine.ack(caller, { subscriptionId, position: { epoch, sequence: last } });
      if (!isFresh({ expiresAt: delivery.expiresAt, ttlMs: this.#log.ttlMs }, engine.clock.now()))
        await this.#extend();
    } catch (error) {
      // What was sent was sent. The engine tells the stream itself when the log ends or its epoch changes, and both are tried again.
      log.debug(
        { err: error, subscriptionId },
        'a stream of events/* could not acknowledge what it sent, or extend its lease',
      );
    }
  }

  /** Who may not follow this any more is told so, on the stream. */
  async #extend(): Promise<void> {
    const { engine, caller, profile } = this.#context;
    try {
      await feedOf(engine, caller, selectionOf(this.#params), engine.clock.now());
    } catch (error) {
      if (!(error instanceof WireError) || !error.is('Forbidden')) throw error;
      await this.#terminated(eventsError(error, profile));
      this.#over.abort();
    }
  }
}

/** A delivery in the order of its numbers. Of gaps that follow each other the last says it all. */
function partsOf({ events, gaps = [] }: Delivery): Part[] {
  const all: Part[] = [
    ...events.map((event) => ({ upTo: event.sequence, event })),
    ...gaps.map(({ to }) => ({ upTo: to, event: null })),
  ];
  all.sort((a, b) => a.upTo - b.upTo);
  return all.filter(({ event }, at) => event !== null || all[at + 1]?.event !== null);
}
