/**
 * Tests the SEP as a text: requirement words only where they bind, one anchor and one row per
 * normative sentence, links that resolve. A sentence without a name cannot be tested, so every
 * other test depends on this one.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  AMBIGUOUS,
  CHECK_PREFIX,
  KEYWORD,
  LEVELS,
  SEP_PATH,
  moduleLevels,
  normalize,
  parseSep,
  readRows,
  readModules,
  readSep,
  rowId,
  slug,
} from './sep-document.ts';
import { urlOf } from './sync-requirements.ts';

const sep = readSep();
const modules = readModules();
const requirements = modules.flatMap((module) => module.requirements);
const rows = readRows();

/** The order of the MCP SEP template, with the sections this SEP adds. */
const PARTS = [
  'Abstract',
  'Motivation',
  'Overview',
  'Specification',
  'Rationale',
  'Backward Compatibility',
  'Place among other proposals',
  'Security Implications',
  'Reference Implementation',
  'Conformance',
  'Open Questions',
  'Acknowledgments',
  'References',
];

/** Relative links of a document whose file or anchor does not exist. */
function brokenLinks(file: string, source: string): string[] {
  const own = parseSep(source, file).targets;
  return [...source.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] ?? '')
    .filter((link) => {
      if (link.startsWith('https://')) return false;
      const [path = '', fragment] = link.split('#');
      if (path === '') return !own.has(fragment ?? '');
      const target = join(dirname(file), path);
      if (!existsSync(target)) return true;
      return (
        fragment !== undefined && !parseSep(readFileSync(target, 'utf8')).targets.has(fragment)
      );
    });
}

describe('SEP text', () => {
  test('has the parts of the template, in order', () => {
    const parts = [...sep.source.matchAll(/^## (.*)$/gm)].map((match) => match[1]);
    assert.deepEqual(parts, PARTS);
  });

  test('is at most 45 KB', () => {
    assert.ok(Buffer.byteLength(sep.source) <= 45_000);
  });

  test('has at most 80 absolute requirements at level log', () => {
    const absolute = rows.filter(({ level, text }) => level === 'log' && /\bMUST\b/.test(text));
    assert.ok(absolute.length <= 80, `it has ${absolute.length}`);
  });

  test('uses requirement words in the modules only', () => {
    assert.deepEqual(
      sep.blocks
        .filter(({ text }) => KEYWORD.test(text))
        .map(({ line, text }) => `${line}: ${text}`),
      [],
    );
  });

  test('does not use the same words without capitals in the modules', () => {
    const ambiguous = modules.flatMap(({ path, blocks }) =>
      blocks
        .filter(({ text }) =>
          AMBIGUOUS.test(normalize(text).replace(/\b(?:MUST|SHALL|SHOULD|MAY)\b/g, '')),
        )
        .map(({ line, text }) => `${path}:${line}: ${text}`),
    );
    assert.deepEqual(ambiguous, []);
  });

  test('gives every normative sentence an anchor of its own', () => {
    assert.deepEqual(
      modules.flatMap(({ unanchored }) => unanchored),
      [],
    );
    assert.deepEqual(
      requirements.filter(({ text }) => !KEYWORD.test(text)),
      [],
    );
  });

  test('has unique, short, grouped identifiers', () => {
    const ids = requirements.map(({ id }) => id);
    assert.deepEqual(
      ids.filter((id, index) => ids.indexOf(id) !== index),
      [],
    );
    assert.deepEqual(
      ids.filter((id) => id.length > 32 || !/^[a-z]+(?:-[a-z0-9]+)+$/.test(id)),
      [],
    );
    const headings = new Set(
      modules.flatMap(({ source }) =>
        [...source.matchAll(/^#+ (.*)$/gm)].map((match) => slug(match[1] ?? '')),
      ),
    );
    assert.deepEqual(
      ids.filter((id) => headings.has(id)),
      [],
      'an identifier must not be the fragment of a heading too',
    );
  });

  test('has links that resolve, as have the documents beside it', () => {
    for (const file of globSync('{sep,docs}/**/*.md', { exclude: ['docs/api/**'] })) {
      const source = readFileSync(file, 'utf8');
      assert.deepEqual(brokenLinks(file, source), [], file);
    }
    assert.deepEqual(
      brokenLinks(
        SEP_PATH,
        '[a](#nowhere) [b](nothing.md) [c](CHANGES.md#nothing) [d](#errors) # Errors',
      ),
      ['#nowhere', 'nothing.md', 'CHANGES.md#nothing', '#errors'],
    );
  });
});

describe('requirements.yaml', () => {
  test('has exactly one row per requirement, in the order of the text, with the same sentence', () => {
    assert.deepEqual(
      rows.map(({ url, text }) => ({ url, text })),
      requirements.map((requirement) => ({ url: urlOf(requirement), text: requirement.text })),
      'run `npx node test/traceability/sync-requirements.ts`',
    );
  });

  test('states for every row how it is checked, or why not, and whom it binds', () => {
    for (const row of rows) {
      const id = rowId(row);
      if (row.excluded === undefined) assert.equal(row.check, `${CHECK_PREFIX}${id}`);
      else {
        assert.equal(row.check, undefined, `${id} is both checked and excluded`);
        assert.match(row.excluded, /^[A-Z].{15,}\.$/s, `${id} needs a reason in a sentence`);
      }
      assert.ok(
        ['server', 'client', 'receiver', 'reader', 'peer'].includes(row.who),
        `${id} binds an unknown role: ${row.who}`,
      );
    }
  });
});

describe('the levels of requirements.yaml', () => {
  const levels = moduleLevels();

  test('are levels, options or modules that exist', () => {
    assert.deepEqual(
      rows
        .filter(({ level }) => !LEVELS.includes(level))
        .map((row) => `${rowId(row)}: ${row.level}`),
      [],
      `give these rows one of: ${LEVELS.join(', ')}`,
    );
  });

  test('are those of the modules that have the sentences', () => {
    const other = rows
      .map((row) => ({ id: rowId(row), level: row.level, module: levels.get(rowId(row)) }))
      .filter(({ level, module }) => module !== undefined && module !== level);
    assert.deepEqual(other, []);
    assert.ok(levels.size > 250, `only ${levels.size} identifiers were found in the modules`);
  });
});

describe('the lint itself', () => {
  const spec = (text: string): string => `## Methods\n\n${text}\n`;

  test('finds a normative sentence without an anchor', () => {
    assert.equal(parseSep(spec('A server MUST answer.')).unanchored.length, 1);
    assert.equal(
      parseSep(spec('- <a id="a-b"></a>A server MUST answer. It MUST also stop.')).unanchored
        .length,
      1,
    );
  });

  test('reads the sentence after an anchor without markdown', () => {
    const { requirements } = parseSep(
      spec(
        '- <a id="a-b"></a>A **server** MUST answer [`x`](#y)\n  in time. Otherwise it is late.',
      ),
    );
    assert.deepEqual(
      requirements.map(({ id, text }) => ({ id, text })),
      [{ id: 'a-b', text: 'A server MUST answer x in time.' }],
    );
  });

  test('does not read requirement words in code blocks', () => {
    assert.deepEqual(parseSep(spec('```text\nA server MUST answer.\n```')).unanchored, []);
  });
});
