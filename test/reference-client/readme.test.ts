/**
 * Tests that the README matches the programs: example code byte for byte, variables, options, exit
 * codes.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'vitest';
import { EXIT, EXIT_MEANINGS } from '../../reference-client/exit.ts';
import { describeConfig } from '../../reference-server/config.ts';
import { example, fresh } from '../../scripts/readme.ts';

const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
const COLUMNS_MAX = 100;

describe('README', () => {
  test('has up-to-date generated parts', async () => {
    assert.equal(await fresh(readme), readme, 'run: npm run readme');
  });

  test('detects a stale part', async () => {
    const stale = readme.replace('| `TRIGGERS_MODE` |', '| `TRIGGERS_MOOD` |');
    assert.notEqual(stale, readme);
    assert.notEqual(await fresh(stale), stale);
  });

  for (const name of ['server', 'client', 'receiver']) {
    test(`quotes the ${name} example exactly`, async () => {
      assert.ok(readme.includes(await example(`docs/examples/${name}.ts`)));
    });
  }

  test('names every variable of the server and every exit code of the client', () => {
    for (const { name } of describeConfig()) assert.ok(readme.includes(`| \`${name}\` |`), name);
    assert.deepEqual(
      EXIT_MEANINGS.map(([code]) => code),
      Object.values(EXIT),
    );
    for (const [code, meaning] of EXIT_MEANINGS)
      assert.ok(readme.includes(`| ${code} | ${meaning} |`), meaning);
  });

  test('has a demo excerpt that fits a terminal', () => {
    const excerpt = /```text\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
    assert.match(excerpt, /All checks passed/);
    assert.deepEqual(
      excerpt.split('\n').filter((line) => line.length > COLUMNS_MAX),
      [],
    );
  });
});
