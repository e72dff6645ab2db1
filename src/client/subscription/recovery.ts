/**
 * What to do about an error, as a pure decision: go on where the server says, report a loss, step down a rung, try again,
 * or give up (SEP: Recovery by the client).
 */
import type { FinalPosition, TerminationReason } from '../../../spec-schema/draft/schema.ts';
import { LocalError, WireError } from '../../protocol/wire/errors.ts';
import { isTransient } from '../backoff.ts';

/** The subscription has ended, and its last delivery said so. */
export class SubscriptionEnded extends Error {
  override readonly name = 'Ended';
  readonly reason: TerminationReason;
  readonly final: FinalPosition;

  constructor(reason: TerminationReason, final: FinalPosition) {
    super(`The subscription ended: ${reason}.`);
    this.reason = reason;
    this.final = final;
  }
}

export type Recovery =
  /** The log has a new life. */
  | { readonly do: 'epoch'; readonly epoch: string }
  /** The log ends before what was read of it. */
  | { readonly do: 'rewind'; readonly final: FinalPosition; readonly has: number }
  /** The log is gone and may be made anew. */
  | {
      readonly do: 'lost';
      readonly reason: TerminationReason | 'unknown';
      readonly final?: FinalPosition;
      readonly error: unknown;
    }
  /** This drain is not to be had. */
  | { readonly do: 'descend' }
  /** A strike is the peer's fault: patience with it is limited. */
  | { readonly do: 'retry'; readonly strike: boolean }
  | { readonly do: 'fail'; readonly error: unknown };

export function recoveryOf(error: unknown): Recovery {
  if (error instanceof SubscriptionEnded) return ended(error.reason, error.final, error);
  if (error instanceof WireError) return decideWire(error);
  if (isTransient(error)) return { do: 'retry', strike: false };
  if (error instanceof LocalError && error.code === 'peer_misbehaved')
    return { do: 'retry', strike: true };
  return { do: 'fail', error };
}

function decideWire(error: WireError): Recovery {
  if (error.is('Conflict') && error.data.kind === 'epoch')
    return { do: 'epoch', epoch: error.data.epoch };
  if (error.is('Conflict') && error.data.kind === 'position') {
    const { epoch, head, acked, sent } = error.data;
    return { do: 'rewind', final: { epoch, head, acked }, has: sent ?? head };
  }
  if (error.is('NotFound') && error.data.kind === 'subscription')
    return ended(error.data.reason, error.data.final, error);
  // The server calls back to no such address, or reaches nobody there; it may still be drained in another way.
  const isCallback =
    error.is('CallbackEndpointError') ||
    (error.is('InvalidParams') && error.data.path.startsWith('/callback'));
  if (isCallback || error.is('Unsupported')) return { do: 'descend' };
  return isTransient(error) ? { do: 'retry', strike: false } : { do: 'fail', error };
}

/** Time ran out, or nobody knows: worth another subscription. For every other reason somebody has decided against it. */
function ended(
  reason: TerminationReason | undefined,
  final: FinalPosition | undefined,
  cause: unknown,
): Recovery {
  const error = new LocalError(
    'terminated',
    `The subscription has ended: ${reason ?? 'unknown'}.`,
    { reason: reason ?? 'unknown', cause },
  );
  if (reason !== undefined && reason !== 'expired') return { do: 'fail', error };
  return { do: 'lost', reason: reason ?? 'unknown', error, ...(final ? { final } : {}) };
}
