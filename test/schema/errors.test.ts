/**
 * Tests that the registry of errors refers to existing types, and that the examples of errors are
 * errors of the registry.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { complaints, readJson, samples, schema } from './support.ts';

interface Row {
  readonly name: string;
  readonly code: number;
  readonly when: string;
  readonly data: string | null;
  readonly kinds: readonly string[];
  readonly messages: Readonly<Record<string, string>>;
  readonly retry: { readonly unchanged: boolean; readonly after: string };
}
interface WireErrorObject {
  readonly code: number;
  readonly message: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

const { errors: rows } = readJson('errors.json') as { readonly errors: readonly Row[] };
const typeOf = (row: Row): string | null => row.data?.replace('#/$defs/', '') ?? null;

test('[err-codes] the codes are those of the base protocol and SEP-3415', () => {
  assert.deepEqual(
    rows.map(({ name, code }) => `${name} ${code}`),
    [
      'InvalidParams -32602',
      'Conflict -32602',
      'NotFound -32023',
      'Forbidden -32024',
      'ResourceExhausted -32025',
      'Unsupported -32026',
      'CallbackEndpointError -32027',
      'InternalError -32603',
    ],
  );
});

for (const row of rows) {
  describe(row.name, () => {
    test('refers to a type of schema.json', () => {
      const type = typeOf(row);
      if (type !== null) assert.ok(type in schema.$defs, type);
    });

    test('has a message for every kind', () => {
      assert.deepEqual(Object.keys(row.messages), row.kinds.length > 0 ? row.kinds : ['*']);
    });

    test('states when it occurs and what to do about it', () => {
      assert.ok(row.when.length > 10 && row.retry.after.length > 10);
      assert.equal(typeof row.retry.unchanged, 'boolean');
    });

    test('has an example of every kind whose data validates and whose message is the template', () => {
      const own = samples('examples')
        .filter(({ type, file }) => type === 'ErrorObject' && !file.startsWith('sep-'))
        .map(({ value }) => value as WireErrorObject)
        .filter(
          ({ code, data }) =>
            code === row.code &&
            (row.kinds.length === 0 || row.kinds.includes(String(data?.['kind']))),
        );
      assert.deepEqual(
        row.kinds.filter((kind) => !own.some(({ data }) => data?.['kind'] === kind)),
        [],
      );
      assert.ok(own.length > 0);
      for (const { message, data } of own) {
        const type = typeOf(row);
        if (type === null) assert.equal(data, undefined);
        else assert.deepEqual(complaints(type, data), []);
        const template = row.messages[String(data?.['kind'])] ?? row.messages['*']!;
        assert.equal(
          message,
          template.replace(/\{(\w+)\}/g, (_, member: string) => String(data?.[member])),
        );
      }
    });
  });
}

test('every error example is in the registry', () => {
  for (const { type, file, value } of samples('examples')) {
    if (type !== 'ErrorObject') continue;
    const { code, data } = value as WireErrorObject;
    const fits = rows.some(
      (row) =>
        row.code === code &&
        (typeOf(row) === null ? data === undefined : complaints(typeOf(row)!, data).length === 0),
    );
    assert.ok(fits, file);
  }
});
