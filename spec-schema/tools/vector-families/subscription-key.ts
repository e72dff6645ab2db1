/**
 * The default key: SHA-256 over the RFC 8785 form. The canonicalizer here is written from the RFC, so that it checks
 * the library's independently. `selectText` is JSON text, because the cases differ in numbers, escapes and member order.
 */
import { sha256 } from './keys.ts';
import type { VectorCase, VectorFamily } from './types.ts';

/**
 * Returns the form of RFC 8785 section 3.2: members sorted by UTF-16 code units, primitives as ECMAScript writes them.
 */
function jcs(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(jcs).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${jcs(member)}`).join(',')}}`;
}

interface Wire {
  readonly name: string;
  readonly arguments?: object;
}
function valid(
  comment: string,
  flags: readonly string[],
  selectText: string,
  callbackUrl: string | null = null,
  source?: string,
): VectorCase {
  const select = (JSON.parse(selectText) as Wire[]).map((one) => ({
    name: one.name,
    arguments: one.arguments ?? {},
  }));
  const canonical = jcs({ select, callback: callbackUrl });
  return {
    comment,
    flags,
    ...(source === undefined ? {} : { source }),
    selectText,
    callbackUrl,
    canonical,
    key: sha256(canonical),
    verdict: 'valid',
  };
}
const invalid = (comment: string, flags: readonly string[], selectText: string): VectorCase => ({
  comment,
  flags,
  selectText,
  callbackUrl: null,
  verdict: 'invalid',
});
const withArguments = (text: string): string => `[{"name":"a","arguments":${text}}]`;

/** RFC 8785 appendix B: the bits of each double, and its text. */
const NUMBERS: readonly (readonly [bits: string, text: string])[] = [
  ['0000000000000000', '0'],
  ['8000000000000000', '0'],
  ['0000000000000001', '5e-324'],
  ['8000000000000001', '-5e-324'],
  ['7fefffffffffffff', '1.7976931348623157e+308'],
  ['ffefffffffffffff', '-1.7976931348623157e+308'],
  ['4340000000000000', '9007199254740992'],
  ['c340000000000000', '-9007199254740992'],
  ['4430000000000000', '295147905179352830000'],
  ['44b52d02c7e14af5', '9.999999999999997e+22'],
  ['44b52d02c7e14af6', '1e+23'],
  ['44b52d02c7e14af7', '1.0000000000000001e+23'],
  ['444b1ae4d6e2ef4e', '999999999999999700000'],
  ['444b1ae4d6e2ef4f', '999999999999999900000'],
  ['444b1ae4d6e2ef50', '1e+21'],
  ['3eb0c6f7a0b5ed8c', '9.999999999999997e-7'],
  ['3eb0c6f7a0b5ed8d', '0.000001'],
  ['41b3de4355555553', '333333333.3333332'],
  ['41b3de4355555554', '333333333.33333325'],
  ['41b3de4355555555', '333333333.3333333'],
  ['41b3de4355555556', '333333333.3333334'],
  ['41b3de4355555557', '333333333.33333343'],
  ['becbf647612f3696', '-0.0000033333333333333333'],
  ['43143ff3c1cb0959', '1424953923781206.2'],
];
const RFC_EXAMPLE = String.raw`{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}`;
const RFC_SORTING = String.raw`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`;

