/**
 * Tests that the register is true: a row that is met names a test that exists and cites it, and no
 * test cites an unknown row.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { describe, test } from 'vitest';
import { ROOT } from '../../../tidy/sources.ts';
import { registerRows, registerTable, type RegisterRow } from './register.ts';

const TITLE = /\b(?:test|it|describe)\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/g;
const CITATION = /\[SEP-3415 ((?:[RADOU]\d+ ?)+)\]/;

/** The titles of the tests in a file, as written. */
const titlesOf = (source: string): string[] =>
  [...source.matchAll(TITLE)].map(([, , title]) => title!);
/** The rows that a title cites. */
const citedBy = (title: string): string[] =>
  (CITATION.exec(title)?.[1] ?? '').split(' ').filter((id) => id !== '');

/** Rows that a register of server duties must have. */
const range = (letter: string, ...spans: readonly (readonly [number, number])[]): string[] =>
  spans.flatMap(([from, to]) =>
    Array.from({ length: to - from + 1 }, (_, at) => `${letter}${from + at}`),
  );
const WANTED = [
  ...range(
    'R',
    [2, 6],
    [8, 10],
    [15, 16],
    [19, 20],
    [23, 23],
    [27, 31],
    [34, 35],
    [41, 43],
    [48, 57],
    [60, 66],
    [68, 69],
    [71, 76],
    [79, 79],
    [85, 87],
  ),
  ...range('A', [1, 7]),
  ...range('D', [1, 70]),
];

function problems(rows: readonly RegisterRow[], read: (file: string) => string): string[] {
  return rows.flatMap((row) => {
    const kinds = [row.met, row.moot, row.open].filter((one) => one !== undefined);
    if (kinds.length !== 1) return [`${row.id} must be one of met, moot and open`];
    if (row.met === undefined)
      return row.title === undefined && row.note === undefined
        ? []
        : [`${row.id} has a title or a note and is not met`];
    const titles = titlesOf(read(row.met));
    const shown =
      row.title === undefined
        ? titles.some((title) => citedBy(title).includes(row.id))
        : titles.includes(row.title);
    return shown
      ? []
      : [
          `${row.id}: no test of ${row.met} ${row.title === undefined ? 'cites it' : 'has that title'}`,
        ];
  });
}

const read = (file: string): string => readFileSync(`${ROOT}/${file}`, 'utf8');

describe('the register of SEP-3415', () => {
  const rows = registerRows();

  test('has every row once', () => {
    const ids = rows.map(({ id }) => id);
    assert.deepEqual(
      ids.filter((id, at) => ids.indexOf(id) !== at),
      [],
    );
    assert.deepEqual(
      WANTED.filter((id) => !ids.includes(id)),
      [],
    );
  });

  test('names a test that cites the row for everything that is met', () => {
    assert.deepEqual(problems(rows, read), []);
  });

  test('no test cites a row that the register lacks or does not list as met', () => {
    const met = new Set(rows.filter((row) => row.met !== undefined).map(({ id }) => id));
    const files = globSync('test/**/*.test.ts', { cwd: ROOT });
    const wrong = files.flatMap((file) =>
      titlesOf(read(file))
        .flatMap(citedBy)
        .filter((id) => !met.has(id))
        .map((id) => `${file} cites ${id}`),
    );
    assert.deepEqual(wrong, []);
  });

  test('the check detects a false row', () => {
    const sources: Record<string, string> = {
      'a.test.ts': `${'test'}('shows [SEP-3415 R1 D2]', f); test('plain', f);`,
    };
    const found = (row: Partial<RegisterRow>): number =>
      problems([{ id: 'R1', says: 'x', ...row }], (file) => sources[file]!).length;
    assert.equal(found({ met: 'a.test.ts' }), 0);
    assert.equal(found({ met: 'a.test.ts', title: 'plain' }), 0);
    for (const row of [
      { id: 'R2', met: 'a.test.ts' },
      { met: 'a.test.ts', title: 'other' },
      {},
      { met: 'a.test.ts', open: 'x' },
      { open: 'x', note: 'y' },
    ])
      assert.equal(found(row), 1, JSON.stringify(row));
  });

  test('prints a table with a line for each row', () => {
    const lines = registerTable()
      .split('\n')
      .filter((line) => /^\| [RADOU]\d+ \|/.test(line));
    assert.equal(lines.length, rows.length);
    assert.ok(lines.every((line) => line.split(/(?<!\\)\|/).length === 5));
  });
});
