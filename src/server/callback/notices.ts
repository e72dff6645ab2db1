/**
 * Termination notices: tells a callback that its subscription has ended, and repeats it until an
 * answer is 2xx or the tombstone expires (SEP: Suspension, `end-callback`). The store has every
 * notice from the commit of the end on, so that neither a crash nor a failed commit loses one.
 */
import { backoffMs, classifyAnswer } from '../../protocol/core/index.ts';
import type { Attempt, Subscription, TerminationReason } from '../../protocol/core/types.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import { CALLBACK_DEADLINE_MS } from '../../protocol/wire/limits.ts';
import type { Egress, Log, Meter, OutboundResult, Random } from '../engine/ports.ts';
import { retryWhenFull, type UnitOfWork } from '../engine/unit-of-work.ts';
import type { Notice, Store } from '../store/port.ts';
import type { Dialects } from './dialects.ts';
import type { MessageSigner } from './message-signer.ts';
import type { RatedCallback, RequestRate } from './request-rate.ts';

/** Share of the slots that the notices of one principal may use, so that others get their turn. */
const SLOTS_OF_ONE = 1 / 4;
/** Delay after a failed round, and after an outcome that was not stored. */
const RETRY_MS = 1000;

/** Dependencies and limits of {@link Notices}. */
export interface NoticesOptions {
  readonly store: Pick<Store, 'dueNotices' | 'nextNoticeAt'>;
  readonly unitOfWork: UnitOfWork;
  readonly clock: Clock;
  readonly random: Random;
  readonly egress: Egress;
  readonly signer: MessageSigner;
  readonly dialects: Dialects;
  readonly rate: RequestRate;
  readonly log: Log;
  readonly meter: Meter;
  /** Most notices in flight over all subscriptions. */
  readonly concurrency: number;
  /** The dispatcher, which may still have an attempt of the subscription in flight. */
  readonly attempts: {
    /** Until when an attempt of this row can be answered; null = none is in flight. */
    busyUntil(row: number): number | null;
    /** Calls `run` once, when no attempt of this row is in flight any more. */
    whenFree(row: number, run: () => void): void;
  };
}

/** The result of an attempt to send a notice: the label of its metric. */
type Result = 'delivered' | 'gone' | 'failed' | 'expired';

/** Sends termination notices. */
export class Notices {
  readonly #o: NoticesOptions;
  /** Notices in flight, by subscription id, with their principal. */
  readonly #sending = new Map<string, string>();
  /** Rows whose notice waits for an attempt of this process, until their end is committed. */
  readonly #waiting = new Set<number>();
  /** When the next round starts, by the timer. */
  #at = Number.POSITIVE_INFINITY;
  #cancel: (() => void) | null = null;
  /** Whether a round is reading the store. */
  #reading = false;
  /** Whether another round is needed after the one that is reading. */
  #again = false;
  #closing = false;
  /** Callers of `close`. */
  #drained: (() => void)[] = [];

  constructor(options: NoticesOptions) {
    this.#o = options;
  }

  /** Notices without an answer. */
  get inFlight(): number {
    return this.#sending.size;
  }

  /**
   * The notice of a subscription that ends now; undefined if its callback gets none. `attempt` is
   * the one that was in flight: the notice waits for its answer, or for the end of its lease.
   */
  of(
    row: number,
    state: Subscription,
    attempt: Attempt | null,
    reason: TerminationReason,
    forgetAt: number,
  ): Notice | undefined {
    const { dialects, random, clock, attempts, rate } = this.#o;
    const { callback } = state;
    // A client that unsubscribed knows the end (SEP: Suspension).
    if (callback === null || reason === 'unsubscribed') return undefined;
    if (
      dialects.speaks(callback) &&
      dialects.of(callback).terminationNotice({ state, callback, random }, reason) === null
    )
      return undefined;
    const busyUntil = attempts.busyUntil(row);
    if (busyUntil === null) this.#waiting.delete(row);
    else this.#waiting.add(row);
    const { subscriptionId, principal, key, select, epoch, head, acked, version, expiresAt } =
      state;
    const { url, secret, previousSecret, previousUntil, dialect, limits } = callback;
    const heldUntil = rate.heldUntil(ratedOf({ state, callback }));
    return {
      state: { subscriptionId, principal, key, select, epoch, head, acked, version, expiresAt },
      callback: {
        url,
        secret,
        previousSecret,
        previousUntil,
        ...(dialect === undefined ? {} : { dialect }),
        ...(limits === undefined ? {} : { limits }),
      },
      reason,
      attempts: 0,
      dueAt: Math.max(clock.now(), attempt?.leaseUntil ?? 0, busyUntil ?? 0, heldUntil ?? 0),
      forgetAt,
    };
  }

