/**
 * Creates the subscription on the server, or finds and reconfigures the one with the same key, and
 * renews it whether or not the application is reading (SEP: Lifetime, Recovery by the client).
 */
import type {
  KeyConflictData,
  SubscribeRequestParams,
  Subscription,
  UpdateRequestParams,
} from '../../../spec-schema/draft/schema.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import { sameSelect } from '../../protocol/wire/canonical.ts';
import { WireError } from '../../protocol/wire/errors.ts';
import { Backoff, isTransient, type BackoffOptions } from '../recovery.ts';
import type { TriggersApi } from '../sdk/triggers-api.ts';
import { misbehaved } from '../sdk/peer-error.ts';

/**
 * Longest timer. A timer does not run while the machine sleeps, so the wall clock is read at least
 * this often.
 */
const SLICE_MS = 60_000;
/** Attempts to reconfigure an existing subscription that changes at the same time. */
const ADOPTIONS_MAX = 3;
/** Shortest time between renewals, whatever the server asks for. */
const RENEW_MIN_MS = 500;

/**
 * The params of `triggers/subscribe`. `renewAt`: the instant after which their callback URL should
 * be replaced (epoch milliseconds; null = never).
 */
export interface SubscribeRequest {
  readonly params: SubscribeRequestParams & { readonly key: string };
  readonly renewAt: number | null;
}

export interface RenewerOptions {
  readonly api: TriggersApi;
  readonly clock: Clock;
  readonly backoff: BackoffOptions;
  readonly signal: AbortSignal;
  /** Makes the params. Called for every attempt. */
  readonly request: () => Promise<SubscribeRequest>;
  /** The subscription cannot be renewed: the server ended it, or no longer allows it. */
  readonly onLost: (error: unknown) => void;
}

type Lifetime = Pick<UpdateRequestParams, 'ttlMs' | 'noExpiry'>;

/** The params that ask for a lifetime; none = the server's default, or no change. */
const lifetimeOf = ({ ttlMs, noExpiry }: Lifetime): Lifetime =>
  noExpiry === true ? { noExpiry } : ttlMs === undefined ? {} : { ttlMs };

export class Renewer {
  readonly #o: RenewerOptions;
  #subscription: Subscription | undefined;
  #callbackUrl: string | undefined;
  #cancel: (() => void) | undefined;
  #isKept = false;

  constructor(options: RenewerOptions) {
    this.#o = options;
    options.signal.addEventListener('abort', () => this.#cancel?.(), { once: true });
  }

  get subscription(): Subscription | undefined {
    return this.#subscription;
  }
  /**
   * Whether the subscription was obtained and its renewals work. False from a renewal that failed
   * for good until the next {@link obtain}.
   */
  get isKept(): boolean {
    return this.#isKept;
  }

  /**
   * Stores newer counters or a newer configuration. Throws `LocalError` `peer_misbehaved` for
   * another subscription, or for impossible counters.
   */
  note(subscription: Subscription): void {
    this.#subscription = this.#subscription
      ? expected(subscription, this.#subscription)
      : subscription;
  }

  /**
   * Creates the subscription, or finds it by its key; one with the same selections gets the
   * requested configuration.
   */
  async obtain(): Promise<{ readonly subscription: Subscription; readonly created: boolean }> {
    const wanted = await this.#o.request();
    const found = await this.#subscribe(wanted.params, ADOPTIONS_MAX);
    this.#keep(found.subscription, wanted);
    return found;
  }

  async #subscribe(
    params: SubscribeRequest['params'],
    attempts: number,
  ): Promise<{ readonly subscription: Subscription; readonly created: boolean }> {
    const { api, signal } = this.#o;
    try {
      const { created, ...subscription } = await api.subscribe(params, { signal });
      return { subscription: expected(subscription, params), created };
    } catch (error) {
      if (
        attempts === 0 ||
        !(error instanceof WireError) ||
        !error.is('Conflict') ||
        error.data.kind !== 'key'
      )
        throw error;
      const adopted = await this.#adopt(params, error.data, error);
      return adopted
        ? { subscription: adopted, created: false }
        : this.#subscribe(params, attempts - 1);
    }
  }

  /**
   * Reconfigures the existing subscription. Undefined = it changed or ended in between: subscribe
   * again.
   */
  async #adopt(
    params: SubscribeRequest['params'],
    { subscriptionId }: KeyConflictData,
    conflict: WireError,
  ): Promise<Subscription | undefined> {
    const { api, signal } = this.#o;
    try {
      const existing = await api.get({ subscriptionId }, { signal });
      if ('notModified' in existing || !sameSelect(existing.select, params.select)) throw conflict;
      const updated = await api.update(
        {
          subscriptionId,
          ifMatch: existing.etag,
          ...lifetimeOf(params),
          ...(params.callback === undefined
            ? existing.callback === undefined
              ? {}
              : { removeCallback: true }
            : { callback: params.callback }),
        },
        { signal },
      );
      return expected(updated, { key: params.key, subscriptionId });
    } catch (error) {
      const changed =
        error instanceof WireError &&
        error !== conflict &&
        (error.is('NotFound') || (error.is('Conflict') && error.data.kind === 'etag'));
      if (changed) return undefined;
      throw error;
    }
  }

