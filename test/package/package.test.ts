/** What a user installs: the tarball holds what it should, installs in an empty folder, and every subpath can be imported. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { ROOT } from '../tidy/sources.ts';

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  name: string;
  version: string;
  exports: Record<string, unknown>;
};
const QUIET = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];

describe('the package', () => {
  let folder: string;
  let packed: { filename: string; files: { path: string }[] };

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'mcp-triggers-package-'));
    const output = execFileSync('npm', ['pack', '--json', '--pack-destination', folder, ...QUIET], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    const parsed = JSON.parse(output.slice(output.indexOf('\n[') + 1)) as
      (typeof packed)[] | Record<string, typeof packed>;
    packed = Object.values(parsed)[0]!;
    writeFileSync(
      join(folder, 'package.json'),
      JSON.stringify({ name: 'consumer', private: true, type: 'module' }),
    );
    execFileSync('npm', ['install', join(folder, packed.filename), ...QUIET], {
      cwd: folder,
      encoding: 'utf8',
    });
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('holds the library, the schema and the proposal, and nothing else', () => {
    const tops = new Set(packed.files.map(({ path }) => path.split('/')[0]));
    assert.deepEqual([...tops].sort(), [
      'LICENSE',
      'README.md',
      'dist',
      'package.json',
      'sep',
      'spec-schema',
    ]);
    assert.ok(packed.files.some(({ path }) => path === 'dist/src/server/index.js'));
    assert.ok(packed.files.some(({ path }) => path === 'dist/src/server/index.d.ts'));
    assert.equal(
      packed.files.some(({ path }) => /\.test\./.test(path)),
      false,
    );
  });

  test('has the conformance command, which works from the installed package', () => {
    const run = (...args: string[]) =>
      spawnSync('npx', ['--no-install', manifest.name, ...args], { cwd: folder, encoding: 'utf8' });
    const help = run('conformance', '--help');
    assert.deepEqual([help.status, help.stderr], [0, '']);
    assert.match(help.stdout, /conformance server/);
    // It reads the requirements and the schema before it looks for a server.
    const nothing = run('conformance', 'server', '--url', 'http://127.0.0.1:9/mcp');
    assert.deepEqual(
      [nothing.status, nothing.stderr],
      [3, 'Nothing was tested: nothing answers at http://127.0.0.1:9\n'],
    );
  });

  for (const subpath of Object.keys(manifest.exports)) {
    const name = manifest.name + subpath.slice(1);
    test(`${name} can be imported`, () => {
      const json = subpath.endsWith('.json');
      const program = json
        ? `const m = await import(${JSON.stringify(name)}, { with: { type: 'json' } }); if (typeof m.default !== 'object') throw new Error('no object');`
        : `const m = await import(${JSON.stringify(name)}); if (Object.keys(m).length === 0) throw new Error('no exports');`;
      execFileSync(process.execPath, ['--input-type=module', '-e', program], {
        cwd: folder,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    });
  }

  test('its types compile in a strict project of somebody else', () => {
    const imports = Object.keys(manifest.exports)
      .filter((subpath) => !subpath.endsWith('.json'))
      .map(
        (subpath, at) =>
          `import * as m${at} from '${manifest.name}${subpath.slice(1)}';\nexport { m${at} };`,
      );
    writeFileSync(join(folder, 'index.ts'), imports.join('\n'));
    const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
    const types = join(ROOT, 'node_modules', '@types');
    const options = [
      '--strict',
      '--noEmit',
      '--skipLibCheck',
      '--module',
      'nodenext',
      '--target',
      'es2023',
      '--exactOptionalPropertyTypes',
      '--typeRoots',
      types,
      '--types',
      'node',
    ];
    execFileSync(process.execPath, [tsc, ...options, 'index.ts'], {
      cwd: folder,
      encoding: 'utf8',
    });
  });
});
