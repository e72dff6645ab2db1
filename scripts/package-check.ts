/**
 * Checks the package as it would be published: `publint` reads its manifest and files, `attw`
 * resolves the types of every entry point. Builds first; `--built` reads dist as it is.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, npm } from './package/build.ts';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const folder = mkdtempSync(join(tmpdir(), 'package-check-'));
const bin = (path: string): string => join(ROOT, 'node_modules', ...path.split('/'));

function run(script: string, ...args: string[]): void {
  execFileSync(process.execPath, [script, ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}

try {
  build();
  npm('pack', '--ignore-scripts', '--silent', '--pack-destination', folder);
  const tarball = join(
    folder,
    readdirSync(folder).find((file) => file.endsWith('.tgz'))!,
  );
  run(bin('publint/src/cli.js'), tarball, '--strict');
  // The library is ESM only; a CommonJS program loads it with a dynamic import.
  run(
    bin('@arethetypeswrong/cli/dist/index.js'),
    tarball,
    '--profile',
    'esm-only',
    '--format',
    'ascii',
  );
} catch {
  // The tool that failed has printed the cause.
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
