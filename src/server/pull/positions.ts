/** Positions as clients give them: what is acceptable, and how a refusal reads on the wire (SEP: Positions). */
import { conflict, notFound, type WireError } from '../../protocol/wire/errors.ts';
import type { Position, StepRefusal, Subscription } from '../../protocol/core/types.ts';

/** Refuses a position of another epoch, or beyond the end of the log. */
export function assertPosition(position: Position, state: Subscription): void {
  if (position.epoch !== state.epoch) throw rejectionError({ kind: 'epoch' }, state);
  if (position.sequence > state.head) throw rejectionError({ kind: 'position' }, state);
}

/** How a refusal of the core reads on the wire. */
export function rejectionError(refused: StepRefusal, state: Subscription): WireError {
  const { epoch, head, acked, sent } = state;
  switch (refused.kind) {
    case 'epoch':
      return conflict({ kind: 'epoch', epoch, head, acked });
    case 'position':
      return conflict({ kind: 'position', epoch, head, acked, sent });
    default:
      return notFound({ kind: 'subscription' });
  }
}
