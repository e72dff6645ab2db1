/**
 * Finds the specification's data: in the repository when the kit runs from its sources, in `dist`
 * when it runs from the published package.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function find(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'spec-schema', 'draft', 'schema.json'))) return folder;
    if (folder === dirname(folder)) {
      throw new Error(
        'The kit cannot find spec-schema/draft/schema.json in any parent folder. Reinstall the package.',
      );
    }
  }
}

const ROOT = find();

/** A file of the specification, by its path from the repository root. */
export const specFile = (...path: string[]): string => join(ROOT, ...path);
