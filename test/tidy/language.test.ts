/** No text of the repository has a construction of `scripts/language/rules.ts`. `npm run language -- src/server` lists them for a folder. */
import { describe, expect, test } from 'vitest';
import { causesLogged, piecesOf, type Kind, type Piece } from '../../scripts/language/prose.ts';
import { findingsIn, ROWS, type Row } from '../../scripts/language/rules.ts';
import { isRead } from '../../scripts/language/files.ts';
import { read, repositoryFiles } from './sources.ts';

const pieces = new Map<string, Piece[]>();
const files = repositoryFiles().filter(isRead);
const row = (name: string): Row => ROWS.find((one) => one.name === name)!;
const findingsOf = (text: string, row: Row, file = 'a.ts'): string[] =>
  findingsIn(file, piecesOf(file, text), row);

describe('language', () => {
  test.for(ROWS)('no text has "$name"', { timeout: 600_000 }, (row) => {
    if (pieces.size === 0) for (const file of files) pieces.set(file, piecesOf(file, read(file)));
    const found = [...pieces].flatMap(([file, parts]) => findingsIn(file, parts, row));
    if (found.length > 0) {
      expect.fail(`Write ${row.instead}. ${found.length} found:\n${found.join('\n')}`);
    }
  });

  test('log calls pass an error as `err`', () => {
    const programs = /^(?:src|reference-server|reference-client)\//;
    const found = files
      .filter((file) => programs.test(file))
      .flatMap((file) => causesLogged(file, read(file)).map((line) => `${file}:${line}`));
    expect(
      found,
      'The logger writes an error under `err` only and prints any other as {}.',
    ).toEqual([]);
  });
});

describe('rules of the language', () => {
  test.for(ROWS)('$name: catches the one text and spares the other', (row) => {
    expect(findingsOf(`/** ${row.catches} */\nconst a = 1;`, row)).not.toEqual([]);
    expect(findingsOf(`/** ${row.spares} */\nconst a = 1;`, row)).toEqual([]);
  });

  test.for<[kind: Kind, text: string]>([
    ['comment', '// It is told\nconst a = 1;'],
    ['comment', 'const a = [\n  1, // it is told\n];'],
    ['comment', '/**\n * It is\n * told.\n */\nconst a = 1;'],
    ['comment', '// It is\n// told\nconst a = 1;'],
    ['title', "test('it is told [pos-epoch]', () => {});"],
    ['title', "test.for(rows)('it is told %s', () => {});"],
    ['log', "this.#o.log.warn('it is told', {});"],
    ['log', 'log.error(`it ${a} is told`);'],
    ['error', "throw new WireError('It is told.');"],
    ['error', "const error = invalidParams('/a', 'It is told.');"],
    ['string', "const help = 'it is told';"],
  ])('finds text of kind %s: %s', ([kind, text]) => {
    const parts = piecesOf('a.ts', text).filter(
      (part) => findingsIn('a.ts', [part], row('is told')).length > 0,
    );
    expect(parts.map((part) => part.kind)).toEqual([kind]);
  });

  test('code in a comment and in a document is not text', () => {
    expect(
      findingsOf('// The method `notifications/cancelled`.\nconst a = 1;', row('British spelling')),
    ).toEqual([]);
    expect(
      findingsOf(
        'See `catalogue`.\n\n```ts\nconst catalogue = 1;\n```\n',
        row('British spelling'),
        'a.md',
      ),
    ).toEqual([]);
  });

  test('a requirement id in a title is not text', () => {
    expect(findingsOf(`test('ends ${'['}cb-door life-bell]', () => {});`, row('metaphor'))).toEqual(
      [],
    );
  });

  test('names count word by word', () => {
    expect(findingsOf('const nextRung = 1;', row('metaphor'))).toEqual([
      'a.ts:1 "Rung" in the name nextRung',
    ]);
    expect(findingsOf('const indoor = 2, wrung = 3;', row('metaphor'))).toEqual([]);
    expect(findingsOf('', row('metaphor'), 'src/ladder/a.ts')).toEqual([
      'src/ladder/a.ts:1 "ladder" in the path',
    ]);
  });

  test('a finding has the line of its text', () => {
    const [found] = findingsOf('/**\n * One.\n * It is told.\n */\nconst a = 1;', row('is told'));
    expect(found).toMatch(/^a\.ts:3 /);
  });

  test('a cause in a log call is found', () => {
    const text =
      "\nthis.#o.log.error('x', { cause: error });\nlog.warn('y', { cause });\nnew Error('z', { cause });";
    expect(causesLogged('a.ts', text)).toEqual([2, 3]);
  });
});
