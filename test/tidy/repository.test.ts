/** Tests conventions of the repository that nobody would check by hand. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { read, repositoryFiles } from './sources.ts';

const TEXT = /\.(ts|js|mjs|json|md|yaml|yml|sql)$|(^|\/)(LICENSE|run|\.npmrc|\.gitignore)$/;
const files = repositoryFiles().filter((file) => TEXT.test(file) && file !== 'package-lock.json');
const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;

describe('repository', () => {
  test('has no unfinished work', () => {
    const marks = new RegExp(
      `\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`,
    );
    assert.deepEqual(
      files.filter((file) => marks.test(read(file))),
      [],
    );
  });

  test('has no test that is skipped for good or run alone', () => {
    const tests = files.filter(
      (file) => /^test\/.*\.ts$/.test(file) && file !== 'test/tidy/repository.test.ts',
    );
    assert.deepEqual(
      tests.filter((file) => /\b(?:test|it|describe)\.(?:only|skip|todo)\(/.test(read(file))),
      [],
    );
  });

  test('has no path of one machine and no secret', () => {
    const private_ = new RegExp(
      ['/ho' + 'me/', '/wo' + 'rk/', '-----BEGIN (?:RSA |EC )?PRIVATE KEY'].join('|'),
    );
    const allowed = /^test\/egress\/fixtures\//;
    assert.deepEqual(
      files.filter((file) => !allowed.test(file) && private_.test(read(file))),
      [],
    );
  });

  test('has no long file', () => {
    const long = files
      .filter((file) => /^(src|reference-server|reference-client)\/.*\.ts$/.test(file))
      .map((file) => [file, read(file).split('\n').length] as const)
      .filter(([, lines]) => lines > 500);
    assert.deepEqual(long, []);
  });

  test('has a header comment in every source file', () => {
    const silent = files
      .filter((file) =>
        /^(src|reference-server|reference-client|scripts|bench)\/.*\.ts$/.test(file),
      )
      .filter((file) => !/^(#!.*\n)?(\/\*\*|\/\/)/.test(read(file)));
    assert.deepEqual(silent, []);
  });

  test('justifies every dependency in docs/dependencies.md', () => {
    const text = read('docs/dependencies.md');
    const names = [
      ...Object.keys(manifest['dependencies']!),
      ...Object.keys(manifest['peerDependencies']!),
      ...Object.keys(manifest['devDependencies']!),
    ];
    assert.deepEqual(
      names.filter((name) => !text.includes(`\`${name}\``)),
      [],
    );
    const listed = [...text.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name!);
    assert.deepEqual(
      listed.filter((name) => !names.includes(name)),
      [],
      'listed, but not a dependency',
    );
  });

  test('has no broken link between documents', () => {
    const all = new Set(repositoryFiles());
    const broken: string[] = [];
    for (const file of files.filter((one) => one.endsWith('.md'))) {
      for (const [, target] of read(file).matchAll(
        /\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)/g,
      )) {
        const path = new URL(target!, `file:///${file}`).pathname.slice(1).replace(/\/$/, '');
        if (!all.has(path) && ![...all].some((one) => one.startsWith(`${path}/`)))
          broken.push(`${file}: ${target}`);
      }
    }
    assert.deepEqual(broken, []);
  });

  test('has every path that a document names', () => {
    const all = repositoryFiles();
    const folders = new Set(
      all.flatMap((file) =>
        file
          .split('/')
          .slice(0, -1)
          .map((_, at, names) => names.slice(0, at + 1).join('/')),
      ),
    );
    const known = [...all, ...folders];
    const isExport = (text: string): boolean =>
      Object.keys(manifest['exports']!).some(
        (entry) => text === `mcp-triggers-experimental${entry.slice(1)}`,
      );
    /** Written by a command, never committed. */
    const generated = new Set(['dist', 'docs/api', 'checks.json']);
    const isPath = (text: string): boolean =>
      /^(?:[\w.*-]+\/)*[\w.*-]*\w[\w.*-]*\/?$/.test(text) &&
      (/\.(?:ts|mjs|md|json|sql|ya?ml)$/.test(text) ||
        (text.includes('/') && folders.has(text.split('/')[0]!)));
    const missing: string[] = [];
    for (const file of all.filter((one) => one.endsWith('.md') && !one.startsWith('sep/'))) {
      for (const [, quoted] of read(file).matchAll(/`([^`\n]+)`/g)) {
        const path = quoted!.replace(/\/$/, '');
        if (!isPath(quoted!) || isExport(path) || generated.has(path)) continue;
        // From the root, or from the folder that the text is about.
        const pattern = new RegExp(
          `(?:^|/)${path.replaceAll('.', '\\.').replaceAll('*', '[^/]*')}$`,
        );
        if (!known.some((one) => pattern.test(one))) missing.push(`${file}: ${quoted}`);
      }
    }
    assert.deepEqual(missing, []);
  });

  test('has an API reference page that names every entry point and is linked from the README', () => {
    const page = read('docs/reference.md');
    const entries = Object.keys(manifest['exports']!)
      .filter((entry) => entry !== './package.json')
      .map((entry) => `\`mcp-triggers-experimental${entry.slice(1)}\``);
    assert.deepEqual(
      entries.filter((entry) => !page.includes(entry)),
      [],
    );
    assert.ok(read('README.md').includes('](docs/reference.md)'));
    assert.equal(
      (JSON.parse(read('typedoc.json')) as { readme: string }).readme,
      'docs/reference.md',
    );
  });
});
