/**
 * Finds the specification's data: the kit runs from its sources, where the data is in the repository, and from the published
 * package, which has a copy in `dist`.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function find(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'spec-schema', 'draft', 'schema.json'))) return folder;
    if (folder === dirname(folder)) {
      throw new Error(
        'The kit cannot find spec-schema/draft/schema.json in any folder above it. Install the whole package again.',
      );
    }
  }
}

const ROOT = find();

/** A file of the specification, by its path from the root of the repository. */
export const specFile = (...path: string[]): string => join(ROOT, ...path);
