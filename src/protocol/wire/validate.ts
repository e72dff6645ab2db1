/**
 * Validates values against the published `schema.json`, so that the library accepts what the
 * specification accepts. Compiles each type on first use.
 */
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import schema from '../../../spec-schema/draft/schema.json' with { type: 'json' };
import { complaint, type Complaint } from './complaint.ts';
import type { Callback } from '../../../spec-schema/draft/schema.ts';
import { invalidParams } from './errors.ts';
import { parseInstant } from './instant.ts';
import { inspectJson } from './json.ts';
import { Secret } from './secret.ts';
import type { WireTypes } from './wire-types.ts';

export type { Complaint } from './complaint.ts';
export type { WireTypes } from './wire-types.ts';

/** A valid value, or the first complaint about it. */
export type Checked<T> =
  { readonly ok: true; readonly value: T } | ({ readonly ok: false } & Complaint);

/** The names of the types of params. */
export type ParamsName = Extract<keyof WireTypes, `${string}Params`>;

const ajv = new Ajv2020({ strict: true, allErrors: false, verbose: true });
const compiled = new Map<string, ValidateFunction>();

function validator(name: keyof WireTypes): ValidateFunction {
  let validate = compiled.get(name);
  if (!validate) {
    if (compiled.size === 0) ajv.addSchema(schema);
    validate = ajv.getSchema(`${schema.$id}#/$defs/${name}`);
    if (!validate)
      throw new TypeError(`schema.json has no type "${name}". Run \`npm run schema\`.`);
    compiled.set(name, validate);
  }
  return validate;
}

/**
 * Validates a value against a wire type. Returns the value itself, including members that the
 * schema does not name.
 */
export function check<Name extends keyof WireTypes>(
  name: Name,
  value: unknown,
): Checked<WireTypes[Name]> {
  return run<WireTypes[Name]>(validator(name), value);
}

/** Validates the params of a request; absent params are `{}`. Throws `WireError` `InvalidParams`. */
export function parseParams<Name extends ParamsName>(name: Name, value: unknown): WireTypes[Name] {
  const params = value ?? {};
  const unfit = inspectJson(params);
  if (unfit !== null) throw invalidParams('', unfit);
  const checked = check(name, params);
  if (!checked.ok) throw invalidParams(checked.path, checked.expected);
  checkMeaning(checked.value);
  return checked.value;
}

/**
 * Checks what a pattern cannot: that the secret decodes to enough bytes, and that the instant exists
 * in the calendar.
 */
function checkMeaning(params: object): void {
  const { callback, since } = params as {
    readonly callback?: Callback;
    readonly since?: string;
  };
  if (callback) {
    try {
      Secret.parse(callback.secret);
    } catch (cause) {
      throw invalidParams(
        '/callback/secret',
        '"whsec_" and standard base64 of 24 to 64 random bytes',
        { cause },
      );
    }
  }
  if (since !== undefined && Number.isNaN(parseInstant(since))) {
    throw invalidParams('/since', 'an RFC 3339 date-time that exists in the calendar');
  }
}

/** Runs a compiled validator and converts its first error. */
export function run<T>(validate: ValidateFunction, value: unknown): Checked<T> {
  if (validate(value)) return { ok: true, value: value as T };
  return { ok: false, ...complaint(validate.errors) };
}
