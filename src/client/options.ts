/** The options of `subscribe`, and the items and states of a subscription. */
import type {
  CallbackLimits,
  Drain,
  Selection,
  StreamWindow,
} from '../../spec-schema/draft/schema.ts';
import type { Clock } from '../protocol/lib/clock.ts';
import type { Sink, WebhookSink } from '../protocol/lib/sinks.ts';
import type {
  ElsewhereItem,
  EpochItem,
  EventItem,
  GapItem,
  LostItem,
} from '../protocol/ledger/items.ts';
import type { Ledger } from '../protocol/ledger/ledger.ts';
import type { BackoffOptions } from './recovery.ts';

/**
 * One value of the iterator. An event, a gap or a range that was acknowledged elsewhere is finished
 * by its `ack()`, or, with `ack: 'auto'`, when the application asks for the next item.
 */
export type Item =
  | (EventItem & Acknowledgeable)
  | (GapItem & Acknowledgeable)
  | (ElsewhereItem & Acknowledgeable)
  | EpochItem
  | LostItem;

/** An item that can be acknowledged (SEP: Acknowledgement). */
export interface Acknowledgeable {
  /**
   * Finishes this item and every item before it. Resolves once the ledger has saved the position
   * and the server has confirmed the acknowledgement. On the callback drain the response to the
   * server acknowledges, so `ack` resolves once the position is saved. Rejects with the error of an
   * attempt that cannot be retried, and with `LocalError` `closed` when the subscription closes in
   * between. Needed only with `ack: 'manual'`.
   */
  ack(): Promise<void>;
}

/**
 * A callback endpoint, as `createReceiver` makes it. `audience` is the MCP server's resource URI.
 */
export interface CallbackEndpoint {
  /**
   * Registers a key. Resolves with the URL and the secret to pass to the MCP server: the same ones
   * until `renewAt`.
   */
  register(who: { readonly audience: string; readonly key: string }): Promise<{
    readonly url: string;
    readonly secret: string;
    /**
     * The instant after which to register again (epoch milliseconds). The token in the URL expires
     * later.
     */
    readonly renewAt: number;
  }>;
  /** Passes every verified delivery of this key to `sink` until the returned function is called. */
  attach(who: { readonly audience: string; readonly key: string }, sink: Sink): () => void;
  /**
   * Passes the webhooks of `events/*` (SEP-3415) for this key to `sink` until the returned function
   * is called. Without this method the mode `events.webhook` is not used.
   */
  attachWebhook?(
    who: { readonly audience: string; readonly key: string },
    sink: WebhookSink,
  ): () => void;
  /**
   * Makes a new secret for a registered key. The old one stays valid for a while. Without this
   * method secrets are not replaced.
   */
  rotate?(who: {
    readonly audience: string;
    readonly key: string;
  }): ReturnType<CallbackEndpoint['register']>;
}

/** Options of `subscribe`. */
export interface SubscribeOptions {
  /** 1 to 64 selections: trigger types with their arguments. */
  readonly select: readonly Selection[];
  /**
   * The subscription's name, unique per principal. A restart finds the log by it, and it stays when
   * `select` changes.
   */
  readonly key: string;
  /**
   * Suggested lifetime in milliseconds; absent = the server's default. The client renews an open
   * subscription.
   */
  readonly ttlMs?: number;
  /** Instead of `ttlMs`: no expiry. */
  readonly noExpiry?: true;
  /** Start a new log with the retained events accepted at or after this instant (RFC 3339). */
  readonly since?: string;
  /**
   * After how many milliseconds the server skips an event that the callback keeps failing to take,
   * at most a day. Default: never (SEP: Suspension).
   */
  readonly skipAfterMs?: number;
  /** Limits of the requests to the callback. Default: no limits (SEP: Limits of a callback). */
  readonly callbackLimits?: CallbackLimits;
  /**
   * The drain to try first. If it does not work, the next one in the order callback, stream, pull
   * is used; drains that the server lacks are skipped. Default `auto`: starts with the best drain.
   */
  readonly drain?: 'auto' | Drain;
  /** The endpoint of the callback drain, which is not used without one. */
  readonly callback?: CallbackEndpoint;
  /**
   * For a callback that starts after numbers which another reader of the subscription has
   * acknowledged. `read`: pull them first, as far as the server still has them. `skip`: yield an
   * item `elsewhere` instead of them. Default `read`. Streams and pulls always start at the
   * client's own position.
   */
  readonly acknowledgedElsewhere?: 'read' | 'skip';
  /**
   * Stores the position across restarts. Default: a ledger in memory, which does not outlive the
   * process.
   */
  readonly ledger?: Ledger;
  /** `auto`: asking for the next item acknowledges the last one. Default `auto`. */
  readonly ack?: 'auto' | 'manual';
  /**
   * The action for an expired or unknown subscription. True: the iterator reports it as lost and
   * subscribes again. False: the iterator throws `LocalError` `terminated`. Default true.
   */
  readonly resubscribe?: boolean;
  /** Ends the iteration without an error. The subscription stays. */
  readonly signal?: AbortSignal;
  /**
   * The most events and bytes in flight on a stream. `events` is also the most events of one pull.
   * Default 100 events, 1 MiB.
   */
  readonly window?: StreamWindow;
  /** Called at every change of state. Must not throw. */
  readonly onState?: (state: SubscriptionState) => void;
  /** Timing options, seldom needed outside tests. */
  readonly tuning?: Tuning;
}

/** Timing options, for slow networks and fast tests. All times are in milliseconds. */
export interface Tuning {
  readonly clock?: Clock;
  readonly backoff?: BackoffOptions;
  /** A stream without a message for this long counts as broken. Default 30,000. */
  readonly silenceMs?: number;
  /**
   * Longest wait of a pull for an event. Default 25,000. With 0 a pull returns at once, and the
   * next one follows after the server's `nextPollMs`.
   */
  readonly waitMs?: number;
  /**
   * After this long without a callback the client asks the server whether it has missed something.
   * Default 60,000.
   */
  readonly checkMs?: number;
  /** Time for which finished items are collected before they are acknowledged. Default 50. */
  readonly ackDelayMs?: number;
}

/** The state of a subscription, for a status line or a log. */
export type SubscriptionState =
  /** Nothing has been sent yet. */
  | { readonly phase: 'idle' }
  /**
   * Calling `triggers/subscribe`: at the start, after a loss, for another drain, or to register the
   * callback again.
   */
  | { readonly phase: 'subscribing' }
  /**
   * `fellBackFrom`: the drain that was tried first. The server did not allow it, or could not reach
   * the callback. `error`: the error because of which the drain before this one was left.
   */
  | {
      readonly phase: 'draining';
      readonly drain: Drain;
      readonly fellBackFrom?: Drain;
      readonly error?: unknown;
    }
  /** Retrying after `delayMs`. */
  | { readonly phase: 'waiting'; readonly error: unknown; readonly delayMs: number }
  /** Without an `error`, this client has closed the subscription. */
  | { readonly phase: 'ended'; readonly error?: unknown };

/** The guarantee of a subscription (SEP: When a peer lacks the extension). */
export interface Guarantee {
  /** The order holds within the subscription; there is no order between subscriptions. */
  readonly order: 'total';
  /** Every loss is reported, as a gap or as `lost`. */
  readonly loss: 'none silent';
  /** Each gap names its numbers. */
  readonly gaps: 'exact';
  /** The drain in use. */
  readonly drain: Drain;
  /**
   * `volatile`: the server forgets its logs when it stops; the loss is then reported as `lost` or
   * as an epoch.
   */
  readonly durability: 'durable' | 'volatile';
}
