/** Tests the envelope of the vector files, and that the lint detects a broken one. */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import {
  add,
  lint,
  readVectors,
  vectorFiles,
  type VectorFile,
} from '../../spec-schema/tools/vectors.ts';

describe('vector files', () => {
  for (const name of vectorFiles())
    test(`${name} is clean`, () => assert.deepEqual(lint(name, readVectors(name)), []));
});

describe('vector lint', () => {
  const name = 'webhook-id.json';
  const original = readVectors(name);
  const broken = (change: (file: any) => void): string[] => {
    const file = JSON.parse(original) as VectorFile;
    change(file);
    return lint(name, `${JSON.stringify(file, null, 2)}\n`);
  };
  const table: readonly [title: string, complaint: RegExp, change: (file: any) => void][] = [
    [
      'a repeated id',
      /case 2 has id 1/,
      (file) => {
        file.cases[1].id = 1;
      },
    ],
    [
      'a missing id',
      /case 3 has id 4/,
      (file) => {
        file.cases.splice(2, 1);
      },
    ],
    [
      'an unexplained flag',
      /flag "new" has no note/,
      (file) => {
        file.cases[0].flags.push('new');
      },
    ],
    [
      'an unused note',
      /no case has the flag of the note "idle"/,
      (file) => {
        file.notes.idle = 'x';
      },
    ],
    [
      'a missing verdict',
      /verdict/,
      (file) => {
        delete file.cases[0].verdict;
      },
    ],
    [
      'another verdict',
      /\/cases\/0\/verdict/,
      (file) => {
        file.cases[0].verdict = 'acceptable';
      },
    ],
    [
      'an empty comment',
      /\/cases\/0\/comment/,
      (file) => {
        file.cases[0].comment = '';
      },
    ],
    [
      'a comment used twice',
      /used twice/,
      (file) => {
        file.cases[1].comment = file.cases[0].comment;
      },
    ],
    [
      'another family',
      /must be in the file/,
      (file) => {
        file.family = 'other';
      },
    ],
    [
      'no cases',
      /\/cases/,
      (file) => {
        file.cases = [];
      },
    ],
  ];
  for (const [title, complaint, change] of table)
    test(`rejects ${title}`, () => assert.match(broken(change).join('\n'), complaint));

  test('rejects another format', () =>
    assert.match(lint(name, original.trimEnd()).join(), /not formatted/));

  test('adds numbers and formats', () => {
    const text = add(original, { id: 99, comment: 'one more', flags: [], verdict: 'valid' });
    assert.deepEqual(lint(name, text), []);
    const { cases } = JSON.parse(text) as VectorFile;
    assert.equal(cases.at(-1)?.id, cases.length);
  });
});
