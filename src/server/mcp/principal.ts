/**
 * The caller of a request. A subscription belongs to an authenticated subject, so a request without
 * one is rejected: there is no anonymous principal.
 */
import type { Caller } from '../engine/verbs.ts';
import { forbidden } from '../../protocol/wire/errors.ts';

/** The principal on a pipe: a server that was started as a child process has exactly one user. */
export const LOCAL_PRINCIPAL = 'local';

/**
 * The principal of a verified token. Contains both claims, because a subject is unique only within
 * its issuer. They are encoded as JSON, so that two different pairs never give the same text.
 */
export function principalOf(iss: string, sub: string): string {
  return JSON.stringify([iss, sub]);
}

/**
 * The part of a request's context that identifies the caller. Structural, so that this file needs
 * no SDK.
 */
export interface RequestIdentity {
  readonly sessionId?: string | undefined;
  readonly http?:
    | {
        readonly authInfo?:
          | { readonly extra?: Record<string, unknown>; readonly scopes?: readonly string[] }
          | undefined;
      }
    | undefined;
}

/**
 * Returns the caller of a request. Over HTTP the authenticator must put `iss` and `sub` of the
 * verified token into `authInfo.extra`; on a pipe the caller is `local`.
 * @throws WireError `Forbidden` with `{ kind: 'principal' }` for an HTTP request without a verified
 * subject.
 */
export function callerOf(identity: RequestIdentity): Caller {
  // Only HTTP has session ids: with one, a missing `http` means a broken transport, not a pipe.
  if (identity.http === undefined && identity.sessionId === undefined)
    return { principal: LOCAL_PRINCIPAL };
  const auth = identity.http?.authInfo;
  const { iss, sub } = auth?.extra ?? {};
  if (typeof iss !== 'string' || iss === '' || typeof sub !== 'string' || sub === '') {
    throw forbidden({ kind: 'principal' });
  }
  return {
    principal: principalOf(iss, sub),
    claims: { ...auth?.extra, scopes: auth?.scopes ?? [] },
  };
}
