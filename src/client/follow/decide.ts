/**
 * What the end of a rung means, as a pure decision: the same rung again, the next one down, or the end of all. What the server
 * offers is looked at before anything is chosen, so a server that was changed needs no row here (SEP: When a peer lacks the extension).
 */
import {
  LocalError,
  WireError,
  type LocalErrorCode,
  type WireErrorName,
} from '../../protocol/wire/errors.ts';
import { RemoteError } from '../../protocol/wire/remote-error.ts';
import { isTransient } from '../backoff.ts';
import type { ModeName } from './types.ts';

/**
 * `again`: the way to the server, or the server, is out of order at the moment. `strike`: it broke the protocol; patience with that is
 * limited. `next`: not to be had on this rung. `end`: no rung can help.
 */
export type AfterError = 'again' | 'strike' | 'next' | 'end';

const BY_CODE: Partial<Record<LocalErrorCode, AfterError>> = {
  unreachable: 'again',
  timeout: 'again',
  not_supported: 'next',
  peer_misbehaved: 'strike',
};

/** Of a subscription that has ended, only a type that is gone may be had in another way: every other reason is somebody's decision. */
const REMOVED = 'trigger_removed';

/** What is refused on the rung `triggers` as the caller's own mistake, is one on every rung (SEP: Errors). */
const MISTAKES: readonly WireErrorName[] = ['InvalidParams', 'Conflict'];

/** `undefined`: the server ended it in good order. */
export function afterError(error: unknown, mode?: ModeName): AfterError {
  if (mode === 'triggers' && error instanceof WireError && MISTAKES.includes(error.name))
    return 'end';
  if (error === undefined || isTransient(error)) return 'again';
  if (error instanceof LocalError && error.code === 'terminated')
    return error.reason === REMOVED ? 'next' : 'end';
  if (error instanceof LocalError) return BY_CODE[error.code] ?? 'end';
  return error instanceof WireError || error instanceof RemoteError ? 'next' : 'end';
}
