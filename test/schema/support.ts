/** Reads the published files of `spec-schema/draft` as any other implementation would: as JSON. */
import { readdirSync, readFileSync } from 'node:fs';
import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';

const draft = new URL('../../spec-schema/draft/', import.meta.url);

export interface Sample {
  readonly type: string;
  readonly file: string;
  readonly value: unknown;
}

export const readJson = (path: string): unknown =>
  JSON.parse(readFileSync(new URL(path, draft), 'utf8'));

/** Every file of `examples/` or `counter-examples/`. */
export function samples(folder: 'examples' | 'counter-examples'): Sample[] {
  return readdirSync(new URL(`${folder}/`, draft))
    .sort()
    .flatMap((type) =>
      readdirSync(new URL(`${folder}/${type}/`, draft))
        .sort()
        .map((file) => ({ type, file, value: readJson(`${folder}/${type}/${file}`) })),
    );
}

interface Schema {
  readonly $id: string;
  readonly $defs: Readonly<Record<string, object>>;
}
export const schema = readJson('schema.json') as Schema;

const ajv = new Ajv2020({ strict: true, allErrors: true });
ajv.addSchema(schema);

/** All errors of a plain validator, not of the library; empty = valid. */
export function complaints(type: string, value: unknown): readonly ErrorObject[] {
  const validate = ajv.getSchema(`${schema.$id}#/$defs/${type}`);
  if (!validate) throw new Error(`schema.json has no type ${type}`);
  return validate(value) ? [] : (validate.errors ?? []);
}
