/**
 * The table of errors and the action after each, for subscriptions and for `follow`; and the
 * backoff before the next attempt (SEP: Recovery by the client, When a peer lacks the extension).
 */
import type { FinalPosition, TerminationReason } from '../../spec-schema/draft/schema.ts';
import { RETRY_AFTER_MAX_MS } from '../protocol/core/policy.ts';
import { TERMINATION_ERRORS } from '../protocol/events/errors.ts';
import { LocalError, WireError } from '../protocol/wire/errors.ts';
import { RemoteError } from '../protocol/wire/remote-error.ts';

/**
 * Action of a subscription: see {@link Recovery}. `ended` becomes `lost` or `fail`, by the reason
 * of the end.
 */
type SubscriptionAction =
  'retry' | 'violation' | 'epoch' | 'rewind' | 'ended' | 'next_drain' | 'fail';

/**
 * Action of `follow` after an error of the mode in use. `again`: retries the same mode. `violation`:
 * retries, but the server broke the protocol, and only a few such errors are tolerated. `next`:
 * uses the next mode. `end`: no mode can help.
 */
export type FollowAction = 'again' | 'violation' | 'next' | 'end';

interface Row {
  readonly subscription: SubscriptionAction;
  readonly follow: FollowAction;
  /**
   * Replaces `follow` in the mode `triggers`: there the error shows a mistake of the caller, which
   * every other mode would repeat (SEP: Errors).
   */
  readonly followTriggers?: FollowAction;
}

const RECOVERY = {
  /** The server, or the connection to it, does not work at the moment. */
  transient: { subscription: 'retry', follow: 'again' },
  protocol_broken: { subscription: 'violation', follow: 'violation' },
  epoch_changed: { subscription: 'epoch', follow: 'next', followTriggers: 'end' },
  position_unknown: { subscription: 'rewind', follow: 'next', followTriggers: 'end' },
  subscription_ended: { subscription: 'ended', follow: 'next' },
  callback_invalid: { subscription: 'next_drain', follow: 'next', followTriggers: 'end' },
  callback_unreachable: { subscription: 'next_drain', follow: 'next' },
  unsupported: { subscription: 'next_drain', follow: 'next' },
  caller_mistake: { subscription: 'fail', follow: 'next', followTriggers: 'end' },
  /** Any other error response of the server. */
  rejected: { subscription: 'fail', follow: 'next' },
  not_supported: { subscription: 'fail', follow: 'next' },
  /** The server no longer has the trigger type; another mode may still offer it. */
  type_removed: { subscription: 'fail', follow: 'next' },
  /** A decision that a retry does not change, or a failure of this client. */
  final: { subscription: 'fail', follow: 'end' },
} as const satisfies Readonly<Record<string, Row>>;

type Condition = keyof typeof RECOVERY;

const TYPE_REMOVED: TerminationReason = 'trigger_removed';

function conditionOf(error: unknown): Condition {
  if (error instanceof SubscriptionEnded) return 'subscription_ended';
  if (error instanceof WireError) return conditionOfWireError(error);
  if (error instanceof RemoteError) return 'rejected';
  if (!(error instanceof LocalError)) return 'final';
  switch (error.code) {
    case 'unreachable':
    case 'timeout':
      return 'transient';
    case 'peer_misbehaved':
      return 'protocol_broken';
    case 'not_supported':
      return 'not_supported';
    case 'terminated':
      return error.reason === TYPE_REMOVED ? 'type_removed' : 'final';
    default:
      return 'final';
  }
}

function conditionOfWireError(error: WireError): Condition {
  if (error.is('Conflict')) {
    if (error.data.kind === 'epoch') return 'epoch_changed';
    return error.data.kind === 'position' ? 'position_unknown' : 'caller_mistake';
  }
  if (error.is('InvalidParams'))
    return error.data.path.startsWith('/callback') ? 'callback_invalid' : 'caller_mistake';
  if (error.is('NotFound') && error.data.kind === 'subscription') return 'subscription_ended';
  if (error.is('CallbackEndpointError')) return 'callback_unreachable';
  if (error.is('Unsupported')) return 'unsupported';
  // Without `retryAfterMs` the quota stays exhausted until the caller frees something.
  const isTransient =
    error.is('InternalError') ||
    (error.is('ResourceExhausted') && error.data.retryAfterMs !== undefined);
  return isTransient ? 'transient' : 'rejected';
}

/** Whether the same request may succeed later. */
export const isTransient = (error: unknown): boolean => conditionOf(error) === 'transient';

/**
 * Decides the action of `follow` after an error of `mode`. `undefined` means that the server ended
 * the mode without an error.
 */
export function followActionAfter(error: unknown, mode?: string): FollowAction {
  if (error === undefined) return 'again';
  const row: Row = RECOVERY[conditionOf(error)];
  return (mode === 'triggers' ? row.followTriggers : undefined) ?? row.follow;
}