  /** Called after the commit that ended the subscription. */
  ended(row: number, { state: { subscriptionId }, dueAt }: Notice): void {
    const { attempts, clock, unitOfWork } = this.#o;
    this.#arm(dueAt);
    if (!this.#waiting.delete(row)) return;
    const advance = (): void => {
      const now = clock.now();
      if (this.#closing || now >= dueAt || this.#sending.has(subscriptionId)) return;
      unitOfWork.write({ type: 'postpone', subscriptionId, attempts: 0, dueAt: now });
      unitOfWork.afterCommit(() => this.#arm(now));
    };
    // The attempt may have ended during the commit.
    if (attempts.busyUntil(row) === null) advance();
    else attempts.whenFree(row, advance);
  }

  /** Sends what is due and plans the rest. Called at the start and after a failed commit. */
  resume(): void {
    void this.#round();
  }

  /** Starts no further notice; resolves when those in flight are done, or after `patienceMs`. */
  async close(patienceMs: number): Promise<void> {
    this.#closing = true;
    this.#cancel?.();
    if (this.#sending.size === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#o.clock.after(patienceMs, resolve);
      this.#drained.push(() => {
        cancel();
        resolve();
      });
    });
  }

  /** Starts a round now, or makes sure that the next one starts no later than `at`. */
  #arm(at: number): void {
    const delay = at - this.#o.clock.now();
    if (delay <= 0) return void this.#round();
    if (this.#closing || at >= this.#at) return;
    this.#cancel?.();
    this.#at = at;
    this.#cancel = this.#o.clock.after(delay, () => {
      this.#at = Number.POSITIVE_INFINITY;
      this.#cancel = null;
      void this.#round();
    });
  }

  /** Starts as many of the due notices as there are free slots. */
  async #round(): Promise<void> {
    if (this.#closing) return;
    this.#again = this.#reading;
    if (this.#reading) return;
    this.#reading = true;
    const { store, clock, log, concurrency } = this.#o;
    try {
      const now = clock.now();
      // Those in flight are due too, until their outcome is stored.
      const due = await store.dueNotices(now, concurrency + this.#sending.size, this.#served());
      for (const notice of due) this.#start(notice);
      const next = await store.nextNoticeAt(now);
      if (next !== null) this.#arm(next);
    } catch (cause) {
      log.error({ err: cause }, 'reading the due termination notices failed; retrying in 1 s');
      this.#arm(clock.now() + RETRY_MS);
    } finally {
      this.#reading = false;
    }
    if (this.#again) await this.#round();
  }

  /** Slots that one principal may use. */
  get #most(): number {
    return Math.max(1, Math.floor(this.#o.concurrency * SLOTS_OF_ONE));
  }

  #countOf(principal: string): number {
    let count = 0;
    for (const one of this.#sending.values()) if (one === principal) count += 1;
    return count;
  }

  /** The principals that use all their slots. */
  #served(): string[] {
    return [...new Set(this.#sending.values())].filter((one) => this.#countOf(one) >= this.#most);
  }

  #start(notice: Notice): void {
    const { subscriptionId, principal } = notice.state;
    if (
      this.#closing ||
      this.#sending.has(subscriptionId) ||
      this.#sending.size >= this.#o.concurrency ||
      this.#countOf(principal) >= this.#most
    )
      return;
    this.#sending.set(subscriptionId, principal);
    void this.#send(notice)
      .catch(async (cause: unknown) => {
        this.#o.log.error(
          { subscriptionId, err: cause },
          'outcome of a termination notice was not stored; it is sent again in 1 s',
        );
        // Otherwise a store that rejects writes would cause one request after the other.
        await new Promise<void>((resolve) => {
          this.#o.clock.after(RETRY_MS, resolve);
        });
      })
      .finally(() => {
        this.#sending.delete(subscriptionId);
        if (!this.#closing) void this.#round();
        else if (this.#sending.size === 0) for (const done of this.#drained.splice(0)) done();
      });
  }

  async #send(notice: Notice): Promise<void> {
    const { clock, random, rate } = this.#o;
    const { state, attempts, forgetAt } = notice;
    const heldUntil = rate.heldUntil(ratedOf(notice));
    if (Math.max(clock.now(), heldUntil ?? 0) >= forgetAt) return this.#done(notice, 'expired');
    if (heldUntil !== null)
      return this.#commit({ attempts, dueAt: heldUntil }, state.subscriptionId);
    const answer = await this.#post(notice);
    const status = answer?.kind === 'response' ? answer.status : null;
    if (status !== null && status >= 200 && status <= 299) return this.#done(notice, 'delivered');
    if (status === 410) return this.#done(notice, 'gone');
    const dueAt =
      clock.now() + backoffMs(attempts + 1, random.uniform(), retryAfterOf(answer, clock.now()));
    if (dueAt >= forgetAt) return this.#done(notice, 'expired');
    this.#o.meter.count('triggers_notices_total', 1, { result: 'failed' satisfies Result });
    this.#o.log.debug(
      {
        subscriptionId: state.subscriptionId,
        status,
        err: answer?.kind === 'failure' ? answer.cause : undefined,
      },
      'termination notice failed; it is repeated',
    );
    await this.#commit({ attempts: attempts + 1, dueAt }, state.subscriptionId);
  }

  /** Null = the engine lacks the dialect of this callback: wait until it starts with it. */
  async #post({ state, callback, reason }: Notice): Promise<OutboundResult | null> {
    const { dialects, random, signer, egress, rate } = this.#o;
    const message = dialects.speaks(callback)
      ? dialects.of(callback).terminationNotice({ state, callback, random }, reason)
      : null;
    if (message === null) return null;
    const ended = rate.start(ratedOf({ state, callback }));
    try {
      const signed = await signer.sign(
        message,
        callback,
        state.subscriptionId,
        dialects.of(callback).serverSignature,
      );
      return await egress.post({
        url: callback.url,
        headers: signed.headers,
        body: signed.body,
        deadlineMs: CALLBACK_DEADLINE_MS,
      });
    } finally {
      ended();
    }
  }

  async #done({ state: { subscriptionId } }: Notice, result: Exclude<Result, 'failed'>) {
    this.#o.meter.count('triggers_notices_total', 1, { result });
    this.#o.log.info({ subscriptionId }, OUTCOMES[result]);
    await this.#commit(null, subscriptionId);
  }

  #commit(
    next: { readonly attempts: number; readonly dueAt: number } | null,
    subscriptionId: string,
  ): Promise<void> {
    const { unitOfWork } = this.#o;
    return retryWhenFull(async () => {
      unitOfWork.write(
        next === null
          ? { type: 'noticed', subscriptionId }
          : { type: 'postpone', subscriptionId, ...next },
      );
      await unitOfWork.commit();
    });
  }
}

/** The callback of a notice for its rate. The notice does not say when its subscription was created. */
const ratedOf = ({
  state: { subscriptionId },
  callback: { url, limits },
}: {
  readonly state: Pick<Subscription, 'subscriptionId'>;
  readonly callback: Pick<Notice['callback'], 'url' | 'limits'>;
}): RatedCallback => ({
  subscriptionId,
  url,
  maxPerMinute: limits?.maxPerMinute,
  since: 0,
});

/** Log lines of the outcomes that end a notice. */
const OUTCOMES: Readonly<Record<Exclude<Result, 'failed'>, string>> = {
  delivered: 'termination notice delivered',
  gone: 'endpoint answered the termination notice with 410; it is not repeated',
  expired: 'termination notice expired without a 2xx answer; it is not repeated',
};

/** The `Retry-After` of an answer in ms; null = none that counts (SEP: Answers). */
function retryAfterOf(answer: OutboundResult | null, now: number): number | null {
  if (answer?.kind !== 'response') return null;
  const { status, retryAfter } = answer;
  const outcome = classifyAnswer({ status, retryAfter, body: undefined, now }, { after: 0, to: 0 });
  return outcome.kind === 'transient' ? outcome.retryAfterMs : null;
}
