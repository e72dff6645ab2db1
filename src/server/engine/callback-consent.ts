/**
 * Checks the callback of a subscribe or update call, obtains its consent, and decides what is
 * stored.
 */
import type { Callback as WireCallback } from '../../../spec-schema/draft/schema.ts';
import type { Callback, CallbackLimits, Subscription } from '../../protocol/core/types.ts';
import { invalidParams, LocalError, WireError } from '../../protocol/wire/errors.ts';
import { jsonEqual } from '../../protocol/core/index.ts';
import { SECRET_ROTATION_GRACE_MS } from '../../protocol/wire/limits.ts';
import { Secret } from '../../protocol/wire/secret.ts';
import { consentName, type Verifier } from '../callback/verifier.ts';
import type { Egress } from './ports.ts';
import type { LoadedSubscription } from './subscription-cache.ts';
import type { UnitOfWork } from './unit-of-work.ts';

/** A callback as the caller requested it, with its dialect. */
export type RequestedCallback = WireCallback & Pick<Callback, 'dialect'>;

export interface CallbackConsentOptions {
  readonly unitOfWork: UnitOfWork;
  readonly verifier: Verifier;
  readonly egress: Egress;
}

export class CallbackConsent {
  readonly #o: CallbackConsentOptions;

  constructor(options: CallbackConsentOptions) {
    this.#o = options;
  }

  /** Checks URL and secret. Throws `WireError` `InvalidParams` for one that breaks the rules. */
  check({ url, secret, skipAfterMs, limits }: WireCallback): WireCallback {
    this.#o.egress.check(url);
    try {
      Secret.parse(secret);
    } catch (cause) {
      if (cause instanceof LocalError && cause.code === 'secret_malformed')
        throw invalidParams('/callback/secret', '"whsec_" and base64 of 24 to 64 random bytes');
      throw cause;
    }
    // The URL stays as given, byte by byte: the server's signature covers the hash of this text.
    return {
      url,
      secret,
      ...(skipAfterMs === undefined ? {} : { skipAfterMs }),
      ...limitsOf(limits),
    };
  }

  /**
   * When this principal's callback last consented, in epoch milliseconds; null = not within the
   * last day.
   */
  recent(principal: string, callback: RequestedCallback): Promise<number | null> {
    return this.#o.verifier.consent(principal, callback);
  }

  /**
   * Challenges the callback and records its consent. Resolves with the time of the proof. Rejects
   * with `CallbackEndpointError` or `ResourceExhausted`.
   */
  async prove(state: Subscription, callback: RequestedCallback): Promise<number> {
    const verifiedAt = await this.#o.verifier.challenge(state, callback);
    this.#o.unitOfWork.write({
      type: 'verification',
      principal: state.principal,
      urlHash: consentName(callback),
      verifiedAt,
    });
    return verifiedAt;
  }

  /** The time of a recent proof, or of a new one. Rejects like `prove`. */
  async recentOrProve({ state }: LoadedSubscription, callback: RequestedCallback): Promise<number> {
    const recent = await this.recent(state.principal, callback);
    if (recent !== null) return recent;
    // A challenge shows the subscription's counters, which must be on disk first.
    await this.#o.unitOfWork.commit();
    return this.prove(state, callback);
  }

  /**
   * Like `recentOrProve`, for a callback that the subscription has already; null = the endpoint
   * does not prove its consent now. Its failure is not the error of the call, because nothing else
   * in the call depends on the endpoint.
   */
  async again(loaded: LoadedSubscription, callback: Callback): Promise<number | null> {
    try {
      return await this.recentOrProve(loaded, callback);
    } catch (cause) {
      const failed =
        cause instanceof WireError &&
        (cause.is('CallbackEndpointError') || cause.is('ResourceExhausted'));
      if (!failed) throw cause;
      return null;
    }
  }
}

/** The known members of the limits; without one of them, nothing is limited. */
function limitsOf({ maxEvents, maxBytes, maxPerMinute, lingerMs }: CallbackLimits = {}): Pick<
  WireCallback,
  'limits'
> {
  const limits = {
    ...(maxEvents === undefined ? {} : { maxEvents }),
    ...(maxBytes === undefined ? {} : { maxBytes }),
    ...(maxPerMinute === undefined ? {} : { maxPerMinute }),
    ...(lingerMs === undefined ? {} : { lingerMs }),
  };
  return Object.keys(limits).length === 0 ? {} : { limits };
}

/**
 * The callback that replaces `current`. With a new secret for the same URL, the old secret also
 * signs for a while, so that the receiver can switch without rejecting a delivery; a secret before
 * the old one no longer does.
 */
export function replaceCallback(
  current: Callback | null,
  requested: RequestedCallback,
  verifiedAt: number,
  now: number,
): Callback {
  const fresh = { ...requested, verifiedAt, previousSecret: null, previousUntil: null };
  if (current === null || current.url !== requested.url) return fresh;
  return current.secret === requested.secret
    ? { ...fresh, previousSecret: current.previousSecret, previousUntil: current.previousUntil }
    : { ...fresh, previousSecret: current.secret, previousUntil: now + SECRET_ROTATION_GRACE_MS };
}

/** Compares everything that a client configures. */
export function isSameCallback(
  current: Callback | null,
  requested: RequestedCallback | null,
): boolean {
  return (
    isSameEndpoint(current, requested) &&
    current?.skipAfterMs === requested?.skipAfterMs &&
    jsonEqual(current?.limits ?? null, requested?.limits ?? null)
  );
}

/** Compares what the endpoint consents to: URL, secret and dialect. */
export function isSameEndpoint(
  current: Callback | null,
  requested: RequestedCallback | null,
): boolean {
  return (
    current?.url === requested?.url &&
    current?.secret === requested?.secret &&
    current?.dialect === requested?.dialect
  );
}

/** The callback, signed with its newest secret alone. */
export const withoutPrevious = (callback: Callback): Callback => ({
  ...callback,
  previousSecret: null,
  previousUntil: null,
});
