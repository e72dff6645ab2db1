/**
 * Follows one selection, or all of them in one log, in the best mode that works at the moment:
 * chooses a mode, runs it, recovers when it ends, and upgrades when the server offers a better one
 * (SEP: When a peer lacks the extension).
 */
import { orAbort } from '../../protocol/lib/abort.ts';
import { sleep, type Clock } from '../../protocol/lib/clock.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { Backoff, followActionAfter, type BackoffOptions, type FollowAction } from '../recovery.ts';
import type { Connection } from '../sdk/connection.ts';
import { forgetLists } from './catalog.ts';
import type { ItemSequencer } from './item-sequencer.ts';
import type { ModeName } from './mode-table.ts';
import type {
  FollowGuarantee,
  FollowItem,
  FollowState,
  FollowTarget,
  Mode,
  ModeContext,
  Offer,
} from './types.ts';

export interface FollowerOptions {
  readonly connection: Connection;
  /** Best first. */
  readonly modes: readonly Mode[];
  readonly target: FollowTarget;
  readonly sequencer: ItemSequencer;
  readonly cooldowns: Cooldowns;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly backoff: BackoffOptions;
  readonly tuning: ModeContext['tuning'];
  /** The end of the follower that this one replaces. */
  readonly previous: { readonly wasRefused: boolean; readonly error: unknown } | undefined;
  readonly onState: (state: FollowState) => void;
}

/** The end of a follower that has no mode left. */
export interface Exhausted {
  readonly error: unknown;
}

/** A mode that can be used now, and its place among the modes. */
interface Choice {
  readonly mode: Mode;
  readonly offer: Offer;
  readonly index: number;
}
/**
 * A mode that ended with an error. If the server still offers it, the mode does not work, and is
 * not used for a while.
 */
interface Suspect {
  readonly name: ModeName;
  readonly error: unknown;
}

/** Protocol errors of the server that a mode tolerates until the next new item. */
const VIOLATIONS_MAX = 3;
/** Runs in a row without any value after which a mode counts as not working. */
const FRUITLESS_MAX = 5;
/** Failed attempts to choose a mode after which modes whose offer cannot be read are skipped. */
const OFFERS_MAX = 3;
/** A run that lasted this long resets the backoff. */
const HEALTHY_MS = 30_000;
/** Ends a run that works, after the server has stopped offering its mode. */
const WITHDRAWN = new LocalError(
  'not_supported',
  'The server no longer offers this mode. Another mode is chosen.',
  {
    reason: 'withdrawn',
  },
);
/** Longest wait for the cleanup of a mode. */
const RETURN_MS = 5000;

export class Follower {
  readonly #o: FollowerOptions;
  readonly #backoff: Backoff;
  #state: FollowState = { phase: 'idle' };
  #choice: Choice | undefined;
  /** The choice that is used as soon as the mode in use has stopped. */
  #better: Choice | undefined;
  #suspect: Suspect | undefined;
  /** The mode that was left because it does not work. */
  #refused: ModeName | undefined;
  /** The error because of which that mode was left. */
  #failure: unknown;
  #round: AbortController | undefined;
  #violations = 0;
  #fruitless = 0;

  constructor(options: FollowerOptions) {
    this.#o = options;
    this.#backoff = new Backoff(options.backoff);
  }

