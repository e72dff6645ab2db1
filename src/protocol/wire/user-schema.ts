/**
 * Compiles the JSON Schemas of trigger types (`inputSchema`, `payloadSchema`). The operator provides
 * them, but they may be generated or fetched, so their cost is bounded: limited size and depth, local
 * references only, a fixed list of formats (SEP: Trigger types).
 */
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats, { type FormatName } from 'ajv-formats';
import type { JsonObject } from '../../../spec-schema/draft/schema.ts';
import { LocalError } from './errors.ts';
import { inspectJson } from './json.ts';
import { USER_SCHEMA_BYTES_MAX } from './limits.ts';
import { run, type Checked } from './validate.ts';

const DIALECT = /^https:\/\/json-schema\.org\/draft\/2020-12\/schema#?$/;
const FORMATS: FormatName[] = [
  'date',
  'time',
  'date-time',
  'duration',
  'email',
  'hostname',
  'ipv4',
  'ipv6',
  'uri',
  'uri-reference',
  'uuid',
  'json-pointer',
  'regex',
];

/** Validates a value against one compiled schema. */
export type UserValidator = (value: unknown) => Checked<unknown>;

/**
 * Compiles one schema of a trigger type. Throws `LocalError` `schema_refused`, whose message says what
 * to change, also for unknown keywords and formats: a misspelled keyword would validate nothing.
 */
export function compileUserSchema(schema: JsonObject): UserValidator {
  const unfit = inspectJson(schema);
  if (unfit !== null) throw refused(`expected ${unfit}`);
  if (Buffer.byteLength(JSON.stringify(schema)) > USER_SCHEMA_BYTES_MAX)
    throw refused(`expected at most ${USER_SCHEMA_BYTES_MAX} bytes`);
  const { $id: _identity, ...rest } = schema;
  checkKeywords(rest, true);

  const ajv = (compiler ??= makeCompiler());
  try {
    const validate = ajv.compile(rest);
    return (value) => run<unknown>(validate, value);
  } catch (cause) {
    throw refused(cause instanceof Error ? cause.message : 'it does not compile', cause);
  } finally {
    // The validator does not need the compiler, which would otherwise keep every schema.
    ajv.removeSchema(rest);
  }
}

/**
 * One compiler for all schemas: making it costs as much as compiling a dozen schemas, and a server
 * may declare hundreds.
 */
let compiler: Ajv2020 | undefined;

function makeCompiler(): Ajv2020 {
  const ajv = new Ajv2020({
    strict: true,
    strictTypes: false,
    strictTuples: false,
    strictRequired: false,
    allErrors: false,
    verbose: true,
    logger: false,
  });
  formats.default(ajv, { mode: 'fast', formats: FORMATS });
  return ajv;
}

/** Rejects references to other documents, and `$id` or `$schema` below the root. */
function checkKeywords(node: unknown, isRoot: boolean): void {
  if (Array.isArray(node)) return node.forEach((child) => checkKeywords(child, false));
  if (node === null || typeof node !== 'object') return;
  for (const [keyword, value] of Object.entries(node)) {
    if (
      (keyword === '$ref' || keyword === '$dynamicRef') &&
      typeof value === 'string' &&
      !value.startsWith('#')
    ) {
      throw refused(`"${keyword}" must point into the same schema and start with "#"`);
    }
    if (keyword === '$id' && typeof value === 'string')
      throw refused('only the root may have "$id"');
    if (keyword === '$schema' && typeof value === 'string' && !(isRoot && DIALECT.test(value))) {
      throw refused('"$schema" must be https://json-schema.org/draft/2020-12/schema, at the root');
    }
    // The values of these keywords are data, not schemas.
    if (!DATA_KEYWORDS.has(keyword)) checkKeywords(value, false);
  }
}

const DATA_KEYWORDS = new Set(['const', 'enum', 'default', 'examples']);

const refused = (problem: string, cause?: unknown) =>
  new LocalError(
    'schema_refused',
    `A JSON Schema of a trigger type is not supported: ${problem}.`,
    { cause },
  );
