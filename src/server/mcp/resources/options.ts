/** The options of feeds and their defaults, shared by `attachResources` and `withFeeds`. */
import type { Log } from '../../engine/ports.ts';
import { silentLog } from '../../engine/ports.ts';
import type { Caller } from '../../engine/verbs.ts';
import type { NotifyTiming } from './change-notifier.ts';

const DAY_MS = 86_400_000;
const WATCHED_MAX = 64;

/** Options of feeds. */
export interface FeedOptions {
  /**
   * The lifetime to request for the log of a feed, in milliseconds. Reads and open watches renew it.
   * The engine clamps it to its bounds. Default: one day.
   */
  readonly implicitTtlMs?: number;
  /** The most URIs that one connection or one `subscriptions/listen` may watch. Default 64. */
  readonly maxWatched?: number;
  /** Intervals between change notifications. */
  readonly notify?: Partial<NotifyTiming>;
  /**
   * Whether a caller may watch a resource of the application. The application sends the
   * notifications itself, with `sendResourceUpdated` or on the handler's bus. Default: no caller
   * may.
   */
  readonly mayRead?: (caller: Caller, uri: string) => boolean | Promise<boolean>;
}

/** {@link FeedOptions} with the defaults applied. */
export interface ResolvedFeedOptions {
  readonly implicitTtlMs: number;
  readonly maxWatched: number;
  readonly notify: Partial<NotifyTiming>;
  readonly log: Log;
}

export const resolveFeedOptions = ({
  implicitTtlMs = DAY_MS,
  maxWatched = WATCHED_MAX,
  notify: notifyTiming = {},
  log = silentLog,
}: FeedOptions & { readonly log?: Log }): ResolvedFeedOptions => ({
  implicitTtlMs,
  maxWatched,
  notify: notifyTiming,
  log,
});
