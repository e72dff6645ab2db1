/** Where the specification's data lie: the kit runs from its sources and from the published package, at different depths. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function find(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'spec-schema', 'draft', 'schema.json')) && existsSync(join(folder, 'package.json'))) return folder;
    if (folder === dirname(folder)) throw new Error('The kit does not find spec-schema/draft/schema.json in any folder above it: install the whole package.');
  }
}

export const PACKAGE_ROOT = find();

/** A file of the package, by its path from the root. */
export const packageFile = (...path: string[]): string => join(PACKAGE_ROOT, ...path);
