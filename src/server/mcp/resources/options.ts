/** What can be set of feeds, for whoever offers them: on a server, or around an endpoint. */
import type { Log } from '../../engine/ports.ts';
import { silentLog } from '../../engine/ports.ts';
import type { Caller } from '../../engine/verbs.ts';
import type { NotifyTiming } from './change-notifier.ts';

const DAY_MS = 86_400_000;
const WATCHED_MAX = 64;

/** How feeds are kept and told of; everything has a default. */
export interface FeedOptions {
  /** For how long a feed is kept for somebody who neither reads nor listens, in milliseconds, within the engine's own bounds. Default: a day. */
  readonly leaseMs?: number;
  /** URIs that one connection, or one request to listen, may be told of. Default 64. */
  readonly maxWatched?: number;
  /** How often a doorbell may ring. */
  readonly notify?: Partial<NotifyTiming>;
  /**
   * Whether a caller may be told of a resource of the application. The application tells of it itself, with `sendResourceUpdated` or on the
   * handler's bus. Default: nobody may.
   */
  readonly mayRead?: (caller: Caller, uri: string) => boolean | Promise<boolean>;
}

/** The same with everything that was left open. */
export interface ResolvedFeedOptions {
  readonly leaseMs: number;
  readonly maxWatched: number;
  readonly notify: Partial<NotifyTiming>;
  readonly log: Log;
}

export const resolveFeedOptions = ({
  leaseMs = DAY_MS,
  maxWatched = WATCHED_MAX,
  notify: notifyTiming = {},
  log = silentLog,
}: FeedOptions & { readonly log?: Log }): ResolvedFeedOptions => ({
  leaseMs,
  maxWatched,
  notify: notifyTiming,
  log,
});
