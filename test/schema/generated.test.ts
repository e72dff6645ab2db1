/** Tests that the committed files are what the generators make of schema.ts. */
import { test } from 'vitest';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { exportedTypes, generate } from '../../spec-schema/tools/generate.ts';
import { makeVectors, readVectors } from '../../spec-schema/tools/vectors.ts';
import { schema } from './support.ts';

test('schema.json and wire-types.ts are up to date', () => {
  for (const [path, text] of Object.entries(generate())) {
    assert.equal(
      readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8'),
      text,
      `${path} is stale: run node spec-schema/tools/generate.ts`,
    );
  }
});

test('computed vectors are up to date', () => {
  for (const [name, text] of Object.entries(makeVectors()))
    assert.equal(
      readVectors(name),
      text,
      `${name} is stale: run node spec-schema/tools/vectors.ts make`,
    );
});

test('schema.json defines the exported types and nothing else', () => {
  assert.deepEqual(Object.keys(schema.$defs), exportedTypes());
});

/**
 * The generator drops unknown tags without a warning, so every constraint tag of schema.ts is
 * checked.
 */
test('every constraint tag of schema.ts is in schema.json', () => {
  const source = readFileSync(
    new URL('../../spec-schema/draft/schema.ts', import.meta.url),
    'utf8',
  );
  const generated = JSON.stringify(schema);
  const tags = [...source.matchAll(/@(\w+) (.+?)\s*(?:\*\/)?$/gm)].filter(
    ([, tag]) => !['asType', 'link', 'category', 'exactlyOne', 'atMostOne'].includes(tag!),
  );
  assert.ok(tags.length > 50);
  const wanted = new Map<string, number>();
  for (const [, tag, value] of tags) {
    const member = `"${tag}":${tag === 'pattern' ? JSON.stringify(value) : value}`;
    wanted.set(member, (wanted.get(member) ?? 0) + 1);
  }
  for (const [member, count] of wanted)
    assert.ok(
      generated.split(member).length - 1 >= count,
      `${member} is in schema.ts ${count} times`,
    );
  assert.equal(
    source.split('@asType integer').length - 1 <= generated.split('"type":"integer"').length - 1,
    true,
  );
});

test('[gen-ignore-unknown] every object is open', () => {
  assert.equal(JSON.stringify(schema).includes('"additionalProperties":false'), false);
  assert.equal(JSON.stringify(schema).includes('"unevaluatedProperties"'), false);
});
