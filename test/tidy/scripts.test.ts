/** Tests how the scripts of this repository end with `--help` and with wrong arguments. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const ended = (file: string, ...args: readonly string[]) =>
  spawnSync(process.execPath, ['--conditions=mcp-triggers-source', file, ...args], {
    cwd: ROOT,
    encoding: 'utf8',
  });

describe('a script', () => {
  for (const [name, file, wrong] of [
    ['bench', 'bench/main.ts', 'nothing-such'],
    ['check', 'scripts/check.ts', 'nothing-such'],
    ['demo', 'scripts/demo.ts', 'nothing-such'],
    ['interop', 'scripts/interop.ts', '--wrong'],
    ['language', 'scripts/language.ts', 'nothing-such'],
    ['readme', 'scripts/readme.ts', '--wrong'],
    ['sample', 'scripts/draw-sample.ts', '--seed=x'],
    ['simulate', 'test/simulation/run.ts', '--count=0'],
  ] as const)
    test(`${name} explains itself with --help, and rejects ${wrong} with exit code 2 and one line`, () => {
      const help = ended(file, '--help');
      assert.deepEqual([help.status, help.stderr], [0, '']);
      assert.ok(help.stdout.startsWith(`Usage: npm run ${name}`), help.stdout);
      const { status, stdout, stderr } = ended(file, wrong);
      assert.deepEqual([status, stdout], [2, '']);
      assert.match(stderr, /^\S.*\. Run with --help to see the usage\.\n$/);
    });
});