export const subscriptionKey: VectorFamily = {
  family: 'subscription-key',
  description:
    'The default key of a subscription: canonical is the RFC 8785 form of {callback, select} (select parsed from selectText, absent arguments replaced by {}), key is the base64url form of its SHA-256 over UTF-8. invalid: there is no canonical form.',
  notes: {
    published: 'Inputs from RFC 8785, as arguments of a selection.',
    default_arguments: 'Absent arguments are the same as {}.',
    order:
      'The key does not depend on the order of members. It depends on the order of selections and of array items.',
    unicode: 'Escapes are decoded, members are sorted by UTF-16 code units, nothing is normalized.',
    numbers: 'Numbers are IEEE 754 doubles as ECMAScript writes them.',
    no_form: 'The value has no form in RFC 8785.',
    surplus: 'The key does not depend on members that are not part of a selection.',
  },
  cases: [
    valid('one type, no arguments', ['default_arguments'], '[{"name":"a"}]'),
    valid(
      'one type, empty arguments: the same key',
      ['default_arguments'],
      '[{"name":"a","arguments":{}}]',
    ),
    valid(
      'with a callback: another key',
      [],
      '[{"name":"a"}]',
      'https://hooks.example.com/mcp/7f3a',
    ),
    valid(
      'callback with a query and a percent escape, byte for byte',
      [],
      '[{"name":"a"}]',
      'https://hooks.example.com/mcp?x=%C3%A9&y=1',
    ),
    valid('a member that is not part of a selection', ['surplus'], '[{"name":"a","note":"x"}]'),
    valid('members in one order', ['order'], withArguments('{"b":1,"a":2}')),
    valid('members in the other order: the same key', ['order'], withArguments('{"a":2,"b":1}')),
    valid('two selections', ['order'], '[{"name":"a"},{"name":"b"}]'),
    valid('two selections exchanged: another key', ['order'], '[{"name":"b"},{"name":"a"}]'),
    valid('array items', ['order'], withArguments('{"x":[2,1]}')),
    valid('array items exchanged: another key', ['order'], withArguments('{"x":[1,2]}')),
    valid('whitespace does not count', [], '[ { "name" : "a" } ]'),
    valid(
      'null, booleans, empty containers',
      [],
      withArguments('{"n":null,"t":true,"f":false,"o":{},"a":[],"s":""}'),
    ),
    valid('é composed', ['unicode'], withArguments('{"x":"\u00e9"}')),
    valid('é decomposed: another key', ['unicode'], withArguments('{"x":"e\u0301"}')),
    valid(
      'escaped and plain are the same',
      ['unicode'],
      withArguments(String.raw`{"\u0061":"\u20ac"}`),
    ),
    valid(
      'a surrogate pair sorts below U+FB33',
      ['unicode'],
      withArguments(String.raw`{"\ufb33":1,"\ud83d\ude00":2}`),
    ),
    valid(
      'control characters, DEL, line and paragraph separator',
      ['unicode'],
      withArguments(String.raw`{"x":"\u0000\u0008\u0009\u000b\u001f\u007f\u2028\u2029"}`),
    ),
    valid(
      'the member __proto__ is a member like any other',
      ['unicode'],
      withArguments('{"__proto__":{"x":1},"constructor":2}'),
    ),
    valid(
      'member names that look like numbers sort as text',
      ['order'],
      withArguments('{"10":1,"9":2,"1":3}'),
    ),
    valid(
      'RFC 8785 section 3.2.2',
      ['published'],
      withArguments(RFC_EXAMPLE),
      null,
      'RFC 8785 section 3.2.2',
    ),
    valid(
      'RFC 8785 section 3.2.3',
      ['published', 'unicode'],
      withArguments(RFC_SORTING),
      null,
      'RFC 8785 section 3.2.3',
    ),
    ...NUMBERS.map(([bits, text]) => number(bits, text)),
    valid(
      'an integer beyond 2^53 becomes the nearest double',
      ['numbers'],
      withArguments('{"x":9007199254740993}'),
    ),
    valid('1.0 and 1 are the same', ['numbers'], withArguments('{"x":1.0}')),
    invalid(
      'a lone high surrogate',
      ['no_form', 'unicode'],
      withArguments(String.raw`{"x":"\ud800"}`),
    ),
    invalid(
      'a lone low surrogate in a member name',
      ['no_form', 'unicode'],
      withArguments(String.raw`{"\udc00":1}`),
    ),
    invalid(
      'a number that is infinite as a double',
      ['no_form', 'numbers'],
      withArguments('{"x":1e400}'),
    ),
  ],
};

/** Makes a case of appendix B. Throws if the canonical form of the bits is not the text in the RFC. */
function number(bits: string, text: string): VectorCase {
  const made = valid(
    `${text}: the double ${bits}`,
    ['published', 'numbers'],
    withArguments(`{"x":${exact(bits)}}`),
    null,
    'RFC 8785 appendix B',
  );
  if (!String(made['canonical']).includes(`{"x":${text}}`))
    throw new Error(
      `RFC 8785 appendix B has ${text} for ${bits}, but jcs() gives another text. Correct jcs().`,
    );
  return made;
}

/** Returns the double as JSON. 17 significant digits identify every double. */
function exact(bits: string): string {
  return bits === '8000000000000000'
    ? '-0'
    : Buffer.from(bits, 'hex').readDoubleBE().toPrecision(17);
}
