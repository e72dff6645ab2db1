/**
 * Who is asking. A subscription belongs to an authenticated subject, so a request that cannot be tied to one is refused;
 * there is no anonymous principal to fall back to.
 */
import type { Caller } from '../engine/verbs.ts';
import { forbidden } from '../../protocol/wire/errors.ts';

/** The principal of a connection that has exactly one user by construction: a pipe to a child process. */
export const LOCAL_PRINCIPAL = 'local';

/**
 * The principal of a verified token. Both claims, because a subject is unique only within its issuer; JSON, because no
 * character of either can then move the border between the two.
 */
export function principalOf(iss: string, sub: string): string {
  return JSON.stringify([iss, sub]);
}

/** The part of a request's context that says who is asking. Structural, so that this file needs no SDK. */
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
 * The caller of a request. Over HTTP the authenticator must have put `iss` and `sub` of the verified token into
 * `authInfo.extra`; on a pipe the caller is `local`.
 * @throws WireError `Forbidden` with `{ kind: 'principal' }` for an HTTP request without a verified subject.
 */
export function callerOf(identity: RequestIdentity): Caller {
  // A session id exists only on HTTP: with it, a missing `http` is a broken transport and not a pipe.
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
