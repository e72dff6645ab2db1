/**
 * The schema of the core protocol, revision 2026-07-28, as the official conformance package has it:
 * an object literal inside its bundle. No package publishes the file itself.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';

const PACKAGE = createRequire(import.meta.url).resolve(
  '@modelcontextprotocol/conformance/package.json',
);
const START = '{$schema:`https://json-schema.org/draft/2020-12/schema`,$defs:';
/** A type that earlier revisions do not have. */
const MARK = 'RequestMetaObject:{';

/** Returns the object literal that starts at `from`, up to its closing brace. */
function literalAt(source: string, from: number): string {
  let depth = 0;
  let quote = '';
  for (let at = from; at < source.length; at += 1) {
    const char = source[at]!;
    if (quote !== '') {
      if (char === '\\') at += 1;
      else if (char === quote) quote = '';
    } else if (char === '`' || char === '"' || char === "'") quote = char;
    else if (char === '{') depth += 1;
    else if (char === '}') {
      depth -= 1;
      if (depth === 0) return source.slice(from, at + 1);
    }
  }
  throw new Error('The object literal has no end. Look at how the package is bundled now.');
}

function coreSchema(): { readonly $defs: Readonly<Record<string, object>> } {
  const source = readFileSync(join(dirname(PACKAGE), 'dist', 'index.js'), 'utf8');
  const mark = source.indexOf(MARK);
  const start = source.lastIndexOf(START, mark);
  if (mark < 0 || start < 0)
    throw new Error('The official package contains no schema with RequestMetaObject any more.');
  // Strings only: the literal has no names that a context could resolve.
  return runInNewContext(`(${literalAt(source, start)})`, {}) as ReturnType<typeof coreSchema>;
}

const core = JSON.parse(JSON.stringify(coreSchema())) as ReturnType<typeof coreSchema>;
const ID = 'urn:mcp:core';
const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });
ajv.addSchema({ ...core, $id: ID });

/** The names of the core's types. */
export const coreTypes: ReadonlySet<string> = new Set(Object.keys(core.$defs));

/** All errors of a value of a type of the core; empty = valid. */
export function coreComplaints(type: string, value: unknown): readonly ErrorObject[] {
  const validate = ajv.getSchema(`${ID}#/$defs/${type}`);
  if (!validate) throw new Error(`The core has no type ${type}.`);
  return validate(value) ? [] : (validate.errors ?? []);
}
