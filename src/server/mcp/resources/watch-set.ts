/**
 * The watches of one connection, or of one `subscriptions/listen`: a bounded set of URIs. Closing
 * the set closes every watch, including those that are still being opened.
 */
import type { Position } from '../../../../spec-schema/draft/schema.ts';
import type { Caller } from '../../engine/verbs.ts';
import { resourceExhausted } from '../../../protocol/wire/errors.ts';
import type { Feeds, Target } from './feeds.ts';
import type { ResolvedFeedOptions } from './options.ts';
import type { Watch } from './watch.ts';

/** The `limit` of `ResourceExhausted`. */
const WATCHED_LIMIT = 'watched_resources';

export interface WatchSetOptions {
  readonly feeds: Feeds;
  readonly feedOptions: ResolvedFeedOptions;
  /** Notifies the client that the resource has changed. */
  readonly notify: (uri: string) => void;
  /** Called when the log of a URI has ended, after its last notification. */
  readonly ended?: () => void;
}

interface Slot {
  readonly id: string;
  /** Null = the log has ended, or the watch is still being opened. */
  watch: Watch | null;
}

export class WatchSet {
  readonly #options: WatchSetOptions;
  /** Slots by URI, as the client wrote it. */
  readonly #slots = new Map<string, Slot>();

  constructor(options: WatchSetOptions) {
    this.#options = options;
  }

  /**
   * Watches a URI. `seen` is the position that the client has read up to. Does nothing if the URI
   * is watched already. Rejects as `Feeds.watch` does, and with `ResourceExhausted`.
   */
  async add(
    caller: Caller,
    uri: string,
    target: Target,
    seen: Position | null = null,
  ): Promise<void> {
    const { feeds, feedOptions, notify, ended } = this.#options;
    const { maxWatched: max } = feedOptions;
    const before = this.#slots.get(uri);
    if (before !== undefined && before.watch !== null) return;
    if (before === undefined && this.#slots.size >= max)
      throw resourceExhausted({ limit: WATCHED_LIMIT, max });
    const slot: Slot = { id: target.id, watch: null };
    this.#slots.set(uri, slot);
    const wanted = (): boolean => this.#slots.get(uri) === slot;
    try {
      const watch = await feeds.watch(
        caller,
        target,
        feedOptions,
        {
          notify: () => notify(uri),
          ended: () => {
            slot.watch = null;
            ended?.();
          },
        },
        seen,
      );
      if (wanted()) slot.watch = watch.closed ? null : watch;
      else watch.close();
    } catch (error) {
      if (wanted()) this.#slots.delete(uri);
      throw error;
    }
  }

  /**
   * The URIs of this target without an open watch, in general because their log has ended. A read
   * creates a new log, and {@link add} then watches that.
   */
  ended({ id }: Target): string[] {
    return [...this.#slots]
      .filter(([, slot]) => slot.id === id && slot.watch === null)
      .map(([uri]) => uri);
  }

  remove(uri: string): void {
    this.#slots.get(uri)?.watch?.close();
    this.#slots.delete(uri);
  }

  close(): void {
    for (const uri of [...this.#slots.keys()]) this.remove(uri);
  }
}
