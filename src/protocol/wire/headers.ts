/**
 * Names of the HTTP headers of a callback, in lower case as in Node and the Fetch API, and a reader
 * for the header objects of both (SEP: Callback).
 */

export const WEBHOOK_ID = 'webhook-id';
export const WEBHOOK_TIMESTAMP = 'webhook-timestamp';
export const WEBHOOK_SIGNATURE = 'webhook-signature';
export const MCP_SUBSCRIPTION_ID = 'mcp-subscription-id';
export const MCP_DELIVERY_SIGNATURE = 'mcp-delivery-signature';
export const CONTENT_TYPE = 'content-type';
export const USER_AGENT = 'user-agent';

export const CALLBACK_CONTENT_TYPE = 'application/json';
/** Fixed and without a version, which would help an attacker choose a target. */
export const CALLBACK_USER_AGENT = 'mcp-triggers';

/** Headers of the Fetch API, of Node, or in a plain object. */
export type HeadersLike =
  | { get(name: string): string | null }
  | Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * Returns the value of a header; undefined if it is absent, or repeated and therefore ambiguous. The
 * Fetch API joins repeated headers with a comma and a space. Such a value fails the later checks; only
 * a joined `webhook-signature` can still contain an entry that matches.
 */
export function readHeader(headers: HeadersLike, name: string): string | undefined {
  if (typeof headers.get === 'function') return headers.get(name) ?? undefined;
  let found: string | readonly string[] | undefined;
  for (const [key, value] of Object.entries(
    headers as Record<string, string | readonly string[] | undefined>,
  )) {
    if (value === undefined || key.toLowerCase() !== name) continue;
    if (found !== undefined) return undefined;
    found = value;
  }
  if (typeof found === 'string') return found;
  return found?.length === 1 ? found[0] : undefined;
}