  #keep(subscription: Subscription, { params, renewAt }: SubscribeRequest): void {
    this.#subscription = subscription;
    this.#isKept = true;
    this.#callbackUrl = params.callback?.url;
    const untilCallback = renewAt === null ? null : Math.max(0, renewAt - this.#o.clock.now());
    const dueMs = Math.min(subscription.renewAfterMs ?? Infinity, untilCallback ?? Infinity);
    const minMs = this.#o.backoff.baseMs ?? RENEW_MIN_MS;
    if (dueMs !== Infinity) this.#renewAfter(Math.max(minMs, dueMs), new Backoff(this.#o.backoff));
  }

  /**
   * Renews when the wall clock reaches the time or when `dueMs` have passed, whichever is first:
   * either clock may be wrong.
   */
  #renewAfter(dueMs: number, backoff: Backoff): void {
    this.#cancel?.();
    if (this.#o.signal.aborted) return;
    const { clock } = this.#o;
    const dueAt = clock.now() + dueMs;
    let passedMs = 0;
    const check = (): void => {
      const leftMs = Math.min(dueAt - clock.now(), dueMs - passedMs);
      if (leftMs <= 0) return void this.#renew(backoff);
      const sliceMs = Math.min(leftMs, SLICE_MS);
      passedMs += sliceMs;
      this.#cancel = clock.after(sliceMs, check, { background: true });
    };
    check();
  }

  async #renew(backoff: Backoff): Promise<void> {
    const { api, signal } = this.#o;
    const current = this.#subscription!;
    try {
      const wanted = await this.#o.request();
      const { callback } = wanted.params;
      const change: UpdateRequestParams = {
        subscriptionId: current.subscriptionId,
        ...lifetimeOf(
          wanted.params.ttlMs === undefined && current.ttlMs === undefined
            ? { noExpiry: true }
            : { ...current, ...wanted.params },
        ),
      };
      if (callback && callback.url !== this.#callbackUrl) change.callback = callback;
      this.#keep(expected(await api.update(change, { signal }), current), wanted);
    } catch (error) {
      if (signal.aborted) return;
      if (!isTransient(error)) {
        this.#isKept = false;
        return this.#o.onLost(error);
      }
      this.#renewAfter(backoff.next(error), backoff);
    }
  }

  /** Stops renewing and ends the subscription on the server. */
  async unsubscribe(): Promise<void> {
    this.#cancel?.();
    if (!this.#subscription) return;
    try {
      await this.#o.api.unsubscribe({ subscriptionId: this.#subscription.subscriptionId });
    } catch (error) {
      // The subscription has already ended (SEP: triggers/unsubscribe).
      if (!(error instanceof WireError && error.is('NotFound'))) throw error;
    }
  }
}

/** Returns the subscription if it is the one that was asked for and its counters are possible. */
function expected(
  subscription: Subscription,
  { key, subscriptionId }: { readonly key: string; readonly subscriptionId?: string },
): Subscription {
  const isOurs =
    subscription.key === key &&
    (subscriptionId === undefined || subscription.subscriptionId === subscriptionId);
  if (!isOurs) throw misbehaved('subscription', 'it answered with another subscription');
  if (subscription.acked > subscription.head)
    throw misbehaved('subscription', '"acked" is beyond "head"');
  return subscription;
}
