/** Small promises about the repository itself that nobody remembers to check by hand. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { read, repositoryFiles } from './sources.ts';

const TEXT = /\.(ts|js|mjs|json|md|yaml|yml|sql)$|(^|\/)(LICENSE|run|\.npmrc|\.gitignore)$/;
const files = repositoryFiles().filter((file) => TEXT.test(file) && file !== 'package-lock.json');
const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;

describe('repository', () => {
  test('nothing is left half done', () => {
    const marks = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`);
    assert.deepEqual(files.filter((file) => marks.test(read(file))), []);
  });

  test('no test is skipped for good or run alone', () => {
    const tests = files.filter((file) => /^test\/.*\.ts$/.test(file) && file !== 'test/tidy/repository.test.ts');
    assert.deepEqual(tests.filter((file) => /\b(?:test|it|describe)\.(?:only|skip|todo)\(/.test(read(file))), []);
  });

  test('no path of one machine, no secret', () => {
    const private_ = new RegExp(['/ho' + 'me/', '/wo' + 'rk/', '-----BEGIN (?:RSA |EC )?PRIVATE KEY'].join('|'));
    const allowed = /^test\/egress\/fixtures\//;
    assert.deepEqual(files.filter((file) => !allowed.test(file) && private_.test(read(file))), []);
  });

  test('rooms are small', () => {
    const long = files.filter((file) => /^(src|reference-server|reference-client)\/.*\.ts$/.test(file)).map((file) => [file, read(file).split('\n').length] as const).filter(([, lines]) => lines > 500);
    assert.deepEqual(long, []);
  });

  test('every source file says what it is for', () => {
    const silent = files.filter((file) => /^(src|reference-server|reference-client|scripts|bench)\/.*\.ts$/.test(file)).filter((file) => !/^(#!.*\n)?(\/\*\*|\/\/)/.test(read(file)));
    assert.deepEqual(silent, []);
  });

  test('every dependency earns its place in docs/dependencies.md', () => {
    const text = read('docs/dependencies.md');
    const names = [...Object.keys(manifest['dependencies']!), ...Object.keys(manifest['peerDependencies']!), ...Object.keys(manifest['devDependencies']!)];
    assert.deepEqual(names.filter((name) => !text.includes(`\`${name}\``)), []);
    const listed = [...text.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name!);
    assert.deepEqual(listed.filter((name) => !names.includes(name)), [], 'listed, but not a dependency');
  });

  test('every link between documents leads somewhere', () => {
    const all = new Set(repositoryFiles());
    const broken: string[] = [];
    for (const file of files.filter((one) => one.endsWith('.md'))) {
      for (const [, target] of read(file).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)/g)) {
        const path = new URL(target!, `file:///${file}`).pathname.slice(1).replace(/\/$/, '');
        if (!all.has(path) && ![...all].some((one) => one.startsWith(`${path}/`))) broken.push(`${file}: ${target}`);
      }
    }
    assert.deepEqual(broken, []);
  });
});
