/**
 * Tests that the API reference builds. With the project's options it builds only when every export
 * is documented, every type in a public signature is exported, and every link resolves. The cases
 * show that these options reject code that lacks one of these.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { ROOT } from '../tidy/sources.ts';

const TYPEDOC = join(ROOT, 'node_modules', 'typedoc', 'bin', 'typedoc');
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  exports: Record<string, string | Record<string, string>>;
};
const options = JSON.parse(readFileSync(join(ROOT, 'typedoc.json'), 'utf8')) as {
  entryPoints: string[];
};

function typedoc(
  cwd: string,
  out: string,
): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [TYPEDOC, '--out', out], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  });
  return { status, output: `${stdout}${stderr}` };
}

describe('the API reference', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'mcp-triggers-docs-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('covers every subpath of the package', () => {
    const sources = Object.values(manifest.exports).flatMap((target) =>
      typeof target === 'string' ? [] : [target['mcp-triggers-source']!],
    );
    assert.deepEqual([...options.entryPoints].map((entry) => `./${entry}`).sort(), sources.sort());
  });

  test('is complete: typedoc has nothing to warn of', () => {
    const out = join(folder, 'api');
    const { status, output } = typedoc(ROOT, out);
    assert.equal(status, 0, output);
    assert.ok(existsSync(join(out, 'index.html')));
  });

  const documented = '/**\n * A module.\n *\n * @packageDocumentation\n */\n';
  const cases: readonly (readonly [title: string, source: string, complaint: RegExp | null])[] = [
    [
      'everything documented',
      `${documented}/** Adds. */\nexport const add = (a: number): number => a;\n`,
      null,
    ],
    [
      'the tags of the schema',
      `${documented}/**\n * A count.\n *\n * @asType integer\n * @minimum 0\n */\nexport type Count = number;\n`,
      null,
    ],
    [
      'a function without a comment',
      `${documented}export const add = (a: number): number => a;\n`,
      /add .*does not have any documentation/,
    ],
    [
      'a method without a comment',
      `${documented}/** Adds. */\nexport interface Adder { add(a: number): number }\n`,
      /Adder\.add .*does not have any documentation/,
    ],
    [
      'a type that is not exported',
      `${documented}interface Sum { readonly of: number }\n/** Adds. */\nexport const add = (): Sum => ({ of: 1 });\n`,
      /Sum,? .*not included in the documentation/,
    ],
    [
      'a broken link',
      `${documented}/** Like {@link subtract}. */\nexport const add = (a: number): number => a;\n`,
      /Failed to resolve link/,
    ],
  ];
  for (const [title, source, complaint] of cases) {
    test(`${complaint === null ? 'accepts' : 'refuses'} ${title}`, () => {
      const project = mkdtempSync(join(folder, 'case-'));
      writeFileSync(join(project, 'index.ts'), source);
      // Without a package of its own, typedoc takes the types for those of a dependency.
      writeFileSync(
        join(project, 'package.json'),
        JSON.stringify({ name: 'case', type: 'module' }),
      );
      writeFileSync(
        join(project, 'tsconfig.json'),
        JSON.stringify({
          compilerOptions: { strict: true, target: 'es2023', module: 'nodenext', types: [] },
          files: ['index.ts'],
        }),
      );
      writeFileSync(
        join(project, 'tsdoc.json'),
        readFileSync(join(ROOT, 'tsdoc.json'), 'utf8').replace(
          'typedoc/tsdoc.json',
          join(ROOT, 'node_modules/typedoc/tsdoc.json'),
        ),
      );
      writeFileSync(
        join(project, 'typedoc.json'),
        JSON.stringify({
          ...options,
          readme: 'none',
          entryPoints: ['index.ts'],
          tsconfig: 'tsconfig.json',
        }),
      );
      const { status, output } = typedoc(project, join(project, 'out'));
      if (complaint === null) return assert.equal(status, 0, output);
      assert.notEqual(status, 0, 'typedoc accepted it');
      assert.match(output, complaint);
    });
  }
});
