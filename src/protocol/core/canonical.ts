/**
 * Compares JSON values by their serialization in the form of RFC 8785. Implemented here because the
 * core imports no package; `wire/canonical.ts` serializes what is hashed.
 */

/** Serializes a JSON value. Equal values give equal texts, whatever the order of their members. */
export function canonicalText(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(',')}]`;
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  // RFC 8785, section 3.2.3: names sort by UTF-16 code units, as `<` compares them.
  members.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalText(member)}`).join(',')}}`;
}

/** Whether both are the same JSON value. */
export function jsonEqual(a: unknown, b: unknown): boolean {
  return a === b || canonicalText(a) === canonicalText(b);
}
