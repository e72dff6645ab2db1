/** The published schema as a validator. It accepts exactly what `schema.json` accepts. */
import { readFileSync } from 'node:fs';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { specFile } from '../spec-files.ts';

const schema = JSON.parse(
  readFileSync(specFile('spec-schema', 'draft', 'schema.json'), 'utf8'),
) as { readonly $id?: string; readonly $defs: Readonly<Record<string, unknown>> };
const ID = schema.$id ?? 'schema.json';
const ajv = new Ajv2020({ strict: false, allErrors: false, schemas: [schema] });
(addFormats as unknown as (target: Ajv2020) => void)(ajv);
const validators = new Map<string, ValidateFunction>();

/** The schema types of each method's result; one of them has to match. */
const RESULT_OF: Readonly<Record<string, readonly string[]>> = {
  'triggers/list': ['ListTriggersResult', 'ListTriggersNotModified'],
  'triggers/subscribe': ['SubscribeResult'],
  'triggers/update': ['UpdateResult'],
  'triggers/get': ['GetResult', 'GetNotModified'],
  'triggers/subscriptions': ['SubscriptionsResult'],
  'triggers/unsubscribe': ['UnsubscribeResult'],
  'triggers/pull': ['PullResult'],
  'triggers/ack': ['AckResult'],
};

/** Null when `value` is a valid `type` of the schema; otherwise the error in one line. */
export function problemOf(type: string, value: unknown): string | null {
  let validate = validators.get(type);
  if (validate === undefined) {
    if (schema.$defs[type] === undefined)
      throw new Error(`schema.json defines no type ${type}. Use the name of a definition.`);
    validate = ajv.compile({ $ref: `${ID}#/$defs/${type}` });
    validators.set(type, validate);
  }
  if (validate(value)) return null;
  const [first] = validate.errors ?? [];
  return `${type}${first?.instancePath ?? ''} ${first?.message ?? 'is not valid'}`;
}

/** Throws unless a method's result has one of its shapes. */
export function requireResult(method: string, result: unknown): void {
  const shapes = RESULT_OF[method];
  if (shapes === undefined) return;
  const problems = shapes.map((shape) => problemOf(shape, result));
  if (!problems.includes(null))
    throw new Error(`${method} returned an invalid result: ${problems.join(' and ')}`);
}
