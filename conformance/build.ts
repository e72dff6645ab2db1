/**
 * Builds the kit: compiles it and copies the specification's data into `dist`, so that the
 * published package is complete.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const KIT = dirname(fileURLToPath(import.meta.url));
const DIST = join(KIT, 'dist');
const DATA = [
  'spec-schema/draft/schema.json',
  'sep/requirements.yaml',
  'sep/requirements-events.yaml',
];

rmSync(DIST, { recursive: true, force: true });
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
execFileSync(process.execPath, [tsc, '-p', join(KIT, 'tsconfig.build.json')], { stdio: 'inherit' });
cpSync(join(KIT, 'control.schema.json'), join(DIST, 'control.schema.json'));
for (const file of DATA) cpSync(join(KIT, '..', file), join(DIST, file));
