/**
 * One selection, or all of them in one log, on the best rung that works at the moment: chooses, runs, decides what an end means, and
 * goes up again when the server offers more (SEP: When a peer lacks the extension).
 */
import { orAbort } from '../../protocol/lib/abort.ts';
import { sleep, type Clock } from '../../protocol/lib/clock.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { Backoff, type BackoffOptions } from '../backoff.ts';
import type { Connection } from '../sdk/connection.ts';
import { forgetLists } from './catalog.ts';
import { afterError, type AfterError } from './decide.ts';
import { ModeLeft } from './leaving.ts';
import type { Cooldowns } from './cooldowns.ts';
import type { ItemSequencer } from './item-sequencer.ts';
import type {
  FollowGuarantee,
  FollowItem,
  FollowState,
  Offer,
  Mode,
  ModeContext,
  ModeName,
  FollowTarget,
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
  /** Why another ladder was left for this one. */
  readonly before: { readonly wasRefused: boolean; readonly error: unknown } | undefined;
  readonly onState: (state: FollowState) => void;
}

/** No rung is left, and why. */
export interface Exhausted {
  readonly error: unknown;
}

/** A rung that can be used now, and its place in the table. */
interface Choice {
  readonly mode: Mode;
  readonly offer: Offer;
  readonly index: number;
}
/** A rung whose end was its own fault, unless the server turns out to offer other things now. */
interface Suspect {
  readonly name: ModeName;
  readonly error: unknown;
}

/** A peer that breaks the protocol this often on a rung, without anything good in between, is not asked there any more. */
const STRIKES_MAX = 3;
/** A rung that fails this often before it has yielded anything does not work here, whatever the reason. */
const FRUITLESS_MAX = 5;
/** An offer that cannot be had this often is none. */
const OFFERS_MAX = 3;
/** A rung that lived this long was no failed attempt. */
const HEALTHY_MS = 30_000;
/** It works, but the server does not list it any more. */
const WITHDRAWN = new LocalError('not_supported', 'The server does not offer this any more.', {
  reason: 'withdrawn',
});
/** What a rung has to do at its end must not keep anybody. */
const RETURN_MS = 5000;

