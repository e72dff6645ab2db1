/**
 * Verifies consent: a callback receives only a challenge until its endpoint has proved that it
 * knows the secret. The store keeps each proof by principal, URL and secret. Limits failed
 * challenges for each pair of principal and host, and with a larger bound for each host: nobody can
 * use the server to flood a third party, and the failures of one principal lock a shared host for
 * no other (SEP: Verification).
 */
import { needsVerification } from '../../protocol/core/index.ts';
import type { Callback, Subscription } from '../../protocol/core/types.ts';
import { sha256 } from '../../protocol/wire/canonical.ts';
import { callbackEndpointError, resourceExhausted } from '../../protocol/wire/errors.ts';
import { CALLBACK_DEADLINE_MS } from '../../protocol/wire/limits.ts';
import { Secret } from '../../protocol/wire/secret.ts';
import { challengeFailure } from './answer.ts';
import type { Dialects } from './dialects.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Egress, Log, Meter, Random } from '../engine/ports.ts';
import type { Store } from '../store/port.ts';
import type { RatedCallback, RequestRate } from './request-rate.ts';
import type { MessageSigner } from './message-signer.ts';

/** Most failed challenges within `WINDOW_MS`. */
interface FailuresMax {
  /** Of one principal to one host. */
  readonly ofPair: number;
  /** Of all principals to one host. */
  readonly ofHost: number;
}

const FAILURES_MAX: FailuresMax = { ofPair: 3, ofHost: 30 };
/**
 * The failures after which a host is still probed. Fewer, so that probes of a host that is down
 * leave room for the calls of clients.
 */
const PROBE_FAILURES_MAX: FailuresMax = { ofPair: 1, ofHost: 10 };
const WINDOW_MS = 60_000;
/** Most challenges in flight or waiting for one host. */
const PENDING_MAX = 256;
/** Most hosts, and most pairs of principal and host, tracked at once. */
const TARGETS_MAX = 10_000;

/** Failed challenges to a host, or of one principal to a host. */
interface Budget {
  /** Failed challenges since `since`. */
  failures: number;
  /** Start of the window, in epoch milliseconds. */
  since: number;
  /** Challenges in flight or waiting. */
  pending: number;
}

interface Host extends Budget {
  /** Challenges in flight whose pair is not proven: each of them can become a failure. */
  unproven: number;
}

interface Pair extends Budget {
  /** Whether a callback of this pair has proved consent; challenges may then run concurrently. */
  proven: boolean;
  /**
   * Serializes challenges of an unproven pair, so that a host that never consents receives at most
   * `FAILURES_MAX.ofPair` per window from it.
   */
  turn: Promise<void>;
}

/** Dependencies of a {@link Verifier}. */
export interface VerifierOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly egress: Egress;
  readonly signer: MessageSigner;
  readonly dialects: Dialects;
  readonly rate: RequestRate;
  readonly log: Log;
  readonly meter: Meter;
}

/** Challenges callbacks and looks up proofs. */
export class Verifier {
  readonly #o: VerifierOptions;
  readonly #hosts = new Map<string, Host>();
  readonly #pairs = new Map<string, Pair>();

  constructor(options: VerifierOptions) {
    this.#o = options;
  }

