/**
 * Tests which rows an event matches: against a table, against the definition, and within a bound on
 * memory.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import {
  canonicalText,
  jsonEqual,
  MatchIndex,
  type Selection,
} from '../../../src/protocol/core/index.ts';
import { deleteRow, insertRow, mergeRows } from '../../../src/protocol/core/rows.ts';

type Data = Readonly<Record<string, unknown>>;
const select = (args: Data, name = 'note'): Selection[] => [{ name, arguments: args }];
const match = (index: MatchIndex, data: Data, name = 'note'): number[] =>
  index.match(name, (argument) => data[argument]);

describe('matching', () => {
  const rows: readonly (readonly [args: Data, data: Data, matches: boolean])[] = [
    [{}, {}, true],
    [{}, { list: 'a' }, true],
    [{ list: 'a' }, { list: 'a' }, true],
    [{ list: 'a' }, { list: 'b' }, false],
    [{ list: 'a' }, {}, false],
    [{ list: 'a' }, { list: 'a', more: 1 }, true],
    [{ list: 'a', by: 'me' }, { list: 'a' }, false],
    [{ list: 'a', by: 'me' }, { by: 'me', list: 'a' }, true],
    [{ list: ['a', 'b'] }, { list: 'b' }, true],
    [{ list: ['a', 'b'] }, { list: 'c' }, false],
    [{ list: [] }, { list: 'a' }, false],
    [{ list: 'a' }, { list: ['b', 'a'] }, true],
    [{ list: 'a' }, { list: [] }, false],
    [{ list: ['a', 'b'] }, { list: ['c', 'b'] }, true],
    [{ list: ['a', 'b'] }, { list: ['c', 'd'] }, false],
    [{ n: 1 }, { n: 1 }, true],
    [{ n: 1 }, { n: '1' }, false],
    [{ n: 1 }, { n: 1.0 }, true],
    [{ n: true }, { n: 'true' }, false],
    [{ n: null }, { n: null }, true],
    [{ n: null }, {}, false],
    [{ n: 0 }, { n: -0 }, true],
    [{ o: { a: 1, b: [2] } }, { o: { b: [2], a: 1 } }, true],
    [{ o: { a: 1 } }, { o: { a: 1, b: 2 } }, false],
    [{ a: 'x\ny' }, { a: 'x\ny' }, true],
    [{ a: 'x', b: 'y' }, { a: 'x\n"y"', b: 'y' }, false],
    [{ a: '' }, { a: '' }, true],
    [{ __proto__: null, constructor: 'x' }, { constructor: 'x' }, true],
  ];
  for (const [args, data, matches] of rows) {
    test(`arguments ${JSON.stringify(args)}, event ${JSON.stringify(data)} → ${matches ? 'match' : 'no match'}`, () => {
      const index = new MatchIndex();
      index.add(7, select(args));
      assert.deepEqual(match(index, data), matches ? [7] : []);
      assert.deepEqual(match(index, data, 'other'), []);
    });
  }

  test('[sub-union log-all-matching] a row with several selections matches once, and rows come in ascending order', () => {
    const index = new MatchIndex();
    index.add(9, [
      ...select({ list: 'a' }),
      ...select({}),
      ...select({ list: ['a', 'b'] }),
      ...select({}, 'task'),
    ]);
    index.add(3, select({ by: 'me' }));
    index.add(5, select({ list: 'a' }));
    assert.deepEqual(match(index, { list: 'a', by: 'me' }), [3, 5, 9]);
    assert.deepEqual(match(index, {}, 'task'), [9]);
  });

  test('adding a row again replaces its selections', () => {
    const index = new MatchIndex();
    index.add(1, select({ list: 'a' }));
    index.add(1, select({ list: 'b' }));
    assert.deepEqual(
      [match(index, { list: 'a' }), match(index, { list: 'b' }), index.size],
      [[], [1], 1],
    );
  });

  test('compares a selection with very many combinations instead of indexing it, with the same result', () => {
    const index = new MatchIndex();
    const many = Array.from({ length: 50 }, (_, at) => at);
    const args = { a: many, b: many, c: many, d: many };
    index.add(4, [...select(args), ...select(args)]);
    index.add(2, select({ a: 1 }));
    assert.deepEqual(match(index, { a: 1, b: 49, c: 0, d: [77, 7] }), [2, 4]);
    assert.deepEqual(match(index, { a: 1, b: 49, c: 0, d: 50 }), [2]);
    assert.equal(index.size, 2);
    index.remove(4);
    assert.deepEqual(match(index, { a: 1, b: 49, c: 0, d: 7 }), [2]);
    assert.equal(index.size, 1);
  });

  test('an event full of arrays costs no more than the index it is looked up in', () => {
    const index = new MatchIndex();
    index.add(1, select({ a: 'x', b: 'y', c: 'z' }));
    const large = Array.from({ length: 2000 }, (_, at) => `v${at}`);
    // 8 * 10^9 combinations, but one bucket.
    assert.deepEqual(
      match(index, { a: [...large, 'x'], b: [...large, 'y'], c: [...large, 'z'] }),
      [1],
    );
    assert.deepEqual(match(index, { a: [...large, 'x'], b: large, c: large }), []);
  });

  test('removing every row leaves the index empty', () => {
    const index = new MatchIndex();
    for (let row = 0; row < 50; row += 1)
      index.add(
        row,
        select(
          { [`arg${row}`]: row, wide: Array.from({ length: row * 4 }, (_, at) => at) },
          `type${row % 7}`,
        ),
      );
    for (let row = 0; row < 50; row += 1) index.remove(row);
    index.remove(99);
    assert.equal(index.size, 0);
    let asked = 0;
    for (let type = 0; type < 7; type += 1) index.match(`type${type}`, () => (asked += 1));
    assert.equal(asked, 0, 'no shape is left');
  });

  test('property: the index finds exactly the rows that the definition names', () => {
    const scalar = fc.constantFrom<unknown>('a', 'b', 1, null, true);
    const value = fc.oneof(scalar, fc.array(scalar, { maxLength: 3 }));
    const data = fc.dictionary(fc.constantFrom('p', 'q', 'r'), value, { maxKeys: 3 });
    const selection = fc.record({ name: fc.constantFrom('note', 'task'), arguments: data });
    const members = (one: unknown): unknown[] => (Array.isArray(one) ? one : [one]);
    const defined = (args: Data, event: Data): boolean =>
      Object.entries(args).every(
        ([name, wanted]) =>
          name in event &&
          members(wanted).some((one) =>
            members(event[name]).some((other) => jsonEqual(one, other)),
          ),
      );
    const change = fc.oneof(
      {
        weight: 3,
        arbitrary: fc.record({
          row: fc.nat(9),
          select: fc.array(selection, { minLength: 1, maxLength: 3 }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ row: fc.nat(9), select: fc.constant(null) }) },
    );
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 25 }),
        data,
        fc.constantFrom('note', 'task'),
        (changes, event, name) => {
          const index = new MatchIndex();
          const model = new Map<number, Selection[]>();
          for (const { row, select: wanted } of changes) {
            if (wanted === null) {
              index.remove(row);
              model.delete(row);
            } else {
              index.add(row, wanted);
              model.set(row, wanted);
            }
          }
          const expected = [...model]
            .filter(([, wanted]) =>
              wanted.some((one) => one.name === name && defined(one.arguments, event)),
            )
            .map(([row]) => row);
          assert.deepEqual(
            match(index, event, name),
            expected.sort((a, b) => a - b),
          );
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('an idle subscription takes less than 1 KiB', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const count = 20_000;
    collect();
    const before = process.memoryUsage().heapUsed;
    const index = new MatchIndex();
    for (let row = 0; row < count; row += 1)
      index.add(
        row,
        select({
          owner: `owner-${row}`,
          repository: `repository-${row}`,
          labels: ['bug', 'question'],
        }),
      );
    collect();
    const each = (process.memoryUsage().heapUsed - before) / count;
    assert.deepEqual(
      match(index, { owner: 'owner-77', repository: 'repository-77', labels: 'bug' }),
      [77],
    );
    assert.ok(each < 1024, `${Math.round(each)} bytes each`);
  });
});

describe('row lists', () => {
  test('property: inserting and deleting behave like a sorted set', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(20)), { maxLength: 60 }), (changes) => {
        const rows: number[] = [];
        const model = new Set<number>();
        for (const [insert, row] of changes) {
          if (insert) {
            insertRow(rows, row);
            model.add(row);
          } else {
            deleteRow(rows, row);
            model.delete(row);
          }
          assert.deepEqual(
            rows,
            [...model].sort((a, b) => a - b),
          );
        }
      }),
    );
  });

  test('merging returns a new list, even of a single list', () => {
    const one = [1, 5];
    assert.notEqual(mergeRows([one]), one);
    assert.deepEqual(mergeRows([one, [2, 5, 9], []]), [1, 2, 5, 9]);
    assert.deepEqual(mergeRows([]), []);
  });
});

describe('canonical text', () => {
  test('does not depend on the order of members, and omits what JSON omits', () => {
    assert.equal(
      canonicalText({ b: 1, a: [true, null, { d: 'x', c: -0 }], e: undefined }),
      '{"a":[true,null,{"c":0,"d":"x"}],"b":1}',
    );
  });

  test('sorts names by UTF-16 code units (RFC 8785, section 3.2.3)', () => {
    const names = ['\u20ac', '\r', '\ufb33', '1', '\u{1f600}', '\u0080', '\u00f6'];
    const text = canonicalText(Object.fromEntries(names.map((name) => [name, 0])));
    assert.deepEqual(Object.keys(JSON.parse(text.replaceAll('"1"', '"_1"')) as object), [
      '\r',
      '_1',
      '\u0080',
      '\u00f6',
      '\u20ac',
      '\u{1f600}',
      '\ufb33',
    ]);
  });

  test('property: equal texts mean equal values', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) =>
        assert.equal(canonicalText(JSON.parse(canonicalText(value))), canonicalText(value)),
      ),
    );
  });

  test('[log-all-matching] an audience chooses among the rows of its owners, also after changes', () => {
    const index = new MatchIndex();
    const many = Array.from({ length: 100 }, (_, at) => `v${at}`);
    index.add(1, select({ a: 'x' }), 'ann');
    index.add(2, select({ a: 'x' }), 'bob');
    index.add(3, select({ a: 'y' }), 'bob');
    index.add(4, [...select({}), ...select({ a: 'x' })], 'bob');
    index.add(5, select({ a: [...many, 'x'] }), 'bob');
    index.add(6, select({ a: [...many, 'x'] }), 'eve');
    const matched = (...owners: string[]): number[] =>
      index.match('note', (argument) => ({ a: 'x' })[argument as 'a'], { owners });
    assert.deepEqual(matched('ann'), [1]);
    assert.deepEqual(matched('bob', 'nobody'), [2, 4, 5]);
    assert.deepEqual(matched('ann', 'eve'), [1, 6]);
    assert.deepEqual(matched(), []);
    index.remove(2, 'bob');
    index.remove(1, 'ann');
    index.add(3, select({ a: 'x' }), 'bob');
    assert.deepEqual(matched('ann', 'bob'), [3, 4, 5]);
    for (const row of [3, 4, 5]) index.remove(row, 'bob');
    assert.deepEqual(matched('ann', 'bob'), []);
    assert.equal(index.size, 1);
  });

  test('[type-payload-valid] an absent value matches every argument, if asked for', () => {
    const index = new MatchIndex();
    index.add(1, select({ a: 'x', b: 'y' }));
    index.add(2, select({ a: 'z' }));
    index.add(3, select({}));
    index.add(4, select({ b: Array.from({ length: 100 }, (_, at) => at) }));
    const matched = (known: Readonly<Record<string, unknown>>): number[] =>
      index.match('note', (argument) => known[argument], { absent: 'anything' });
    assert.deepEqual(matched({}), [1, 2, 3, 4]);
    assert.deepEqual(matched({ a: 'x' }), [1, 3, 4]);
    assert.deepEqual(matched({ a: 'z', b: 7 }), [2, 3, 4]);
    assert.deepEqual(matched({ a: null, b: 'y' }), [3]);
  });
});
