/**
 * The published packages: each tarball has the expected files and installs in an empty folder,
 * every subpath of the library can be imported, and the command of the kit runs.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

/** Packs the package of `cwd` and installs it in a new folder. */
function install(cwd: string, ...options: readonly string[]): { folder: string; packed: Packed } {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-triggers-package-'));
  const output = execFileSync(
    'npm',
    ['pack', '--json', '--pack-destination', folder, ...QUIET, ...options],
    { cwd, encoding: 'utf8' },
  );
  const parsed = JSON.parse(output.slice(output.search(/^[[{]/m))) as
    Packed[] | Record<string, Packed>;
  const packed = Object.values(parsed)[0]!;
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'consumer', private: true, type: 'module' }),
  );
  execFileSync('npm', ['install', join(folder, packed.filename), ...QUIET], {
    cwd: folder,
    encoding: 'utf8',
  });
  return { folder, packed };
}

const topsOf = ({ files }: Packed): string[] =>
  [...new Set(files.map(({ path }) => path.split('/')[0]!))].sort();

let library: ReturnType<typeof install>;
let kit: ReturnType<typeof install>;

beforeAll(() => {
  library = install(ROOT);
  // Packing the library has built the kit too.
  kit = install(join(ROOT, 'conformance'), '--ignore-scripts');
  // Two builds and two installs.
}, 600_000);

afterAll(() => {
  for (const { folder } of [library, kit]) rmSync(folder, { recursive: true, force: true });
});

describe('the library', () => {
  test('contains the library, the schema and the proposal, and nothing else', () => {
    const { files } = library.packed;
    assert.deepEqual(topsOf(library.packed), [
      'LICENSE',
      'README.md',
      'dist',
      'package.json',
      'sep',
      'spec-schema',
    ]);
    assert.ok(files.some(({ path }) => path === 'dist/src/server/index.js'));
    assert.ok(files.some(({ path }) => path === 'dist/src/server/index.d.ts'));
    assert.deepEqual(
      files.filter(({ path }) => /\.test\.|^dist\/conformance\//.test(path)),
      [],
    );
  });

  test('installs no command', () => {
    assert.equal(existsSync(join(library.folder, 'node_modules/.bin', manifest.name)), false);
    assert.equal(
      existsSync(join(library.folder, 'node_modules/.bin/mcp-triggers-conformance')),
      false,
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
        cwd: library.folder,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    });
  }

  test('its types compile in a strict project', () => {
    const { folder } = library;
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

describe('the conformance kit', () => {
  test('contains the command and the data of the specification, and nothing else', () => {
    const { files } = kit.packed;
    assert.deepEqual(topsOf(kit.packed), ['LICENSE', 'README.md', 'dist', 'package.json']);
    for (const path of ['main.js', 'spec-schema/draft/schema.json', 'sep/requirements.yaml'])
      assert.ok(
        files.some((file) => file.path === `dist/${path}`),
        `dist/${path} is missing`,
      );
    assert.deepEqual(
      files.filter(({ path }) => /\.test\.|\/peers\//.test(path)),
      [],
    );
  });

  test('its command runs without the library', () => {
    assert.equal(existsSync(join(kit.folder, 'node_modules', manifest.name)), false);
    const run = (...args: string[]) =>
      spawnSync('npx', ['--no-install', 'mcp-triggers-conformance', ...args], {
        cwd: kit.folder,
        encoding: 'utf8',
      });
    const help = run('--help');
    assert.deepEqual([help.status, help.stderr], [0, '']);
    assert.match(help.stdout, /mcp-triggers-conformance server/);
    // The command reads the requirements and the schema before it connects.
    const nothing = run('server', '--url', 'http://127.0.0.1:9/mcp');
    assert.deepEqual(
      [nothing.status, nothing.stderr],
      [
        3,
        'Nothing was tested: nothing answers at http://127.0.0.1:9. Start the server or correct --url.\n',
      ],
    );
  });
});