/** The error for a delivery that says that the subscription has ended. */
export class SubscriptionEnded extends Error {
  override readonly name = 'SubscriptionEnded';
  readonly reason: TerminationReason;
  readonly final: FinalPosition;

  constructor(reason: TerminationReason, final: FinalPosition) {
    super(`The subscription has ended: ${reason}.`);
    this.reason = reason;
    this.final = final;
  }
}

/** Action of a subscription after an error, with its data. */
export type Recovery =
  /** Continues in the new epoch of the log. */
  | { readonly do: 'epoch'; readonly epoch: string }
  /**
   * Goes back, because the log ends before the position that was read. `has`: the last sequence
   * that the server has sent, or else the head.
   */
  | { readonly do: 'rewind'; readonly final: FinalPosition; readonly has: number }
  /** Reports the log as lost; subscribing again starts another. */
  | {
      readonly do: 'lost';
      readonly reason: TerminationReason | 'unknown';
      readonly final?: FinalPosition;
      readonly error: unknown;
    }
  /** Uses the next drain. */
  | { readonly do: 'next_drain' }
  /** Retries. `counts`: the error is a violation of the protocol, of which only a few are tolerated. */
  | { readonly do: 'retry'; readonly counts: boolean }
  | { readonly do: 'fail'; readonly error: unknown };

/** Decides the action of a subscription after an error. */
export function recoveryOf(error: unknown): Recovery {
  const action = RECOVERY[conditionOf(error)].subscription;
  switch (action) {
    case 'epoch':
    case 'rewind':
      return fromConflict(error as WireError);
    case 'ended':
      return error instanceof SubscriptionEnded
        ? afterEnd(error.reason, error.final, error)
        : fromNotFound(error as WireError);
    case 'retry':
    case 'violation':
      return { do: 'retry', counts: action === 'violation' };
    case 'next_drain':
      return { do: 'next_drain' };
    case 'fail':
      return { do: 'fail', error };
  }
}

function fromConflict(error: WireError): Recovery {
  if (error.is('Conflict') && error.data.kind === 'epoch')
    return { do: 'epoch', epoch: error.data.epoch };
  if (error.is('Conflict') && error.data.kind === 'position') {
    const { epoch, head, acked, sent } = error.data;
    return { do: 'rewind', final: { epoch, head, acked }, has: sent ?? head };
  }
  return { do: 'fail', error };
}

const fromNotFound = (error: WireError): Recovery =>
  error.is('NotFound')
    ? afterEnd(error.data.reason, error.data.final, error)
    : { do: 'fail', error };

/**
 * Subscribes again only after an expiry or an end without a known reason: an operator or a user
 * decided every other end.
 */
function afterEnd(
  reason: TerminationReason | undefined,
  final: FinalPosition | undefined,
  cause: unknown,
): Recovery {
  const error = new LocalError(
    'terminated',
    `The subscription has ended: ${reason ?? 'unknown'}. Subscribe again if the reason permits.`,
    { reason: reason ?? 'unknown', cause },
  );
  if (reason !== undefined && reason !== 'expired') return { do: 'fail', error };
  return { do: 'lost', reason: reason ?? 'unknown', error, ...(final ? { final } : {}) };
}

/**
 * The reason for which an `events/*` server ends a subscription with this error; undefined = the
 * error does not end a subscription.
 */
export const terminationReasonOf = (error: unknown): string | undefined =>
  error instanceof WireError
    ? Object.entries(TERMINATION_ERRORS).find(([, name]) => name === error.name)?.[0]
    : undefined;

/**
 * The growth of the pauses between attempts. The first pause is uniform between 0 and `baseMs`;
 * each further attempt doubles this upper bound, up to `maxMs`.
 */
export interface BackoffOptions {
  /** Milliseconds. Default 500. */
  readonly baseMs?: number;
  /** Milliseconds. Default 30,000. */
  readonly maxMs?: number;
  /** Uniform in [0, 1). Default: `Math.random`; nothing secret depends on it. */
  readonly random?: () => number;
}

/** Exponential backoff with full jitter. */
export class Backoff {
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #attempts = 0;

  constructor({ baseMs = 500, maxMs = 30_000, random = Math.random }: BackoffOptions = {}) {
    this.#baseMs = baseMs;
    this.#maxMs = maxMs;
    this.#random = random;
  }

  /**
   * The next pause in milliseconds: at least the `retryAfterMs` of `error`, of which at most one
   * hour counts.
   */
  next(error?: unknown): number {
    const ceiling = Math.min(this.#maxMs, this.#baseMs * 2 ** this.#attempts);
    this.#attempts += 1;
    return Math.max(retryAfterMs(error), Math.round(ceiling * this.#random()));
  }

  reset(): void {
    this.#attempts = 0;
  }
}

function retryAfterMs(error: unknown): number {
  return error instanceof WireError && error.is('ResourceExhausted')
    ? Math.min(error.data.retryAfterMs ?? 0, RETRY_AFTER_MAX_MS)
    : 0;
}
