/**
 * `triggers/stream`: checks the call, then runs one stream until it ends (SEP: triggers/stream).
 */
import type { StreamRequestParams } from '../../../spec-schema/draft/schema.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import {
  STREAM_BYTES_DEFAULT,
  STREAM_BYTES_MAX,
  STREAM_EVENTS_DEFAULT,
  STREAM_EVENTS_MAX,
} from '../../protocol/wire/limits.ts';
import { assertDrain, type Catalog } from '../engine/catalog.ts';
import type { Meter } from '../engine/ports.ts';
import { PrincipalQuota } from '../engine/quota.ts';
import { assertPosition } from '../engine/reader.ts';
import type { SubscriptionCache } from '../engine/subscription-cache.ts';
import type { Subscriptions } from '../engine/subscriptions.ts';
import type { UnitOfWork } from '../engine/unit-of-work.ts';
import type { Caller, StreamSink } from '../engine/verbs.ts';
import type { Store } from '../store/port.ts';
import type { LogListeners } from './log-listeners.ts';
import { Stream } from './stream.ts';

export interface StreamsOptions {
  readonly store: Store;
  readonly cache: SubscriptionCache;
  readonly unitOfWork: UnitOfWork;
  readonly catalog: Catalog;
  readonly subscriptions: Subscriptions;
  readonly listeners: LogListeners;
  readonly clock: Clock;
  readonly meter: Meter;
  /** Silence after which a heartbeat is sent, in milliseconds. */
  readonly heartbeatMs: number;
  /** Longest wait for the client to read a message, in milliseconds; then the stream ends. */
  readonly stalledMs: number;
  /** Open streams of one principal. */
  readonly maxPerPrincipal: number;
}

export class Streams {
  readonly #o: StreamsOptions;
  readonly #open: PrincipalQuota;

  constructor(options: StreamsOptions) {
    this.#o = options;
    this.#open = new PrincipalQuota('streams', options.maxPerPrincipal);
  }

  /** See `Verbs.stream`. */
  async stream(
    caller: Caller,
    params: StreamRequestParams,
    sink: StreamSink,
    signal: AbortSignal,
  ): Promise<void> {
    const { catalog, subscriptions } = this.#o;
    const first = await subscriptions.permitted(caller, params.subscriptionId);
    assertDrain(catalog, first.state.select, 'stream');
    const { row, state } = await subscriptions.own(caller, params.subscriptionId);
    if (params.after !== undefined) assertPosition(params.after, state);
    const leave = this.#open.enter(caller.principal);
    try {
      await this.#run(row, params.after?.sequence ?? state.acked, params.window, sink, signal);
    } finally {
      leave();
    }
  }

  async #run(
    row: number,
    after: number,
    window: StreamRequestParams['window'],
    sink: StreamSink,
    signal: AbortSignal,
  ): Promise<void> {
    const { store, cache, unitOfWork, listeners, clock, meter, heartbeatMs, stalledMs } = this.#o;
    const loaded = await cache.getOrLoad(row);
    if (loaded === undefined || signal.aborted || listeners.closed) return;
    const stream = new Stream(
      {
        store,
        cache,
        unitOfWork,
        listeners,
        clock,
        meter,
        sink,
        window: {
          events: Math.min(window?.events ?? STREAM_EVENTS_DEFAULT, STREAM_EVENTS_MAX),
          bytes: Math.min(window?.bytes ?? STREAM_BYTES_DEFAULT, STREAM_BYTES_MAX),
        },
        heartbeatMs,
        stalledMs,
      },
      loaded,
      after,
    );
    const remove = listeners.add(loaded, stream);
    const stop = (): void => stream.close();
    signal.addEventListener('abort', stop, { once: true });
    try {
      await stream.run();
    } finally {
      remove();
      signal.removeEventListener('abort', stop);
    }
  }
}
