/**
 * Names of the HTTP headers of a callback, in the lower case that Node and the Fetch API use, and one way to read them from
 * whatever a web framework hands over (SEP: Callback).
 */

export const WEBHOOK_ID = 'webhook-id';
export const WEBHOOK_TIMESTAMP = 'webhook-timestamp';
export const WEBHOOK_SIGNATURE = 'webhook-signature';
export const MCP_SUBSCRIPTION_ID = 'mcp-subscription-id';
export const MCP_DELIVERY_SIGNATURE = 'mcp-delivery-signature';
export const CONTENT_TYPE = 'content-type';
export const USER_AGENT = 'user-agent';

export const CALLBACK_CONTENT_TYPE = 'application/json';
/** Fixed: a user agent that told versions would tell an attacker which server to try. */
export const CALLBACK_USER_AGENT = 'mcp-triggers';

/** Headers as the Fetch API, Node or a plain object give them. */
export type HeadersLike =
  | { get(name: string): string | null }
  | Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * One header's value, or undefined when it is absent or not exactly one: a header that is sent twice must not be
 * interpreted. (The Fetch API joins repeated headers with a comma, which none of our grammars allows.)
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
