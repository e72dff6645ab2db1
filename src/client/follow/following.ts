/**
 * Follows selections on any MCP server with one iterator. Uses one subscription if the extension
 * has all selections, and otherwise one track per selection, merged as their items arrive (SEP:
 * When a peer lacks the extension).
 */
import type { Selection } from '../../../spec-schema/draft/schema.ts';
import { EVENTS_LIST_CHANGED } from '../../protocol/events/names.ts';
import { systemClock, type Clock } from '../../protocol/lib/clock.ts';
import { memoryLedger } from '../../protocol/ledger/ledger.ts';
import { LIST_CHANGED_METHOD } from '../../protocol/wire/envelope.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { SELECT_MAX } from '../../protocol/wire/limits.ts';
import type { Connection } from '../sdk/connection.ts';
import type { TriggersSubscription } from '../subscription/subscription.ts';
import { forgetLists } from './catalog.ts';
import { Cooldowns, ModeLeft, type Exhausted } from './follower.ts';
import { weakestGuarantee } from './guarantee.ts';
import type { Deduplicator } from './item-sequencer.ts';
import { isModeName, MODE_NAMES } from './mode-table.ts';
import { triggersMode } from './modes/triggers.ts';
import {
  makeTrack,
  mayUse,
  mergeTracks,
  settleTrack,
  type Previous,
  type Track,
  type TrackOptions,
} from './track.ts';
import type {
  FollowGuarantee,
  FollowItem,
  FollowOptions,
  FollowState,
  FollowStatus,
} from './types.ts';

const POLL_MS = 30_000;
const POLL_FLOOR_MS = 1000;
const SILENCE_MS = 60_000;
const REPROBE_MS = 300_000;
/**
 * Pause before the modes are reconsidered: a change of the offer often changes several lists at
 * once.
 */
const LIST_CHANGED_PAUSE_MS = 100;
/** The notifications after which a server may offer another mode. */
const LISTS_CHANGED: readonly string[] = [LIST_CHANGED_METHOD, EVENTS_LIST_CHANGED];
/** Worst first: of several tracks the worst phase is shown. */
const PHASES: readonly FollowState['phase'][] = [
  'ended',
  'waiting',
  'choosing',
  'idle',
  'following',
];

/**
 * Follows until closed: `for await (const item of following)`. Made by
 * {@link TriggersClient.follow}.
 */
export class Following implements AsyncIterable<FollowItem> {
  readonly #connection: Connection;
  readonly #o: FollowOptions;
  readonly #clock: Clock;
  readonly #trackOptions: TrackOptions;
  readonly #reprobeMs: number;
  readonly #stop = new AbortController();
  /** Ends the tracks in use. */
  #group = new AbortController();
  #tracks: readonly Track[] = [];
  /**
   * The cooldowns of the track with all selections. They outlive the track, which is made again
   * whenever one subscription may work.
   */
  readonly #cooldowns: Cooldowns;
  #state: FollowState = { phase: 'idle' };
  #isIterating = false;
  #isOver = false;
  #isReconsidering = false;

