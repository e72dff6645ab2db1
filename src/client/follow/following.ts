/**
 * Following something on any MCP server: one iterator, whatever the server can do. One subscription where the extension has all that is
 * followed; otherwise a ladder for each selection, merged as they come (SEP: When a peer lacks the extension).
 */
import type { Selection } from '../../../spec-schema/draft/schema.ts';
import { systemClock, type Clock } from '../../protocol/lib/clock.ts';
import { memoryLedger, type Ledger } from '../../protocol/ledger/ledger.ts';
import { subscriptionKey } from '../../protocol/wire/canonical.ts';
import { LIST_CHANGED_METHOD } from '../../protocol/wire/envelope.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { SELECT_MAX } from '../../protocol/wire/limits.ts';
import type { Connection } from '../sdk/connection.ts';
import type { SubscriptionState } from '../options.ts';
import { AsyncQueue } from '../../protocol/lib/queue.ts';
import type { TriggersSubscription } from '../subscription/subscription.ts';
import { forgetLists } from './catalog.ts';
import { EVENTS_LIST_CHANGED } from '../../protocol/events/names.ts';
import { weakest } from './guarantee.ts';
import { Follower, type Exhausted } from './follower.ts';
import { ModeLeft } from './leaving.ts';
import { Cooldowns } from './cooldowns.ts';
import { isModeName, FALLBACK_MODES, MODE_NAMES } from './modes/index.ts';
import { Deduplicator } from './deduplicator.ts';
import { ItemSequencer } from './item-sequencer.ts';
import { triggersMode, type TriggersMode } from './modes/triggers.ts';
import type {
  FollowGuarantee,
  FollowItem,
  FollowOptions,
  FollowState,
  FollowStatus,
  Mode,
  ModeContext,
  ModeName,
} from './types.ts';

const POLL_MS = 30_000;
const POLL_FLOOR_MS = 1000;
const SILENCE_MS = 60_000;
const REPROBE_MS = 300_000;
/** A server that offers other things now often changes several lists at once. */
const LIST_CHANGED_PAUSE_MS = 100;
/** What offers other types now. */
const LISTS_CHANGED: readonly string[] = [LIST_CHANGED_METHOD, EVENTS_LIST_CHANGED];
/** Worst first: of several the one that matters. */
const PHASES: readonly FollowState['phase'][] = [
  'ended',
  'waiting',
  'choosing',
  'idle',
  'following',
];

/** One ladder with what it stands on. */
interface Track {
  readonly follower: Follower;
  readonly selection: Selection | undefined;
  readonly seen: Deduplicator;
  readonly cooldowns: Cooldowns;
  readonly triggers: TriggersMode | undefined;
}

/** What was left for other lanes. */
interface Before {
  readonly guarantee: FollowGuarantee;
  readonly error: unknown;
  readonly wasRefused: boolean;
}

/** Follows until closed: `for await (const item of following)`. Made by {@link TriggersClient.follow}. */
export class Following implements AsyncIterable<FollowItem> {
  readonly #connection: Connection;
  readonly #o: FollowOptions;
  readonly #clock: Clock;
  readonly #ledger: Ledger;
  readonly #tuning: ModeContext['tuning'];
  readonly #reprobeMs: number;
  readonly #stop = new AbortController();
  /** Left for other lanes. */
  #group = new AbortController();
  #tracks: readonly Track[] = [];
  /** Of the subscription for all selections: it is tried again when there is reason to. */
  readonly #cooldowns: Cooldowns;
  #state: FollowState = { phase: 'idle' };
  #isIterating = false;
  #isOver = false;
  #looking = false;

