/**
 * Tests that requirements named by code and tests exist. A test cites with ids in square brackets
 * in its title, for example `test('[log-contiguous] numbers are 1, 2, 3', …)`; code and prose cite
 * as `sep-0000-<id>` or `@requirement <id>`.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { CHECK_PREFIX, readRows, rowId } from './sep-document.ts';

export interface Citation {
  readonly file: string;
  readonly line: number;
  readonly id: string;
  /** Whether the citation is in the title of a test. */
  readonly title: boolean;
}

const TITLE =
  /\b(?:test|it|describe|property|scenario|check)(?:\.\w+)?\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/g;
const ID = '[a-z]+(?:-[a-z0-9]+)+';

/** Every citation in one source text. */
export function citations(file: string, source: string): Citation[] {
  const lineOf = (offset: number): number => source.slice(0, offset).split('\n').length;
  const found: Citation[] = [];
  for (const match of source.matchAll(TITLE)) {
    for (const list of (match[2] ?? '').matchAll(new RegExp(`\\[(${ID}(?:[ ,]+${ID})*)\\]`, 'g'))) {
      for (const id of (list[1] ?? '').split(/[ ,]+/))
        found.push({ file, line: lineOf(match.index), id, title: true });
    }
  }
  for (const match of source.matchAll(
    new RegExp(`(?:\\b${CHECK_PREFIX}|@requirement\\s+)(${ID})`, 'g'),
  )) {
    found.push({ file, line: lineOf(match.index), id: match[1] ?? '', title: false });
  }
  return found;
}

function everything(): Citation[] {
  const files = globSync(
    '{src,test,reference-server,reference-client,docs,bench}/**/*.{ts,js,md,json}',
    {
      exclude: (name) =>
        name.includes('node_modules') ||
        name.startsWith('test/traceability') ||
        name.startsWith('docs/api'),
    },
  );
  return files.flatMap((file) => citations(file, readFileSync(file, 'utf8')));
}

describe('citations', () => {
  const rows = readRows();
  const known = new Set(rows.map(rowId));
  const all = everything();

  test('name requirements that exist', (context) => {
    const unknown = all
      .filter(({ id }) => !known.has(id))
      .map(({ file, line, id }) => `${file}:${line} cites ${id}`);
    const cited = new Set(all.filter(({ title }) => title).map(({ id }) => id));
    const count = [...known].filter((id) => cited.has(id)).length;
    void context.annotate(
      `${count} of ${known.size} requirements are cited by a test title; ${rows.filter(({ check }) => check !== undefined).length} have a conformance check`,
    );
    void context.annotate(`not cited: ${[...known].filter((id) => !cited.has(id)).join(' ')}`);
    assert.deepEqual(unknown, []);
  });

  test('are found in titles, identifiers and comments', () => {
    const source =
      'test(\'[log-once, log-stable] x [1]\', () => {});\nit("[ack-sent]", f); // sep-0000-cb-start\n/* @requirement cap-levels */';
    assert.deepEqual(
      citations('x.ts', source).map(({ line, id, title }) => `${line} ${id} ${title}`),
      [
        '1 log-once true',
        '1 log-stable true',
        '2 ack-sent true',
        '2 cb-start false',
        '3 cap-levels false',
      ],
    );
  });
});
