// Tests that the matrix of docs/interop.md has the rows that the tests declare, with the installed
// versions, and that its register is that of the tests. The results come from `npm run interop`.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { declaredRows, hasStaleRegister, matrix, stale } from '../../../scripts/interop.ts';
import type { VersionedRow } from './matrix.ts';

const row = (peer: string, more: Partial<VersionedRow> = {}): VersionedRow => ({
  peer,
  version: '1.0.0',
  role: 'client',
  drain: 'pull',
  exercised: 'order',
  ...more,
});
const document = (table: string) =>
  `# A document\n\n<!-- matrix -->\n\n${table}\n\n<!-- /matrix -->\n`;

const written = (): Promise<string> =>
  readFile(join(import.meta.dirname, '../../../docs/interop.md'), 'utf8');

describe('the register of docs/interop.md', () => {
  test('is the register of the tests', async () => {
    const text = await written();
    assert.equal(hasStaleRegister(text), false, 'Run: npm run interop -- --register');
    assert.equal(hasStaleRegister(text.replace('| R8 |', '| R8a |')), true);
  });
});

describe('the matrix of docs/interop.md', () => {
  test('has every row that a test declares, and no other', async () => {
    assert.deepEqual(stale(await written(), await declaredRows()), [], 'Run: npm run interop');
  });

  test('is sorted, and shows the result of each row', () => {
    const rows = [row('b'), row('a', { era: '2026-07-28' }), row('a', { exercised: 'a | b' })];
    const table = matrix(rows, [
      { ...rows[0]!, passed: true, saw: 'all | in order' },
      { ...rows[1]!, passed: false },
    ]);
    assert.deepEqual(table.split('\n').slice(2), [
      '| `a` | 1.0.0 | client | 2026-07-28 | pull | order | **failed** |',
      '| `a` | 1.0.0 | client | any | pull | a \\| b | did not run |',
      '| `b` | 1.0.0 | client | any | pull | order | passed: all \\| in order |',
    ]);
    assert.deepEqual(stale(document(table), rows), []);
  });

  test('is stale with another version, with a row too many or too few, and with a repeated row', () => {
    const table = document(matrix([row('a')], []));
    assert.deepEqual(stale(table, [row('a', { version: '1.0.1' })]), [
      'missing row: `a` | 1.0.1 | client | any | pull | order',
      'row without a test: `a` | 1.0.0 | client | any | pull | order',
    ]);
    assert.deepEqual(stale(table, []), [
      'row without a test: `a` | 1.0.0 | client | any | pull | order',
    ]);
    assert.deepEqual(stale(table, [row('a'), row('a')]), [
      'row declared by two tests: `a` | 1.0.0 | client | any | pull | order',
    ]);
    assert.deepEqual(stale(document(matrix([row('a'), row('a')], [])), [row('a')]), [
      'row written twice: `a` | 1.0.0 | client | any | pull | order',
    ]);
  });
});
