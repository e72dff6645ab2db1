/**
 * Tests that a comment which refers to the proposal names an existing section: `(SEP: Delivery)` or
 * `SEP: Delivery.`
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { read, repositoryFiles } from '../tidy/sources.ts';
import { readModules, readSep } from '../traceability/sep-document.ts';

const headings = new Set(
  [readSep(), ...readModules()].flatMap(({ source }) =>
    [...source.matchAll(/^#+ (.+)$/gm)].map(([, title]) => title!.trim()),
  ),
);

/** Sections named in one text, in both forms; a list has commas, and a line may break inside it. */
function sectionsNamed(text: string): string[] {
  const flat = text.replace(/\n\s*(?:\*|\/\/) ?/g, ' ');
  const inBrackets = [...flat.matchAll(/\(SEP: ([^();`\n]+)[);]/g)].flatMap(([, list]) =>
    list!.split(', '),
  );
  const opening = [...flat.matchAll(/\/\*\*\s+SEP: ([^.`\n]+)\./g)].map(([, title]) => title!);
  return [...inBrackets, ...opening];
}

describe('references to the proposal', () => {
  test('name sections that exist', () => {
    const files = repositoryFiles().filter(
      (file) =>
        /^(src|reference-server|reference-client|scripts|bench|test)\/.*\.ts$/.test(file) &&
        !file.startsWith('test/docs/'),
    );
    const named = files.flatMap((file) =>
      sectionsNamed(read(file)).map((section) => ({ file, section })),
    );
    assert.ok(named.length > 60, `only ${named.length} references were found`);
    const wrong = named
      .filter(({ section }) => !headings.has(section))
      .map(({ file, section }) => `${file}: ${section}`);
    assert.deepEqual(wrong, []);
  });

  test('are found in lists, over line breaks and at the start of a comment', () => {
    const text =
      '/** A (SEP: Delivery, Applying a\n * delivery). */\n/** SEP: Status. Why. */\n/** B (SEP: Nowhere; elsewhere) */';
    assert.deepEqual(sectionsNamed(text), ['Delivery', 'Applying a delivery', 'Nowhere', 'Status']);
    assert.equal(headings.has('Nowhere'), false);
  });
});
