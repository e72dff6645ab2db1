/**
 * Tests that examples are valid, and that counter-examples fail for the stated reason and for no
 * other.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { exportedInterfaces } from '../../spec-schema/tools/generate.ts';
import { check, type WireTypes } from '../../src/protocol/wire/validate.ts';
import { complaints, samples } from './support.ts';

interface CounterExample {
  readonly because: string;
  readonly instancePath: string;
  readonly keyword: string;
  readonly value: unknown;
}

describe('examples', () => {
  const all = samples('examples');

  test('every interface has one', () => {
    const types = new Set(all.map(({ type }) => type));
    assert.deepEqual(
      exportedInterfaces().filter((name) => !types.has(name)),
      [],
    );
  });

  for (const { type, file, value } of all) {
    test(`${type}/${file} is valid`, () => {
      assert.deepEqual(complaints(type, value), []);
      assert.deepEqual(check(type as keyof WireTypes, value), { ok: true, value });
    });
  }

  test('[gen-ignore-unknown] stay valid with an unknown member', () => {
    for (const { type, value } of all) {
      if (typeof value !== 'object' || value === null) continue;
      assert.deepEqual(
        complaints(type, { ...value, 'example.com/unknown': { nested: [1] } }),
        [],
        type,
      );
    }
  });
});

describe('counter-examples', () => {
  for (const { type, file, value } of samples('counter-examples')) {
    const { because, instancePath, keyword, value: wrong } = value as CounterExample;
    test(`${type}/${file}: ${because}`, () => {
      assert.ok(because.length > 0);
      const found = complaints(type, wrong);
      assert.ok(
        found.some((one) => one.instancePath === instancePath && one.keyword === keyword),
        `found ${JSON.stringify(found.map((one) => [one.instancePath, one.keyword]))}`,
      );
      assert.ok(
        found.every((one) => one.instancePath.startsWith(instancePath)),
        'more than one fault',
      );
    });

    test(`${type}/${file} is rejected without repeating the value`, () => {
      const checked = check(type as keyof WireTypes, wrong);
      assert.ok(!checked.ok);
      assert.ok(checked.path.startsWith(instancePath), `path ${checked.path}`);
      const offending = at(wrong, instancePath);
      if (typeof offending === 'string' && offending.length > 3)
        assert.equal(checked.expected.includes(offending), false);
    });
  }
});

function at(value: unknown, pointer: string): unknown {
  return pointer
    .split('/')
    .slice(1)
    .reduce<unknown>((node, name) => (node as Record<string, unknown>)[name], value);
}