  /** @internal Made by `TriggersClient.follow`. */
  constructor(connection: Connection, options: FollowOptions) {
    const { select, modes = MODE_NAMES, tuning = {} } = options;
    if (select.length < 1 || select.length > SELECT_MAX)
      throw new LocalError(
        'config_invalid',
        `There are ${select.length} selections. Follow 1 to ${SELECT_MAX}.`,
      );
    const unknown = modes.find((mode) => !isModeName(mode));
    if (unknown !== undefined)
      throw new LocalError(
        'config_invalid',
        `There is no mode ${String(unknown)}. Modes are ${MODE_NAMES.join(', ')}.`,
      );
    this.#connection = connection;
    this.#o = options;
    this.#clock = tuning.clock ?? systemClock;
    this.#reprobeMs = tuning.reprobeMs ?? REPROBE_MS;
    this.#cooldowns = new Cooldowns(this.#clock, this.#reprobeMs);
    this.#trackOptions = {
      connection,
      options,
      ledger: options.ledger ?? memoryLedger(),
      clock: this.#clock,
      tuning: {
        pollMs: tuning.pollMs ?? POLL_MS,
        pollFloorMs: tuning.pollFloorMs ?? POLL_FLOOR_MS,
        silenceMs: tuning.silenceMs ?? SILENCE_MS,
      },
    };
    options.signal?.addEventListener('abort', () => this.#shut(), {
      once: true,
      signal: this.#stop.signal,
    });
    if (options.signal?.aborted) this.#shut();
  }

  /**
   * The guarantee that holds for all selections at the moment; undefined until the first mode is
   * chosen.
   */
  get guarantee(): FollowGuarantee | undefined {
    return this.#isOver
      ? undefined
      : weakestGuarantee(this.#tracks.flatMap(({ follower }) => follower.guarantee ?? []));
  }

  /** The status of each selection; a single entry if one log of the extension has all of them. */
  get status(): readonly FollowStatus[] {
    return this.#tracks.map(({ follower, selection }) => ({
      selection,
      guarantee: follower.guarantee,
      state: follower.state,
    }));
  }

  /** The state at the moment; of several selections, the worst one. */
  get state(): FollowState {
    if (this.#isOver || this.#tracks.length === 0) return this.#state;
    const states = this.#tracks.map(({ follower }) => follower.state);
    return PHASES.flatMap((phase) => states.filter((state) => state.phase === phase))[0]!;
  }

  /** The subscription on the server; undefined unless one subscription has all selections. */
  get subscription(): TriggersSubscription | undefined {
    return this.#tracks.length === 1 ? this.#tracks[0]!.triggers?.subscription : undefined;
  }

  /**
   * Items of each selection in order; there is no order between selections. Can be iterated only
   * once. Leaving the loop stops following; subscriptions stay on the server. Ends without an error
   * after {@link close} and when the signal of the options fires. Throws `LocalError`
   * `not_supported` when no mode works for a selection, `terminated` when the subscription was
   * ended, `unauthorized`, or the error of the last mode that was left.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<FollowItem, void, undefined> {
    if (this.#isIterating)
      throw new LocalError(
        'config_invalid',
        'A following can be iterated only once. Call `follow` again with the same ledger.',
      );
    this.#isIterating = true;
    const unwatch = this.#watchOffers();
    let failure: { readonly error: unknown } | undefined;
    try {
      yield* this.#follow();
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      failure = { error };
      throw error;
    } finally {
      unwatch();
      for (const { follower } of this.#tracks) follower.setState({ phase: 'ended', ...failure });
      this.#isOver = true;
      this.#shut(failure);
    }
  }

  /**
   * Stops following, after the finished items are saved and acknowledged. `unsubscribe` also
   * removes everything that was created on the server, if the server can be reached.
   */
  async close({ unsubscribe = false }: { readonly unsubscribe?: boolean } = {}): Promise<void> {
    try {
      if (!this.#stop.signal.aborted) await Promise.all(this.#tracks.map(settleTrack));
    } finally {
      this.#stop.abort(closed());
      if (unsubscribe) await Promise.all(this.#tracks.map(({ follower }) => follower.release()));
    }
  }

  /** Follows with one track for all selections if that works, else with one track per selection. */
  async *#follow(): AsyncGenerator<FollowItem, void> {
    const { select } = this.#o;
    let previous: Previous | undefined;
    let seenBefore: readonly Deduplicator[] = [];
    for (;;) {
      this.#stop.signal.throwIfAborted();
      if (
        select.length > 1 &&
        mayUse(this.#o, 'triggers') &&
        !this.#cooldowns.isActive('triggers')
      ) {
        const whole = this.#track(undefined, previous, seenBefore);
        const end = yield* this.#through([whole]);
        const { guarantee, wasRefused } = whole.follower;
        if (guarantee) {
          previous = { guarantee, error: end?.error, wasRefused };
          seenBefore = [whole.seen];
        }
      }
      const tracks = select.map((selection) => this.#track(selection, previous, seenBefore));
      const end = yield* this.#through(tracks);
      if (end) throw end.error;
      // One subscription can have all selections by now.
      previous = {
        guarantee: weakestGuarantee(tracks.flatMap(({ follower }) => follower.guarantee ?? []))!,
        error: undefined,
        wasRefused: false,
      };
      seenBefore = tracks.map((track) => track.seen);
    }
  }

  #track(
    selection: Selection | undefined,
    previous: Previous | undefined,
    seenBefore: readonly Deduplicator[],
  ): Track {
    const isWhole = selection === undefined || this.#o.select.length === 1;
    return makeTrack(this.#trackOptions, {
      selection,
      previous,
      seenBefore,
      cooldowns: isWhole ? this.#cooldowns : new Cooldowns(this.#clock, this.#reprobeMs),
      signal: AbortSignal.any([this.#stop.signal, this.#group.signal]),
    });
  }

  async *#through(tracks: readonly Track[]): AsyncGenerator<FollowItem, Exhausted | undefined> {
    this.#tracks = tracks;
    try {
      return yield* mergeTracks(tracks, {
        group: this.#group,
        stop: this.#stop.signal,
        closed,
      });
    } finally {
      this.#group = new AbortController();
    }
  }

  /* -------------------------------------------------- better offers ----------------------------------------------------- */

  /**
   * Reconsiders the modes at intervals and after every change of a list. Returns the function that
   * stops this.
   */
  #watchOffers(): () => void {
    const clock = this.#clock;
    let cancelSoon: (() => void) | undefined;
    let cancelLater = (): void => undefined;
    const later = (): void => {
      cancelLater = clock.after(
        this.#reprobeMs,
        () =>
          void this.#reconsider(false).finally(() => {
            if (!this.#stop.signal.aborted) later();
          }),
        { background: true },
      );
    };
    const removeListener = this.#connection.onNotification((method) => {
      if (!LISTS_CHANGED.includes(method)) return;
      cancelSoon ??= clock.after(
        LIST_CHANGED_PAUSE_MS,
        () => {
          cancelSoon = undefined;
          void this.#reconsider(true);
        },
        { background: true },
      );
    });
    later();
    return () => {
      removeListener();
      cancelSoon?.();
      cancelLater();
    };
  }

  async #reconsider(always: boolean): Promise<void> {
    const tracks = this.#tracks;
    const isSplit = tracks.length > 1;
    const mayImprove = isSplit || tracks.some(({ follower }) => follower.canUpgrade);
    if (this.#isReconsidering || (!always && !mayImprove)) return;
    this.#isReconsidering = true;
    try {
      await this.#connection.refresh({ signal: this.#stop.signal });
      forgetLists(this.#connection);
      if (isSplit && (await this.#canUnite(tracks))) return this.#group.abort(new ModeLeft());
      await Promise.all(tracks.map(({ follower }) => follower.reconsider({ always })));
    } catch {
      // The server does not answer now; the modes in use notice that by themselves.
    } finally {
      this.#isReconsidering = false;
    }
  }

  /** Whether one subscription can have all selections by now. */
  async #canUnite(tracks: readonly Track[]): Promise<boolean> {
    if (
      !mayUse(this.#o, 'triggers') ||
      this.#cooldowns.isActive('triggers') ||
      tracks !== this.#tracks
    )
      return false;
    const mode = triggersMode(this.#o.select, this.#o, () => undefined);
    return (
      (await mode
        .offer(this.#connection, tracks[0]!.follower.target, this.#stop.signal)
        .catch(() => null)) !== null
    );
  }

  #shut(failure?: { readonly error: unknown }): void {
    this.#state = { phase: 'ended', ...failure };
    this.#stop.abort(closed());
  }
}

const closed = (): LocalError =>
  new LocalError(
    'closed',
    'This client has stopped following. Call `follow` again with the same ledger.',
  );
