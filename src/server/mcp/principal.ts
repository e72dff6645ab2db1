/**
 * The caller of a request, and the owner of what it creates: issuer, subject and client of the
 * verified token (SEP: Isolation). A request without a subject is rejected: there is no anonymous
 * owner.
 */
import type { Caller } from '../engine/verbs.ts';
import { forbidden } from '../../protocol/wire/errors.ts';

/** The owner on a pipe: a server that was started as a child process has exactly one user. */
export const LOCAL_PRINCIPAL = 'local';

/** The parts of an owner. */
export interface Owner {
  readonly iss: string;
  readonly sub: string;
  /** Absent for tokens that name no client, and for clients that share their subscriptions. */
  readonly client?: string | undefined;
}

/**
 * The text that identifies an owner, as {@link Caller.principal} has it. It contains every part,
 * because a subject is unique only within its issuer, and two applications of one user must not
 * replace each other's callbacks. Encoded as JSON, so that two different owners never have the same
 * text.
 */
export function ownerOf({ iss, sub, client }: Owner): string {
  return JSON.stringify(client === undefined ? [iss, sub] : [iss, sub, client]);
}

/** The parts of a text of {@link ownerOf}, for `reauthorize`; null = any other text. */
export function parseOwner(principal: string): Owner | null {
  let parts: unknown;
  try {
    parts = JSON.parse(principal);
  } catch {
    return null;
  }
  if (!Array.isArray(parts) || !parts.every((part) => typeof part === 'string')) return null;
  const [iss, sub, client, ...more] = parts;
  if (iss === undefined || sub === undefined || more.length > 0) return null;
  return { iss, sub, ...(client === undefined ? {} : { client }) };
}

/** Which clients of one user share their subscriptions. Default: none. */
export interface OwnerPolicy {
  /**
   * The clients (`client_id` or `azp`) whose tokens belong to the owner (`iss`, `sub`), as tokens
   * without a client do. Each of them can then change and acknowledge what the others created.
   */
  readonly sharedClients?: readonly string[];
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
          | {
              readonly clientId?: string;
              readonly extra?: Record<string, unknown>;
              readonly scopes?: readonly string[];
            }
          | undefined;
      }
    | undefined;
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';

/**
 * Returns the caller of a request. Over HTTP the authenticator must put `iss` and `sub` of the
 * verified token into `authInfo.extra`. The client is `client_id` or else `azp` there, or else
 * `authInfo.clientId`. On a pipe the caller is `local`.
 * @throws WireError `Forbidden` with `{ kind: 'authentication' }` for an HTTP request without a verified
 * subject.
 */
export function callerOf(
  identity: RequestIdentity,
  { sharedClients = [] }: OwnerPolicy = {},
): Caller {
  // Only HTTP has session ids: with one, a missing `http` means a broken transport, not a pipe.
  if (identity.http === undefined && identity.sessionId === undefined)
    return { principal: LOCAL_PRINCIPAL };
  const auth = identity.http?.authInfo;
  const { iss, sub, client_id: clientId, azp } = auth?.extra ?? {};
  if (!isText(iss) || !isText(sub)) throw forbidden({ kind: 'authentication' });
  const client = [clientId, azp, auth?.clientId].find(isText);
  return {
    principal: ownerOf({
      iss,
      sub,
      client: client === undefined || sharedClients.includes(client) ? undefined : client,
    }),
    claims: { ...auth?.extra, scopes: auth?.scopes ?? [] },
  };
}