  /** @internal Made by `TriggersClient.follow`. */
  constructor(connection: Connection, options: FollowOptions) {
    const { select, modes = MODE_NAMES, tuning = {} } = options;
    if (select.length < 1 || select.length > SELECT_MAX)
      throw new LocalError('config_invalid', `Follow 1 to ${SELECT_MAX} selections.`);
    if (!modes.every(isModeName))
      throw new LocalError('config_invalid', `Rungs are ${MODE_NAMES.join(', ')}.`);
    this.#connection = connection;
    this.#o = options;
    this.#clock = tuning.clock ?? systemClock;
    this.#ledger = options.ledger ?? memoryLedger();
    this.#tuning = {
      pollMs: tuning.pollMs ?? POLL_MS,
      pollFloorMs: tuning.pollFloorMs ?? POLL_FLOOR_MS,
      silenceMs: tuning.silenceMs ?? SILENCE_MS,
    };
    this.#reprobeMs = tuning.reprobeMs ?? REPROBE_MS;
    this.#cooldowns = new Cooldowns(this.#clock, this.#reprobeMs);
    options.signal?.addEventListener('abort', () => this.#shut(), {
      once: true,
      signal: this.#stop.signal,
    });
    if (options.signal?.aborted) this.#shut();
  }

  /** What can be relied on for everything that is followed, at this moment; undefined until the first rung is chosen. */
  get guarantee(): FollowGuarantee | undefined {
    return this.#isOver
      ? undefined
      : weakest(this.#tracks.flatMap(({ follower }) => follower.guarantee ?? []));
  }

  /** The same for each selection; one row where one log of the extension has them all. */
  get status(): readonly FollowStatus[] {
    return this.#tracks.map(({ follower, selection }) => ({
      selection,
      guarantee: follower.guarantee,
      state: follower.state,
    }));
  }

  /** What is being done; of several selections, where it is worst. */
  get state(): FollowState {
    if (this.#isOver || this.#tracks.length === 0) return this.#state;
    const states = this.#tracks.map(({ follower }) => follower.state);
    return PHASES.flatMap((phase) => states.filter((state) => state.phase === phase))[0]!;
  }

  /** The subscription on the server, while one of the extension has everything that is followed. */
  get subscription(): TriggersSubscription | undefined {
    return this.#tracks.length === 1 ? this.#tracks[0]!.triggers?.subscription : undefined;
  }

  /**
   * Items of each selection in order; there is no order between selections. Iterated once; leaving the loop ends it here, and what the
   * server holds stays. Ends without an error after {@link close} and when the signal of the options fires. Throws `LocalError`
   * `not_supported` when the server has nothing that tells of a selection, `terminated` when somebody has ended the subscription,
   * `unauthorized`, or the error of the last rung that was left.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<FollowItem, void, undefined> {
    if (this.#isIterating)
      throw new LocalError(
        'config_invalid',
        'This is iterated once. Follow again with the same ledger.',
      );
    this.#isIterating = true;
    const unwatch = this.#watch();
    let failure: { readonly error: unknown } | undefined;
    try {
      yield* this.#follow();
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      failure = { error };
      throw error;
    } finally {
      unwatch();
      for (const { follower } of this.#tracks) follower.say({ phase: 'ended', ...failure });
      this.#isOver = true;
      this.#shut(failure);
    }
  }

  /**
   * Stops here; what the application has finished is saved and acknowledged first. With `unsubscribe` what was made on the server ends
   * too, as far as it can be reached.
   */
  async close({ unsubscribe = false }: { readonly unsubscribe?: boolean } = {}): Promise<void> {
    try {
      if (!this.#stop.signal.aborted) await Promise.all(this.#tracks.map(settle));
    } finally {
      this.#stop.abort(closed());
      if (unsubscribe) await Promise.all(this.#tracks.map(({ follower }) => follower.release()));
    }
  }

  /* -------------------------------------------------- lanes ------------------------------------------------------------ */

  async *#follow(): AsyncGenerator<FollowItem, void> {
    const { select } = this.#o;
    let before: Before | undefined;
    let seen: readonly Deduplicator[] = [];
    for (;;) {
      this.#stop.signal.throwIfAborted();
      if (select.length > 1 && this.#mayUse('triggers') && !this.#cooldowns.isRefused('triggers')) {
        const whole = this.#wholeLane(before, seen);
        const end = yield* this.#through([whole]);
        const guarantee = whole.follower.guarantee;
        if (guarantee) {
          before = { guarantee, error: end?.error, wasRefused: whole.follower.wasRefused };
          seen = [whole.seen];
        }
      }
      const tracks = select.map((selection) => this.#lane(selection, before, seen));
      const end = yield* this.#through(tracks);
      if (end) throw end.error;
      // Left for one subscription for all.
      before = {
        guarantee: weakest(tracks.flatMap(({ follower }) => follower.guarantee ?? []))!,
        error: undefined,
        wasRefused: false,
      };
      seen = tracks.map((track) => track.seen);
    }
  }

  #mayUse(name: ModeName): boolean {
    return this.#o.modes?.includes(name) ?? true;
  }

  #wholeLane(before: Before | undefined, seen: readonly Deduplicator[]): Track {
    const { select } = this.#o;
    return this.#makeLane({
      selections: select,
      selection: undefined,
      lower: [],
      cooldowns: this.#cooldowns,
      before,
      seen,
    });
  }

  #lane(selection: Selection, before: Before | undefined, seen: readonly Deduplicator[]): Track {
    const isAlone = this.#o.select.length === 1;
    return this.#makeLane({
      selections: [selection],
      selection,
      lower: FALLBACK_MODES.filter(({ name }) => this.#mayUse(name)),
      before,
      seen,
      cooldowns: isAlone ? this.#cooldowns : new Cooldowns(this.#clock, this.#reprobeMs),
    });
  }

  #makeLane({
    selections,
    selection,
    lower,
    cooldowns,
    before,
    seen,
  }: {
    readonly selections: readonly Selection[];
    readonly selection: Selection | undefined;
    readonly lower: readonly Mode[];
    readonly cooldowns: Cooldowns;
    readonly before: Before | undefined;
    readonly seen: readonly Deduplicator[];
  }): Track {
    const { select, otherwise = {}, callback, ack = 'auto', tuning = {} } = this.#o;
    const own = { ...this.#o, ledger: this.#ledger };
    // A key that was given names one subscription.
    const options =
      selections.length === select.length ? own : { ...own, triggers: withoutKey(own.triggers) };
    const triggers = this.#mayUse('triggers')
      ? triggersMode(selections, options, (state) => this.#subscriptionSays(follower, state))
      : undefined;
    const mine = new Deduplicator(...seen);
    const first = selections[0]!;
    const follower: Follower = new Follower({
      connection: this.#connection,
      modes: [...(triggers ? [triggers] : []), ...lower],
      target: {
        selection: first,
        otherwise: Object.hasOwn(otherwise, first.name) ? otherwise[first.name] : undefined,
        callback,
      },
      sequencer: new ItemSequencer({
        ledger: this.#ledger,
        server: this.#connection.server,
        keys: selections.map((one) => subscriptionKey([one], null)),
        triggersKey: triggers?.key ?? '',
        ack,
        seen: mine,
        before: before?.guarantee,
        selectionOf: (mode) =>
          mode === 'triggers' && selections.length === select.length ? undefined : selection,
      }),
      cooldowns,
      signal: AbortSignal.any([this.#stop.signal, this.#group.signal]),
      clock: this.#clock,
      backoff: tuning.backoff ?? {},
      tuning: this.#tuning,
      before: before && { wasRefused: before.wasRefused, error: before.error },
      onState: (state) => this.#o.onState?.(state, selection),
    });
    return { follower, selection, seen: mine, cooldowns, triggers };
  }

  /** What the subscription does by itself. */
  #subscriptionSays(follower: Follower, state: SubscriptionState): void {
    if (state.phase === 'waiting') follower.say(state);
    if (state.phase === 'draining')
      follower.say({ phase: 'following', mode: 'triggers', drain: state.drain });
  }

  /**
   * Items of all lanes as they come: of each at most one waits here, so that nothing is asked of a server before there is room. Ends with
   * what the first lane ended with; without anything when all were left for other lanes.
   */
  async *#through(tracks: readonly Track[]): AsyncGenerator<FollowItem, Exhausted | undefined> {
    this.#tracks = tracks;
    const group = this.#group;
    const inbox = new AsyncQueue<{
      readonly at: number;
      readonly next?: IteratorResult<FollowItem, Exhausted>;
      readonly left?: true;
    }>();
    const iterators = tracks.map(({ follower }) => follower.items());
    const pending = new Set<number>();
    const ask = (at: number): void => {
      pending.add(at);
      iterators[at]!.next().then(
        (next) => {
          pending.delete(at);
          inbox.push({ at, next });
        },
        (error: unknown) => {
          pending.delete(at);
          if (group.signal.aborted && !this.#stop.signal.aborted) inbox.push({ at, left: true });
          else inbox.fail(error);
        },
      );
    };
    let open = tracks.length;
    try {
      for (const at of tracks.keys()) ask(at);
      for await (const { at, next, left } of inbox) {
        if (left && --open === 0) return undefined;
        if (!next) continue;
        if (next.done) return next.value;
        yield next.value;
        ask(at);
      }
      return undefined;
    } finally {
      // Who has handed something over goes in good order; who waits for a server is told to stop.
      await Promise.all(
        tracks.map((track, at) =>
          pending.has(at)
            ? track.follower.sequencer.flush().catch(() => undefined)
            : iterators[at]!.return({ error: undefined }).catch(() => undefined),
        ),
      );
      group.abort(closed());
      await Promise.all(
        iterators.map((iterator) => iterator.return({ error: undefined }).catch(() => undefined)),
      );
      this.#group = new AbortController();
    }
  }

  /* -------------------------------------------------- looking again ---------------------------------------------------- */

  /** Asks the server now and then, and when it says so, whether it offers something else. Returns the end of that. */
  #watch(): () => void {
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
    const deafen = this.#connection.onNotification((method) => {
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
      deafen();
      cancelSoon?.();
      cancelLater();
    };
  }

  async #reconsider(always: boolean): Promise<void> {
    const tracks = this.#tracks;
    const isSplit = tracks.length > 1;
    if (this.#looking || (!always && !isSplit && !tracks.some(({ follower }) => follower.canRise)))
      return;
    this.#looking = true;
    try {
      await this.#connection.look({ signal: this.#stop.signal });
      forgetLists(this.#connection);
      if (isSplit && (await this.#canUnite(tracks))) return this.#group.abort(new ModeLeft());
      await Promise.all(tracks.map(({ follower }) => follower.reconsider({ always })));
    } catch {
      // It says nothing now; whoever follows it finds out by itself.
    } finally {
      this.#looking = false;
    }
  }

  /** Whether one subscription could have everything by now. */
  async #canUnite(tracks: readonly Track[]): Promise<boolean> {
    if (
      !this.#mayUse('triggers') ||
      this.#cooldowns.isRefused('triggers') ||
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

const closed = (): LocalError => new LocalError('closed', 'This is not followed any more.');

const withoutKey = ({
  key: _key,
  ...rest
}: NonNullable<FollowOptions['triggers']> = {}): NonNullable<FollowOptions['triggers']> => rest;

/** What the application has finished is saved; a subscription is closed in its own way. */
async function settle({ follower, triggers }: Track): Promise<void> {
  await follower.sequencer.flush();
  await triggers?.subscription?.close();
}