  get guarantee(): FollowGuarantee | undefined {
    return this.#o.sequencer.guarantee;
  }
  get state(): FollowState {
    return this.#state;
  }
  get target(): FollowTarget {
    return this.#o.target;
  }
  /** Whether the last mode was left because it does not work. */
  get wasRefused(): boolean {
    return this.#refused !== undefined;
  }
  /** Whether a better mode than the one in use exists. */
  get canUpgrade(): boolean {
    return (this.#choice?.index ?? 0) > 0;
  }

  /**
   * Items in order. Returns when no mode is left. Throws an error that no mode can help with, or
   * the signal's reason.
   */
  async *items(): AsyncGenerator<FollowItem, Exhausted> {
    const { signal, sequencer } = this.#o;
    let why: { readonly wasRefused: boolean; readonly error: unknown } | undefined =
      this.#o.previous;
    try {
      await sequencer.load();
      for (;;) {
        const left = this.#choice?.mode.name;
        const choice = await this.#choose();
        if (!choice) return this.#exhausted();
        if (choice.mode.name !== left) this.#violations = this.#fruitless = 0;
        if (left !== undefined) why = { error: why?.error, wasRefused: this.#refused === left };
        this.#choice = choice;
        const mark = await sequencer.startRun(
          choice.mode.name,
          choice.offer.acknowledgesItself === true,
        );
        // The same mode keeps the guarantee that it has shown.
        if (choice.mode.name !== left) yield* sequencer.announce(choice.offer.guarantee, why);
        const error = yield* this.#run(choice, mark);
        signal.throwIfAborted();
        await this.#recover(choice, error);
        why = { wasRefused: false, error: this.#better ? undefined : error };
      }
    } finally {
      await sequencer.flush().catch(() => undefined);
    }
  }

  /**
   * Looks for a better mode and changes to it. Leaves a mode that the server no longer offers; the
   * best mode is checked for that only with `always`.
   */
  async reconsider({ always }: { readonly always: boolean }): Promise<void> {
    const current = this.#choice;
    const round = this.#round;
    if (!current || !round || (current.index === 0 && !always)) return;
    const found = await this.#firstOffer(current.index, false).catch(() => 'unknown' as const);
    if (
      found === 'unknown' ||
      this.#round !== round ||
      round.signal.aborted ||
      found?.index === current.index
    )
      return;
    this.#better = found;
    round.abort(found ? new ModeLeft() : WITHDRAWN);
  }

  /** Removes everything that the mode created on the server, if the server can be reached. */
  async release(): Promise<void> {
    const work = this.#choice?.offer.release?.();
    if (work) await briefly(work, this.#o.clock);
  }

  /** Public because the mode `triggers` recovers by itself and reports its own state. */
  setState(state: FollowState): void {
    this.#state = state;
    this.#o.onState(state);
  }

  /* -------------------------------------------------- choosing ---------------------------------------------------------- */

  async #choose(): Promise<Choice | undefined> {
    const better = this.#better;
    this.#better = undefined;
    this.#refused = undefined;
    this.#failure = this.#suspect?.error;
    if (better) return better;
    this.setState({ phase: 'choosing' });
    for (let failures = 0; ; failures++) {
      try {
        await this.#ask();
        const choice = await this.#firstOffer(this.#o.modes.length - 1, failures >= OFFERS_MAX);
        this.#suspect = undefined;
        return choice;
      } catch (error) {
        this.#o.signal.throwIfAborted();
        if (followActionAfter(error) !== 'again') throw error;
        await this.#pause(error);
      }
    }
  }

  /**
   * Refreshes the capabilities of the server. Without a session no handshake would show a change.
   */
  async #ask(): Promise<void> {
    const { connection, signal } = this.#o;
    if (connection.isModern) await connection.refresh({ signal });
    else await orAbort(connection.opened(), signal);
  }

  /**
   * Finds the best offered mode up to index `last`. `skipUnreachable`: skips a mode whose offer the
   * server cannot be asked for at the moment.
   */
  async #firstOffer(last: number, skipUnreachable: boolean): Promise<Choice | undefined> {
    const { modes, connection, target, signal, cooldowns } = this.#o;
    for (const [index, mode] of modes.slice(0, last + 1).entries()) {
      if (cooldowns.isActive(mode.name)) continue;
      try {
        const offer = await orAbort(mode.offer(connection, target, signal), signal);
        if (!offer) continue;
        if (this.#suspect?.name !== mode.name) return { mode, offer, index };
        cooldowns.start(mode.name, this.#suspect.error);
        this.#refused = mode.name;
      } catch (error) {
        signal.throwIfAborted();
        const action = followActionAfter(error);
        if (action === 'end' || (action === 'again' && !skipUnreachable)) throw error;
        cooldowns.noteError(mode.name, error);
      }
    }
    return undefined;
  }

  #exhausted(): Exhausted {
    const { modes, target, cooldowns } = this.#o;
    const error =
      this.#failure ??
      cooldowns.firstError(modes.map(({ name }) => name)) ??
      new LocalError(
        'not_supported',
        `The server has no trigger type and no resource for ${target.selection.name}. Name a resource or a tool with "otherwise".`,
        { reason: 'mode' },
      );
    return { error };
  }

  /* -------------------------------------------------- following --------------------------------------------------------- */

  /**
   * Yields until the mode ends. Returns its error; undefined = the server ended the mode without an
   * error.
   */
  async *#run(
    { mode, offer }: Choice,
    mark: string | undefined,
  ): AsyncGenerator<FollowItem, unknown> {
    const { connection, clock, tuning, sequencer } = this.#o;
    const round = new AbortController();
    const signal = AbortSignal.any([round.signal, this.#o.signal]);
    const startedAt = clock.now();
    let hasYielded = false;
    this.#round = round;
    this.setState({
      phase: 'following',
      mode: mode.name,
      ...(offer.guarantee.drain ? { drain: offer.guarantee.drain } : {}),
    });
    const generator = offer.run({ connection, clock, signal, mark, tuning });
    try {
      for (;;) {
        const { done, value } = await orAbort(generator.next(), signal);
        if (done) return undefined;
        if (!hasYielded) yield* sequencer.firstYield(value, mark);
        hasYielded = true;
        if (yield* sequencer.accept(value)) {
          this.#violations = 0;
          this.#backoff.reset();
        }
      }
    } catch (error) {
      return signal.aborted ? (signal.reason as unknown) : error;
    } finally {
      this.#round = undefined;
      this.#fruitless = hasYielded ? 0 : this.#fruitless + 1;
      if (hasYielded) sequencer.endRun();
      if (clock.now() - startedAt >= HEALTHY_MS) this.#backoff.reset();
      await briefly(generator.return(), clock);
      if (signal.reason instanceof ModeLeft) await this.release();
      round.abort(
        new LocalError(
          'closed',
          'This client has stopped following. Call `follow` again with the same ledger.',
        ),
      );
    }
  }

  /* -------------------------------------------------- recovering -------------------------------------------------------- */

  /** Prepares the next run after the end of one. Throws an error that no mode can help with. */
  async #recover({ mode }: Choice, error: unknown): Promise<void> {
    if (this.#better || error === WITHDRAWN) return;
    const action = this.#limited(followActionAfter(error, mode.name));
    if (action === 'end') throw error;
    // The cause may be a change of the server's lists.
    forgetLists(this.#o.connection);
    if (action === 'next') this.#suspect = { name: mode.name, error };
    else
      await this.#pause(
        error ??
          new LocalError('unreachable', 'The server has ended the stream.', { reason: 'ended' }),
      );
  }

  /** Turns a retry into a change of mode after too many retries. */
  #limited(action: FollowAction): FollowAction {
    if (action === 'violation') return ++this.#violations >= VIOLATIONS_MAX ? 'next' : action;
    return action === 'again' && this.#fruitless >= FRUITLESS_MAX ? 'next' : action;
  }

  async #pause(error: unknown): Promise<void> {
    const { clock, signal } = this.#o;
    const delayMs = this.#backoff.next(error);
    this.setState({ phase: 'waiting', error, delayMs });
    await sleep(clock, delayMs, signal);
    signal.throwIfAborted();
  }
}

/** Waits for the cleanup of a mode, at most {@link RETURN_MS}. */
async function briefly(work: Promise<unknown>, clock: Clock): Promise<void> {
  const enough = new AbortController();
  await Promise.race([work.catch(() => undefined), sleep(clock, RETURN_MS, enough.signal)]);
  enough.abort();
}

/**
 * Ends a run because a better mode takes over. The old mode then removes everything that it created
 * on the server.
 */
export class ModeLeft extends Error {
  override readonly name = 'ModeLeft';