export class Follower {
  readonly #o: FollowerOptions;
  readonly #backoff: Backoff;
  #state: FollowState = { phase: 'idle' };
  #choice: Choice | undefined;
  /** To be taken as soon as the rung in use has stopped. */
  #better: Choice | undefined;
  #suspect: Suspect | undefined;
  /** The rung that was left because it does not work, and why it was. */
  #refused: ModeName | undefined;
  #failure: unknown;
  #round: AbortController | undefined;
  #strikes = 0;
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
  get sequencer(): ItemSequencer {
    return this.#o.sequencer;
  }
  /** The last rung was left because it does not work. */
  get wasRefused(): boolean {
    return this.#refused !== undefined;
  }
  /** Whether there is something above. */
  get canRise(): boolean {
    return (this.#choice?.index ?? 0) > 0;
  }

  /** Items in order. Returns when no rung is left; throws what no rung can help against, or the signal's reason. */
  async *items(): AsyncGenerator<FollowItem, Exhausted> {
    const { signal, sequencer: itemSequencer } = this.#o;
    let why: { readonly wasRefused: boolean; readonly error: unknown } | undefined = this.#o.before;
    try {
      await itemSequencer.load();
      for (;;) {
        const left = this.#choice?.mode.name;
        const choice = await this.#choose();
        if (!choice) return this.#exhausted();
        if (choice.mode.name !== left) this.#strikes = this.#fruitless = 0;
        if (left !== undefined) why = { error: why?.error, wasRefused: this.#refused === left };
        this.#choice = choice;
        const mark = await itemSequencer.enter(
          choice.mode.name,
          choice.offer.acknowledgesItself === true,
        );
        // The same rung again goes on with what it has shown.
        if (choice.mode.name !== left) yield* itemSequencer.promise(choice.offer.guarantee, why);
        const error = yield* this.#run(choice, mark);
        signal.throwIfAborted();
        await this.#recover(choice, error);
        why = { wasRefused: false, error: this.#better ? undefined : error };
      }
    } finally {
      await itemSequencer.flush().catch(() => undefined);
    }
  }

  /**
   * Looks whether there is a better rung by now, and with `always` whether the one in use is still offered. What is found is taken.
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

  /** Takes back what the rung has made on the server, as far as it can be reached. */
  async release(): Promise<void> {
    const work = this.#choice?.offer.release?.();
    if (work) await atMost(work, this.#o.clock);
  }

  /** Public for those who know better: the rung `triggers` recovers by itself, and when it ends is decided above. */
  say(state: FollowState): void {
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
    this.say({ phase: 'choosing' });
    for (let failures = 0; ; failures++) {
      try {
        await this.#ask();
        const choice = await this.#firstOffer(this.#o.modes.length - 1, failures >= OFFERS_MAX);
        this.#suspect = undefined;
        return choice;
      } catch (error) {
        this.#o.signal.throwIfAborted();
        if (afterError(error) !== 'again') throw error;
        await this.#pause(error);
      }
    }
  }

  /** What the server offers now: where there is no session that would have ended, only a question shows it. */
  async #ask(): Promise<void> {
    const { connection, signal } = this.#o;
    if (connection.isModern) await connection.look({ signal });
    else await orAbort(connection.opened(), signal);
  }

  /** The best rung from the top down to `last`. `givenUp`: one that cannot be asked for at the moment is none. */
  async #firstOffer(last: number, givenUp: boolean): Promise<Choice | undefined> {
    const { modes, connection, target, signal, cooldowns } = this.#o;
    for (const [index, mode] of modes.slice(0, last + 1).entries()) {
      if (cooldowns.isRefused(mode.name)) continue;
      try {
        const offer = await orAbort(mode.offer(connection, target, signal), signal);
        if (!offer) continue;
        if (this.#suspect?.name !== mode.name) return { mode, offer, index };
        cooldowns.refuse(mode.name, this.#suspect.error);
        this.#refused = mode.name;
      } catch (error) {
        signal.throwIfAborted();
        const verdict = afterError(error);
        if (verdict === 'end' || (verdict === 'again' && !givenUp)) throw error;
        cooldowns.note(mode.name, error);
      }
    }
    return undefined;
  }

  #exhausted(): Exhausted {
    const { modes, target, cooldowns } = this.#o;
    const error =
      this.#failure ??
      cooldowns.reason(modes.map(({ name }) => name)) ??
      new LocalError(
        'not_supported',
        `The server has nothing that tells of ${target.selection.name}. Say with "otherwise" what to look at instead.`,
        { reason: 'mode' },
      );
    return { error };
  }

  /* -------------------------------------------------- following --------------------------------------------------------- */

  /** Yields until the rung ends; returns why: undefined when the server ended it in good order. */
  async *#run(
    { mode, offer }: Choice,
    mark: string | undefined,
  ): AsyncGenerator<FollowItem, unknown> {
    const { connection, clock, tuning, sequencer: itemSequencer } = this.#o;
    const round = new AbortController();
    const signal = AbortSignal.any([round.signal, this.#o.signal]);
    const startedAt = clock.now();
    let hasYielded = false;
    this.#round = round;
    this.say({
      phase: 'following',
      mode: mode.name,
      ...(offer.guarantee.drain ? { drain: offer.guarantee.drain } : {}),
    });
    const generator = offer.run({ connection, clock, signal, mark, tuning });
    try {
      for (;;) {
        const { done, value } = await orAbort(generator.next(), signal);
        if (done) return undefined;
        if (!hasYielded) yield* itemSequencer.arrived(value, mark);
        hasYielded = true;
        if (yield* itemSequencer.take(value)) {
          this.#strikes = 0;
          this.#backoff.reset();
        }
      }
    } catch (error) {
      return signal.aborted ? (signal.reason as unknown) : error;
    } finally {
      this.#round = undefined;
      this.#fruitless = hasYielded ? 0 : this.#fruitless + 1;
      if (hasYielded) itemSequencer.left();
      if (clock.now() - startedAt >= HEALTHY_MS) this.#backoff.reset();
      await atMost(generator.return(), clock);
      if (signal.reason instanceof ModeLeft) await this.release();
      round.abort(new LocalError('closed', 'This is not followed any more.'));
    }
  }

  /* -------------------------------------------------- recovering -------------------------------------------------------- */

  /** What the end of a rung means. Throws what no rung can help against. */
  async #recover({ mode }: Choice, error: unknown): Promise<void> {
    if (this.#better || error === WITHDRAWN) return;
    const verdict = this.#patience(afterError(error, mode.name));
    if (verdict === 'end') throw error;
    // What the server listed may be what has changed.
    forgetLists(this.#o.connection);
    if (verdict === 'next') this.#suspect = { name: mode.name, error };
    else
      await this.#pause(
        error ??
          new LocalError('unreachable', 'The server has ended the stream.', { reason: 'ended' }),
      );
  }

  #patience(verdict: AfterError): AfterError {
    if (verdict === 'strike') return ++this.#strikes >= STRIKES_MAX ? 'next' : verdict;
    return verdict === 'again' && this.#fruitless >= FRUITLESS_MAX ? 'next' : verdict;
  }

  async #pause(error: unknown): Promise<void> {
    const { clock, signal } = this.#o;
    const delayMs = this.#backoff.next(error);
    this.say({ phase: 'waiting', error, delayMs });
    await sleep(clock, delayMs, signal);
    signal.throwIfAborted();
  }
}

/** Waits for what a rung has to do at its end, for a while. */
async function atMost(work: Promise<unknown>, clock: Clock): Promise<void> {
  const enough = new AbortController();
  await Promise.race([work.catch(() => undefined), sleep(clock, RETURN_MS, enough.signal)]);
  enough.abort();
}
