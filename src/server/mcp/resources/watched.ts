/**
 * What one connection is told of: a bounded set of URIs, each with its watch. Nothing is left of it when the connection closes, not even of what was
 * just being opened.
 */
import type { Position } from '../../../../spec-schema/draft/schema.ts';
import type { Caller } from '../../engine/verbs.ts';
import { resourceExhausted } from '../../../protocol/wire/errors.ts';
import type { Feeds, Target } from './feeds.ts';
import type { ResolvedFeedOptions } from './options.ts';
import type { Watch } from './watch.ts';

/** The name of the quota in a refusal. */
export const WATCHED_LIMIT = 'watched_resources';

export interface WatchedOptions {
  readonly feeds: Feeds;
  readonly feedOptions: ResolvedFeedOptions;
  /** Tells the client that this URI has news. */
  readonly tell: (uri: string) => void;
  /** The log of one of them is over; it was told of for the last time. */
  readonly ended?: () => void;
}

interface Slot {
  readonly id: string;
  /** Null = its log is over, or the watch is still being opened. */
  watch: Watch | null;
}

export class Watched {
  readonly #o: WatchedOptions;
  /** By URI as the client wrote it. */
  readonly #slots = new Map<string, Slot>();

  constructor(options: WatchedOptions) {
    this.#o = options;
  }

  /**
   * Tells of this URI from now on, from `seen` if the client was told up to there. A second time changes nothing. Rejects as
   * `Feeds.watch` does, or with `ResourceExhausted`.
   */
  async add(
    caller: Caller,
    uri: string,
    target: Target,
    seen: Position | null = null,
  ): Promise<void> {
    const { feeds, feedOptions, tell, ended } = this.#o;
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
          notify: () => tell(uri),
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

  /** URIs whose log was over when they were last told of, and which mean this. Somebody who reads them begins anew. */
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
