/** The options of `subscribe`, its items, and its states. */
import type {
  Drain,
  OnFailure,
  Selection,
  ServerCapability,
  StreamWindow,
} from '../../spec-schema/draft/schema.ts';
import type { Clock } from '../protocol/lib/clock.ts';
import type { Sink, WebhookSink } from '../protocol/lib/sinks.ts';
import type { EpochItem, EventItem, GapItem, LostItem } from '../protocol/ledger/items.ts';
import type { Ledger } from '../protocol/ledger/ledger.ts';
import type { BackoffOptions } from './recovery.ts';

/**
 * One value of the iterator. Calling `ack()`, or asking for the next item, acknowledges an event or
 * a gap.
 */
export type Item =
  (EventItem & Acknowledgeable) | (GapItem & Acknowledgeable) | EpochItem | LostItem;

/** An item that can be acknowledged (SEP: Acknowledgement). */
export interface Acknowledgeable {
  /**
   * Finishes this item and all before it. Resolves when the ledger has saved that and the server
   * has confirmed it; on the callback drain when it is saved, before the response to the server.
   * Needed only with `ack: 'manual'`.
   */
  ack(): Promise<void>;
}

/**
 * A callback endpoint, as `createReceiver` makes it. `audience` is the MCP server's resource URI.
 */
export interface CallbackEndpoint {
  /**
   * Registers a key and returns what to pass to the MCP server. Another call returns the same until
   * `renewAt`.
   */
  register(who: { readonly audience: string; readonly key: string }): Promise<{
    readonly url: string;
    readonly secret: string;
    /**
     * Register again after this instant (epoch milliseconds): the token of the URL expires later.
     */
    readonly renewAt: number;
  }>;
  /** Passes every verified delivery of this key to `sink` until the returned function is called. */
  attach(who: { readonly audience: string; readonly key: string }, sink: Sink): () => void;
  /**
   * The same for webhooks of `events/*` (SEP-3415). Without it the mode `events.webhook` is not
   * used.
   */
  attachWebhook?(
    who: { readonly audience: string; readonly key: string },
    sink: WebhookSink,
  ): () => void;
  /**
   * Makes a new secret for a registered key; the old one stays valid for a while. Without it
   * secrets are not replaced.
   */
  rotate?(who: {
    readonly audience: string;
    readonly key: string;
  }): ReturnType<CallbackEndpoint['register']>;
}

/** Options of `subscribe`. */
export interface SubscribeOptions {
  /**
   * Trigger types and their arguments: 1 to 64 of them. Their order is part of the default `key`.
   */
  readonly select: readonly Selection[];
  /**
   * The subscription's name, unique per principal. Default: a hash of `select`, so that a restart
   * finds the same log.
   */
  readonly key?: string;
  /**
   * Suggested lifetime in milliseconds; null = no expiry; absent = the server's default. The client
   * renews an open subscription.
   */
  readonly ttlMs?: number | null;
  /** Start a new log with the retained events accepted at or after this instant (RFC 3339). */
  readonly since?: string;
  /**
   * The server's action for an event that the callback keeps rejecting. Default `suspend` (SEP:
   * Failure and suspension).
   */
  readonly onFailure?: OnFailure;
  /**
   * The first drain to try, in the order callback, stream, pull; drains that the server lacks are
   * passed over. Default `auto`.
   */
  readonly drain?: 'auto' | Drain;
  /** Needed for the callback drain. */
  readonly callback?: CallbackEndpoint;
  /** Remembers the position across restarts. Default: memory. */
  readonly ledger?: Ledger;
  /** `auto`: asking for the next item acknowledges the last one. Default `auto`. */
  readonly ack?: 'auto' | 'manual';
  /**
   * Whether an expired or unknown subscription is reported as lost and subscribed to again. Default
   * true.
   */
  readonly resubscribe?: boolean;
  /** Ends the iteration without an error. The subscription stays. */
  readonly signal?: AbortSignal;
  /** Credit of a stream, and size of a pull. Default 100 events, 1 MiB. */
  readonly window?: StreamWindow;
  /** Called at every change of state. Must not throw. */
  readonly onState?: (state: SubscriptionState) => void;
  /** Seldom needed outside tests. */
  readonly tuning?: Tuning;
}

/** Times in milliseconds, for slow networks and fast tests. */
export interface Tuning {
  readonly clock?: Clock;
  readonly backoff?: BackoffOptions;
  /** A stream silent for this long is dead. Default 30,000. */
  readonly silenceMs?: number;
  /**
   * A pull waits this long for an event. Default 25,000; 0 = pull again after the server's
   * `nextPollMs`.
   */
  readonly waitMs?: number;
  /**
   * After this long without a callback the client checks whether it has missed something. Default
   * 60,000.
   */
  readonly checkMs?: number;
  /** Finished items are collected for this long before they are acknowledged. Default 50. */
  readonly ackDelayMs?: number;
}

/** The state of a subscription, for a status line or a log. */
export type SubscriptionState =
  /** Nothing has been sent yet. */
  | { readonly phase: 'idle' }
  /** Subscribing, or renewing on another drain. */
  | { readonly phase: 'subscribing' }
  /**
   * `fellBackFrom`: the first drain to try, when the server did not allow it or could not reach the
   * callback. `error`: why the drain before this one was left.
   */
  | {
      readonly phase: 'draining';
      readonly drain: Drain;
      readonly fellBackFrom?: Drain;
      readonly error?: unknown;
    }
  /** Retrying after `delayMs`. */
  | { readonly phase: 'waiting'; readonly error: unknown; readonly delayMs: number }
  /** Closed by this client when there is no `error`. */
  | { readonly phase: 'ended'; readonly error?: unknown };

/** The guarantee of a subscription (SEP: When a peer lacks the extension). */
export interface Guarantee {
  /** Within the subscription; there is no order between subscriptions. */
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
  readonly durability: ServerCapability['durability'];
}
