/**
 * A track follows one selection, or all of them in one log, with a follower and everything that the
 * follower needs. Several tracks are merged into one iterator.
 */
import type { Selection } from '../../../spec-schema/draft/schema.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import { AsyncQueue } from '../../protocol/lib/queue.ts';
import type { Ledger } from '../../protocol/ledger/ledger.ts';
import { selectName } from '../../protocol/wire/canonical.ts';
import type { SubscriptionState } from '../options.ts';
import type { Connection } from '../sdk/connection.ts';
import { Follower, type Cooldowns, type Exhausted } from './follower.ts';
import { Deduplicator, ItemSequencer } from './item-sequencer.ts';
import { FALLBACK_MODES } from './modes/fallback.ts';
import { triggersMode, type TriggersMode } from './modes/triggers.ts';
import type { ModeName } from './mode-table.ts';
import type { FollowGuarantee, FollowItem, FollowOptions, ModeContext } from './types.ts';

export interface Track {
  readonly follower: Follower;
  /** Undefined = all selections. */
  readonly selection: Selection | undefined;
  readonly sequencer: ItemSequencer;
  readonly seen: Deduplicator;
  readonly triggers: TriggersMode | undefined;
}

/** The state at the end of the tracks that new ones replace. */
export interface Previous {
  readonly guarantee: FollowGuarantee;
  readonly error: unknown;
  readonly wasRefused: boolean;
}

/** Shared by all tracks. */
export interface TrackOptions {
  readonly connection: Connection;
  readonly options: FollowOptions;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly tuning: ModeContext['tuning'];
}

export const mayUse = ({ modes }: FollowOptions, name: ModeName): boolean =>
  modes?.includes(name) ?? true;

/**
 * Makes a track. With `selection`, it follows that selection in any mode. Without, it follows all
 * selections in one subscription.
 */
export function makeTrack(
  { connection, options, ledger, clock, tuning }: TrackOptions,
  {
    selection,
    cooldowns,
    previous,
    seenBefore,
    signal,
  }: {
    readonly selection: Selection | undefined;
    readonly cooldowns: Cooldowns;
    readonly previous: Previous | undefined;
    readonly seenBefore: readonly Deduplicator[];
    readonly signal: AbortSignal;
  },
): Track {
  const { select, otherwise = {}, callback, ack = 'auto' } = options;
  const selections = selection ? [selection] : select;
  const hasAll = selections.length === select.length;
  const own = { ...options, ledger };
  const triggers = mayUse(options, 'triggers')
    ? triggersMode(
        selections,
        // The `key` of the options names one subscription, so only a track with all selections uses
        // it.
        hasAll ? own : { ...own, triggers: withoutKey(own.triggers) },
        (state) => showState(follower, state),
      )
    : undefined;
  const fallback = selection ? FALLBACK_MODES.filter(({ name }) => mayUse(options, name)) : [];
  const seen = new Deduplicator(...seenBefore);
  const first = selections[0]!;
  const sequencer = new ItemSequencer({
    ledger,
    server: connection.server,
    keys: selections.map((one) => selectName([one])),
    triggersKey: triggers?.key ?? '',
    ack,
    seen,
    before: previous?.guarantee,
    selectionOf: (mode) => (mode === 'triggers' && hasAll ? undefined : selection),
  });
  const follower: Follower = new Follower({
    connection,
    modes: [...(triggers ? [triggers] : []), ...fallback],
    target: {
      selection: first,
      otherwise: Object.hasOwn(otherwise, first.name) ? otherwise[first.name] : undefined,
      callback,
    },
    sequencer,
    cooldowns,
    signal,
    clock,
    backoff: options.tuning?.backoff ?? {},
    tuning,
    previous: previous && { wasRefused: previous.wasRefused, error: previous.error },
    onState: (state) => options.onState?.(state, selection),
  });
  return { follower, selection, sequencer, seen, triggers };
}

const withoutKey = ({
  key: _key,
  ...rest
}: NonNullable<FollowOptions['triggers']> = {}): NonNullable<FollowOptions['triggers']> => rest;

/** A subscription recovers by itself, so its state is the state of the follower. */
function showState(follower: Follower, state: SubscriptionState): void {
  if (state.phase === 'waiting') follower.setState(state);
  if (state.phase === 'draining')
    follower.setState({ phase: 'following', mode: 'triggers', drain: state.drain });
}

/** Saves what the application has finished; a subscription also acknowledges it and closes. */
export async function settleTrack({ sequencer, triggers }: Track): Promise<void> {
  await sequencer.flush();
  await triggers?.subscription?.close();
}

/**
 * Merges the items of all tracks as they arrive. Takes at most one item ahead from each track, so
 * that the tracks still limit what the servers send. Returns how the first track ended, or
 * undefined when `group` has ended all of them. Aborts `group` at its end.
 */
export async function* mergeTracks(
  tracks: readonly Track[],
  {
    group,
    stop,
    closed,
  }: {
    readonly group: AbortController;
    readonly stop: AbortSignal;
    readonly closed: () => Error;
  },
): AsyncGenerator<FollowItem, Exhausted | undefined> {
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
        if (group.signal.aborted && !stop.aborted) inbox.push({ at, left: true });
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
    // A track that is not waiting for the server returns by itself. One that is waiting saves its
    // progress; then it is aborted.
    await Promise.all(
      tracks.map(({ sequencer }, at) =>
        pending.has(at)
          ? sequencer.flush().catch(() => undefined)
          : iterators[at]!.return({ error: undefined }).catch(() => undefined),
      ),
    );
    group.abort(closed());
    await Promise.all(
      iterators.map((iterator) => iterator.return({ error: undefined }).catch(() => undefined)),
    );
  }
}
