/**
 * Checks the packages as they would be published: `publint` reads manifest and files of the library
 * and of the kit, `attw` resolves the types of every entry point of the library. Builds first;
 * `--built` reads dist as it is.
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
  const pack = (...args: string[]): string => {
    const before = readdirSync(folder);
    npm('pack', '--ignore-scripts', '--silent', '--pack-destination', folder, ...args);
    return join(
      folder,
      readdirSync(folder).find((file) => !before.includes(file))!,
    );
  };
  const tarball = pack();
  for (const packed of [tarball, pack('--workspace', 'conformance')])
    run(bin('publint/src/cli.js'), packed, '--strict');
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
