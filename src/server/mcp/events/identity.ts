/** The names of a webhook subscription: what it is found by here, and what its receiver knows it by. Both follow from what it is. */
import type { Selection } from '../../../protocol/core/types.ts';
import { canonicalJson, sha256 } from '../../../protocol/wire/canonical.ts';

/** The key of the subscription behind a webhook: apart from every key that `triggers/*` makes by default. The principal is implied. */
export function webhookKey(url: string, { name, arguments: args }: Selection): string {
  return `webhook:${sha256(canonicalJson([url, name, args]))}`;
}

/**
 * The subscription's `id`: the same for the same principal, URL, name and arguments, for ever. It routes and opens nothing, so it may be
 * logged.
 */
export function webhookSubscriptionId(
  principal: string,
  url: string,
  { name, arguments: args }: Selection,
): string {
  return `evt_${sha256(canonicalJson([principal, url, name, args]))}`;
}
