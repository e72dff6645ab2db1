/**
 * Tests rules about the library's source text that an import graph cannot show. The import rules
 * are in `.dependency-cruiser.mjs`.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { read, repositoryFiles } from './sources.ts';

const files = repositoryFiles().filter((file) => /^src\/.*\.ts$/.test(file));

/** Files of the library whose text matches. */
const matching = (pattern: RegExp): string[] => files.filter((file) => pattern.test(read(file)));

describe('source rules', () => {
  test('only two modules keep state about objects that they do not own', () => {
    assert.deepEqual(matching(/\bnew Weak(?:Map|Set)\b/), [
      'src/client/sdk/transport-state.ts',
      'src/server/mcp/attached.ts',
    ]);
  });

  test('only one module uses a member of the SDK that is not public', () => {
    assert.deepEqual(matching(/\w\._(?!meta\b)[a-z]/), ['src/server/mcp/sdk.ts']);
  });
});
