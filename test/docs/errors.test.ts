/**
 * Tests that the error page lists every error: wire errors from the registry, local errors from the
 * type of their codes.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import registry from '../../spec-schema/draft/errors.json' with { type: 'json' };
import { withTable } from '../../scripts/errors-doc.ts';
import { read, repositoryFiles, ROOT } from '../tidy/sources.ts';

/** The first cells of the tables in one part of the page. */
const firstCells = (text: string): string[] =>
  [...text.matchAll(/^\| `([^`]+)`/gm)].map(([, cell]) => cell!);
const page = read('docs/errors.md');
const [, wire = '', local = ''] = page.split(/^## (?:Wire|Local) errors$/m);
const declared =
  /export type LocalErrorCode =([\s\S]*?');/.exec(read('src/protocol/wire/errors.ts'))?.[1] ?? '';
const codes = [...declared.matchAll(/\| '(\w+)'/g)].map(([, code]) => code!);

describe('docs/errors.md', () => {
  test('has the wire errors of the registry', () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      [join(ROOT, 'scripts', 'errors-doc.ts'), '--check'],
      { cwd: ROOT, encoding: 'utf8' },
    );
    assert.equal(status, 0, stderr);
    assert.deepEqual(
      firstCells(wire),
      registry.errors.map(({ name }) => name),
    );
  });

  test('is detected as stale when a row of the registry changes', () => {
    const [first, ...rest] = registry.errors;
    assert.equal(withTable(page, registry.errors), page);
    assert.notEqual(withTable(page, [{ ...first!, code: -1 }, ...rest]), page);
    assert.throws(() => withTable('# Errors', registry.errors), /must have the lines/);
  });

  test('has every code of a LocalError exactly once, and no other', () => {
    assert.ok(codes.length > 15, `only ${codes.length} codes were found`);
    assert.deepEqual(firstCells(local).sort(), [...codes].sort());
  });

  test('every declared code is thrown somewhere', () => {
    const sources = repositoryFiles()
      .filter((file) => /^src\/.*\.ts$/.test(file) && file !== 'src/protocol/wire/errors.ts')
      .map(read);
    // Thrown by name, chosen by a condition, or a row of a decision table.
    const thrown = (code: string) =>
      new RegExp(`LocalError\\(\\s*'${code}'|code: '${code}'|[?:] '${code}'`);
    assert.deepEqual(
      codes.filter((code) => !sources.some((source) => thrown(code).test(source))),
      [],
    );
  });
});