  /**
   * When this principal's callback last proved its consent, in epoch milliseconds; null = never, or
   * too long ago.
   */
  async consent(
    principal: string,
    callback: Pick<Callback, 'url' | 'secret' | 'dialect'>,
  ): Promise<number | null> {
    // A native proof counts for every dialect. The reverse is not true: in other dialects, an echo
    // may suffice as a proof.
    const { url, secret } = callback;
    const names = new Set([consentName(callback), consentName({ url, secret })]);
    for (const name of names) {
      const at = await this.#o.store.verification(principal, name);
      if (!needsVerification(at, this.#o.clock.now())) return at;
    }
    return null;
  }

  /**
   * Challenges the callback. Resolves with the time of the proof, in epoch milliseconds. Rejects
   * with `CallbackEndpointError` and the category, or with `ResourceExhausted` after too many
   * recent failures of this principal at this host, or of all principals. A probe, which no call
   * waits for, is rejected earlier.
   */
  async challenge(
    state: Subscription,
    callback: Pick<Callback, 'url' | 'secret' | 'dialect' | 'limits'>,
    { isProbe = false }: { readonly isProbe?: boolean } = {},
  ): Promise<number> {
    const { clock, random, dialects, egress, signer, rate, log, meter } = this.#o;
    const dialect = dialects.of(callback);
    const rated = this.#rated(state, callback);
    this.#rejectBeyondRate(rated);
    const most = isProbe ? PROBE_FAILURES_MAX : FAILURES_MAX;
    const { host, pair } = this.#admit(state.principal, new URL(callback.url).host, most);
    const release = await this.#waitForTurn(pair);
    const isUnproven = !pair.proven;
    if (isUnproven) host.unproven += 1;
    let ended = (): void => undefined;
    try {
      // The other challenges in flight count as failures until they are answered.
      this.#rejectFailing(host, most.ofHost - host.unproven + 1);
      this.#rejectFailing(pair, most.ofPair);
      this.#rejectBeyondRate(rated);
      ended = rate.start(rated);
      const challenge = random.token(32);
      const message = dialect.challenge({ state, callback, random }, challenge);
      const signed = await signer.sign(
        message,
        { ...callback, previousSecret: null, previousUntil: null },
        state.subscriptionId,
        dialect.serverSignature,
      );
      const result = await egress.post({
        url: callback.url,
        headers: signed.headers,
        body: signed.body,
        deadlineMs: CALLBACK_DEADLINE_MS,
      });
      const reason = challengeFailure(
        dialect,
        result,
        challenge,
        Secret.parse(callback.secret),
        clock.now(),
      );
      meter.count('triggers_verifications_total', 1, { result: reason ?? 'ok' });
      if (reason === null) {
        pair.proven = true;
        return clock.now();
      }
      log.info({ reason }, 'verification failed; the callback receives no events');
      this.#recordFailure(host);
      this.#recordFailure(pair);
      pair.proven = false;
      throw callbackEndpointError(reason);
    } finally {
      ended();
      if (isUnproven) host.unproven -= 1;
      host.pending -= 1;
      pair.pending -= 1;
      release();
    }
  }

  /**
   * Waits until this pair may be challenged; the returned function lets the next challenge start.
   */
  async #waitForTurn(pair: Pair): Promise<() => void> {
    if (pair.proven) return () => undefined;
    let release = (): void => undefined;
    const before = pair.turn;
    pair.turn = new Promise((resolve) => {
      release = resolve;
    });
    await before;
    return release;
  }

  /** Counts one more pending challenge. Throws `ResourceExhausted` for a budget that is used up. */
  #admit(
    principal: string,
    name: string,
    most: FailuresMax,
  ): { readonly host: Host; readonly pair: Pair } {
    const fresh = { failures: 0, since: this.#o.clock.now(), pending: 0 };
    const host = this.#budget(this.#hosts, name, { ...fresh, unproven: 0 });
    const pair = this.#budget(this.#pairs, JSON.stringify([principal, name]), {
      ...fresh,
      proven: false,
      turn: Promise.resolve(),
    });
    this.#rejectFailing(host, most.ofHost);
    this.#rejectFailing(pair, most.ofPair);
    if (host.pending >= PENDING_MAX)
      throw resourceExhausted({ limit: 'verifications', max: PENDING_MAX, retryAfterMs: 1000 });
    host.pending += 1;
    pair.pending += 1;
    return { host, pair };
  }

  /** The budget under this name, in its current window. */
  #budget<B extends Budget>(budgets: Map<string, B>, name: string, fresh: B): B {
    const now = this.#o.clock.now();
    let budget = budgets.get(name);
    if (budget === undefined) {
      if (budgets.size >= TARGETS_MAX)
        for (const [other, one] of budgets)
          if (one.pending === 0 && now - one.since >= WINDOW_MS) budgets.delete(other);
      if (budgets.size >= TARGETS_MAX)
        throw resourceExhausted({ limit: 'verifications', retryAfterMs: WINDOW_MS });
      budget = fresh;
      budgets.set(name, budget);
    }
    if (now - budget.since >= WINDOW_MS) {
      budget.failures = 0;
      budget.since = now;
    }
    return budget;
  }

  #rejectFailing(budget: Budget, max: number): void {
    if (budget.failures < max) return;
    throw resourceExhausted({
      limit: 'verifications',
      retryAfterMs: Math.max(1, budget.since + WINDOW_MS - this.#o.clock.now()),
    });
  }

  /** A callback with another URL than that of the subscription has had no request yet. */
  #rated(
    { subscriptionId, createdAt, callback: current }: Subscription,
    { url, limits }: Pick<Callback, 'url' | 'limits'>,
  ): RatedCallback {
    return {
      subscriptionId,
      url,
      maxPerMinute: limits?.maxPerMinute,
      since: current?.url === url ? createdAt : this.#o.clock.now(),
    };
  }

  /** Throws `ResourceExhausted` when `maxPerMinute` of the callback allows no request now. */
  #rejectBeyondRate(callback: RatedCallback): void {
    const at = this.#o.rate.heldUntil(callback);
    if (at === null) return;
    throw resourceExhausted({
      limit: 'callback_requests',
      ...(callback.maxPerMinute === undefined ? {} : { max: callback.maxPerMinute }),
      retryAfterMs: Math.max(1, at - this.#o.clock.now()),
    });
  }

  #recordFailure(budget: Budget): void {
    if (budget.failures === 0) budget.since = this.#o.clock.now();
    budget.failures += 1;
  }
}

/**
 * The name under which the store keeps a proof: a hash, because URL and secret are secrets. A
 * native proof shows that the endpoint knows the secret, and an echo in another dialect does not,
 * so that it counts for every secret. Dialects whose names are equal before the dot share proofs.
 */
export const consentName = ({
  url,
  secret,
  dialect,
}: Pick<Callback, 'url' | 'secret' | 'dialect'>): string =>
  sha256(dialect === undefined ? `${secret} ${url}` : `${dialect.split('.')[0]} ${url}`);
