/** Adds unknown members to every object, as a peer of a later revision might. */
import type { Json } from './session.ts';

/** Members whose content this extension does not define. */
const OPAQUE = new Set([
  'data',
  'arguments',
  'inputSchema',
  'payloadSchema',
  '_meta',
  'capabilities',
]);

/** Returns the value with additional members in every object of the extension. */
export function withUnknownMembers(value: Json): Json {
  if (Array.isArray(value)) return value.map(withUnknownMembers);
  if (value === null || typeof value !== 'object') return value;
  const known = Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      OPAQUE.has(name) ? member : withUnknownMembers(member),
    ]),
  );
  return { ...known, newMember: { of: ['a', 'later', 'revision'] }, newFlag: true };
}
