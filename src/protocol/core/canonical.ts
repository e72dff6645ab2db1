/**
 * One text per JSON value, whatever the order of its members: the form in which arguments and selections are compared. For
 * JSON values this is the serialisation of RFC 8785, written out here because the core imports nothing.
 */

export function canonicalText(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(',')}]`;
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  // RFC 8785, section 3.2.3: names sort by UTF-16 code units, which is what `<` compares.
  members.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalText(member)}`).join(',')}}`;
}

/** Equal as JSON values. */
export function jsonEqual(a: unknown, b: unknown): boolean {
  return a === b || canonicalText(a) === canonicalText(b);
}
