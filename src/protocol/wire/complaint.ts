/**
 * Converts the validator's first error into a JSON Pointer and a noun phrase. Neither repeats the
 * invalid value: the phrase is made from the schema alone, and the pointer ends before a member name
 * that is not a plain word.
 */
import type { ErrorObject as AjvError } from 'ajv/dist/2020.js';

/** Describes an invalid value without repeating it. */
export interface Complaint {
  /** JSON Pointer to the invalid value or the missing member. */
  readonly path: string;
  /** A noun phrase, for example `an integer of at least 0`. */
  readonly expected: string;
}

type Schema = Readonly<Record<string, unknown>>;

/** Phrases by keyword; other keywords use {@link describe}. */
const BY_KEYWORD: Readonly<Record<string, (schema: Schema, data: unknown) => string>> = {
  required: () => 'a value: this member is required',
  dependentRequired: () => 'all of the members that belong together',
  additionalProperties: () => 'no member beyond those that the schema names',
  unevaluatedProperties: () => 'no member beyond those that the schema names',
  propertyNames: () => 'member names that the schema allows',
  uniqueItems: () => 'an array without duplicates',
  format: (schema) => `a string in the format "${String(schema['format'])}"`,
  multipleOf: (schema) => `a multiple of ${String(schema['multipleOf'])}`,
  minProperties: (schema) => `at least ${String(schema['minProperties'])} members`,
  maxProperties: (schema) => `at most ${String(schema['maxProperties'])} members`,
  not: (schema, data) => {
    if (togetherInvalid(schema) === undefined) return 'a value that the schema does not exclude';
    // `required` means nothing for other values, so that only an object can satisfy its opposite.
    return isObject(data) ? 'no value together with the other member' : 'an object';
  },
  oneOf: () => 'a value that fits exactly one of the alternatives',
};

/**
 * Describes the first of `errors`, which must come from one validation with the option `verbose`.
 */
export function complaint(errors: readonly AjvError[] | null | undefined): Complaint {
  const first = errors?.[0];
  if (!first) return { path: '', expected: 'a valid value' };
  const schema: Schema = typeof first.parentSchema === 'object' ? first.parentSchema : {};
  const member = memberOf(first, schema);
  const missing = member === undefined ? '' : `/${pointerToken(member)}`;
  const phrase = BY_KEYWORD[first.keyword]?.(schema, first.data) ?? describe(schema, first.keyword);
  const nullable = errors.some(
    (error) =>
      error.keyword === 'type' &&
      error.params['type'] === 'null' &&
      error.instancePath === first.instancePath,
  );
  return {
    path: plainPrefix(first.instancePath + missing),
    expected: nullable && first.keyword !== 'required' ? `${phrase}, or null` : phrase,
  };
}

/** The member that is missing, or that is present beside another one which excludes it. */
function memberOf({ keyword, params, data }: AjvError, schema: Schema): string | undefined {
  if (keyword === 'required') return String(params['missingProperty']);
  return keyword === 'not' && isObject(data) ? togetherInvalid(schema)?.at(-1) : undefined;
}

/** The members that a schema with `not` forbids together. */
function togetherInvalid({ not }: Schema): readonly string[] | undefined {
  const { required } = Object(not) as { readonly required?: readonly string[] };
  return required !== undefined && required.length > 1 ? required : undefined;
}

const isObject = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Returns a noun phrase for what a schema node accepts. */
function describe(schema: Schema, keyword: string): string {
  if ('const' in schema) return JSON.stringify(schema['const']);
  if (Array.isArray(schema['enum']))
    return `one of ${schema['enum'].map((value) => JSON.stringify(value)).join(', ')}`;
  switch (schema['type']) {
    case 'integer':
      return `an integer${range(schema['minimum'], schema['maximum'], '')}`;
    case 'number':
      return `a number${range(schema['minimum'], schema['maximum'], '')}`;
    case 'string':
      if (keyword === 'pattern') return `a string that matches ${String(schema['pattern'])}`;
      return `a string${range(schema['minLength'], schema['maxLength'], ' characters')}`;
    case 'array':
      return `an array${range(schema['minItems'], schema['maxItems'], ' items')}`;
    case 'object':
      return 'an object';
    case 'boolean':
      return 'a boolean';
    case 'null':
      return 'null';
    default:
      return `a value that satisfies "${keyword}"`;
  }
}

function range(min: unknown, max: unknown, unit: string): string {
  const least = typeof min === 'number' ? `at least ${min}` : null;
  const most =
    typeof max === 'number' ? `at most ${max === Number.MAX_SAFE_INTEGER ? '2^53-1' : max}` : null;
  const bounds = [least, most].filter((bound) => bound !== null).join(' and ');
  return bounds === '' ? '' : ` of ${bounds}${unit}`;
}

const PLAIN_SEGMENT = /^[\p{L}\p{N}_$.~:-]{1,64}$/u;
const SEGMENTS_MAX = 16;

/** Cuts a pointer before the first member name that is not a plain word. */
function plainPrefix(pointer: string): string {
  const segments = pointer.split('/').slice(1);
  const odd = segments.findIndex(
    (segment, index) => index >= SEGMENTS_MAX || !PLAIN_SEGMENT.test(segment),
  );
  return segments
    .slice(0, odd === -1 ? undefined : odd)
    .map((segment) => `/${segment}`)
    .join('');
}

const pointerToken = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1');
