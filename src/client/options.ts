/** What a caller of `subscribe` says, and what it is told. */
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
import type { BackoffOptions } from './backoff.ts';

/** What the iterator yields. An event or a gap is acknowledged with `ack()`, or by asking for the next item. */
export type Item =
  (EventItem & Acknowledgeable) | (GapItem & Acknowledgeable) | EpochItem | LostItem;

/** An item that can be acknowledged (SEP: Acknowledgement). */
export interface Acknowledgeable {
  /**
   * Everything up to and including this item is done. Resolves when that is saved in the ledger and the server has confirmed
   * it (on the callback drain: when it is saved; the answer to the server follows). Needed only with `ack: 'manual'`.
   */
  ack(): Promise<void>;
}

/** The receiver's end of a callback, as `createReceiver` makes it. `audience` is the MCP server's resource URI. */
export interface CallbackEndpoint {
  /**
   * Makes the key known and returns what to register with the MCP server. The same call returns the same, until it is time for
   * another URL.
   */
  register(who: { readonly audience: string; readonly key: string }): Promise<{
    readonly url: string;
    readonly secret: string;
    /** Register again after this instant (epoch milliseconds): the URL's token ends some time later. */
    readonly renewAt: number;
  }>;
  /** Hands every verified delivery of this key to `sink` until the returned function is called. */
  attach(who: { readonly audience: string; readonly key: string }, sink: Sink): () => void;
  /** The same for webhooks of `events/*` (SEP-3415). Without it that rung is left out. */
  attachWebhook?(
    who: { readonly audience: string; readonly key: string },
    sink: WebhookSink,
  ): () => void;
  /** A new secret for a key that is registered; the old one verifies for a while. Without it secrets stay. */
  rotate?(who: {
    readonly audience: string;
    readonly key: string;
  }): ReturnType<CallbackEndpoint['register']>;
}

/** What to follow, from where, on which drain, and what is remembered of it. */
export interface SubscribeOptions {
  /** Trigger types and their arguments: 1 to 64 of them. Their order is part of the default `key`. */
  readonly select: readonly Selection[];
  /** The subscription's name, unique per principal. Default: a hash of `select`, so that a restart finds the same log. */
  readonly key?: string;
  /**
   * Suggested lifetime in milliseconds; null = no expiry; absent = the server's default. Renewed as long as the subscription is
   * open here.
   */
  readonly ttlMs?: number | null;
  /** Start a new log with the retained events accepted at or after this instant (RFC 3339). */
  readonly since?: string;
  /** What the server does about an event that the callback keeps refusing. Default `suspend` (SEP: Failure and suspension). */
  readonly onFailure?: OnFailure;
  /** Where to begin, then what the server does not offer is left out: callback, stream, pull. Default `auto`. */
  readonly drain?: 'auto' | Drain;
  /** Needed for the callback drain. */
  readonly callback?: CallbackEndpoint;
  /** Remembers the position across restarts. Default: memory. */
  readonly ledger?: Ledger;
  /** `auto`: asking for the next item acknowledges the last one. Default `auto`. */
  readonly ack?: 'auto' | 'manual';
  /** After an expired or unknown subscription: report it lost and subscribe again. Default true. */
  readonly resubscribe?: boolean;
  /** Ends the iteration without an error. The subscription stays. */
  readonly signal?: AbortSignal;
  /** Credit of a stream, and the size of a pull. Default 100 events, 1 MiB. */
  readonly window?: StreamWindow;
  /** Told of every change of state, at once. Must not throw. */
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
  /** A pull waits this long for an event. Default 25,000; 0 = ask again after the server's `nextPollMs`. */
  readonly waitMs?: number;
  /** A callback quiet for this long makes the client look whether something was missed. Default 60,000. */
  readonly checkMs?: number;
  /** Acknowledgements are collected for this long. Default 50. */
  readonly ackDelayMs?: number;
}

/** What a subscription is doing, for a status line or a log. */
export type SubscriptionState =
  /** Nothing has been sent yet. */
  | { readonly phase: 'idle' }
  /** Subscribing, or renewing on another drain. */
  | { readonly phase: 'subscribing' }
  /** `fellBackFrom`: what was wanted, when the server, or the way to the callback, did not allow it. */
  | { readonly phase: 'draining'; readonly drain: Drain; readonly fellBackFrom?: Drain }
  /** Trying again after `delayMs`. */
  | { readonly phase: 'waiting'; readonly error: unknown; readonly delayMs: number }
  /** Closed here when there is no `error`. */
  | { readonly phase: 'ended'; readonly error?: unknown };

/** What can be relied on now (SEP: When a peer lacks the extension). */
export interface Guarantee {
  /** Within the subscription; there is no order between subscriptions. */
  readonly order: 'total';
  /** What is lost is reported, as a gap or as `lost`. */
  readonly loss: 'none silent';
  /** Each gap names its numbers. */
  readonly gaps: 'exact';
  /** The one in use. */
  readonly drain: Drain;
  /** `volatile`: the server forgets its logs when it stops; the loss is then reported as `lost` or as an epoch. */
  readonly durability: ServerCapability['durability'];
}
