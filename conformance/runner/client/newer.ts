/** A peer of a later revision: every object has members that this one does not know. */
import type { Json } from '../wire/session.ts';

/** Not objects of this extension: what is in there is somebody else's. */
const OPAQUE = new Set([
  'data',
  'arguments',
  'inputSchema',
  'payloadSchema',
  '_meta',
  'capabilities',
]);

/** The value with more members in every object of the extension. */
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