  constructor() {
    super('Another mode takes over.');
  }
}

/** The cooldown of a mode doubles with each failure, at most this often. */
const DOUBLINGS_MAX = 6;

/** Remembers which modes did not work, so that they are not tried again for a while. */
export class Cooldowns {
  readonly #clock: Clock;
  readonly #firstMs: number;
  readonly #started = new Map<ModeName, { readonly times: number; readonly until: number }>();
  readonly #errors = new Map<ModeName, unknown>();

  constructor(clock: Clock, firstMs: number) {
    this.#clock = clock;
    this.#firstMs = firstMs;
  }

  /** The mode was tried and did not work. */
  start(mode: ModeName, error: unknown): void {
    const times = (this.#started.get(mode)?.times ?? 0) + 1;
    this.#started.set(mode, {
      times,
      until: this.#clock.now() + this.#firstMs * 2 ** Math.min(times - 1, DOUBLINGS_MAX),
    });
    this.#errors.set(mode, error);
  }

  /** The mode could not be tried: the request for its offer failed with `error`. */
  noteError(mode: ModeName, error: unknown): void {
    this.#errors.set(mode, error);
  }

  isActive(mode: ModeName): boolean {
    return (this.#started.get(mode)?.until ?? -Infinity) > this.#clock.now();
  }

  /** The error of the first of these modes that has one; undefined = no mode has failed. */
  firstError(modes: readonly ModeName[]): unknown {
    return modes.map((mode) => this.#errors.get(mode)).find((error) => error !== undefined);
  }
}
