/**
 * Tests the capability's settings object: written in the place of the revision, read from either
 * place.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import {
  EXTENSION_ID,
  REVISION,
  type ServerCapability,
} from '../../../spec-schema/draft/schema.ts';
import { capabilityOf, placeCapability } from '../../../src/protocol/wire/capability.ts';
import { LocalError } from '../../../src/protocol/wire/errors.ts';

const settings: ServerCapability = { revision: REVISION, levels: ['log', 'durable'] };
const other: ServerCapability = { revision: REVISION, levels: ['log', 'stream'] };

describe('capability', () => {
  const places: readonly [revision: string | undefined, written: readonly string[]][] = [
    ['2024-11-05', ['experimental']],
    ['2025-11-25', ['experimental']],
    ['2026-07-28', ['extensions']],
    ['2027-01-01', ['extensions']],
    [undefined, ['extensions', 'experimental']],
  ];
  for (const [revision, written] of places) {
    test(`[cap-extensions, cap-experimental] on ${revision ?? 'both eras'} it is written under ${written.join(' and ')}`, () => {
      const placed: Record<string, unknown> = placeCapability<Record<string, unknown>>(
        { tools: {} },
        settings,
        revision,
      );
      assert.deepEqual(placed, {
        tools: {},
        ...Object.fromEntries(written.map((place) => [place, { [EXTENSION_ID]: settings }])),
      });
      assert.deepEqual(capabilityOf(placed, revision), settings);
      assert.deepEqual(capabilityOf(placed), settings);
    });
  }

  test('keeps other capabilities', () => {
    const before = { extensions: { 'other/x': {} }, experimental: { y: {} } };
    assert.deepEqual(placeCapability(before, settings), {
      extensions: { 'other/x': {}, [EXTENSION_ID]: settings },
      experimental: { y: {}, [EXTENSION_ID]: settings },
    });
    assert.deepEqual(before, { extensions: { 'other/x': {} }, experimental: { y: {} } });
  });

  test('prefers the place of the revision', () => {
    const both = {
      extensions: { [EXTENSION_ID]: settings },
      experimental: { [EXTENSION_ID]: other },
    };
    assert.deepEqual(capabilityOf(both, '2026-07-28'), settings);
    assert.deepEqual(capabilityOf(both, '2025-11-25'), other);
  });

  test('reads every form of absence as null', () => {
    for (const none of [
      undefined,
      null,
      {},
      { extensions: null },
      { extensions: {} },
      { extensions: [] },
      { experimental: 'x' },
    ])
      assert.equal(capabilityOf(none), null);
    assert.equal(
      capabilityOf({ extensions: Object.create({ [EXTENSION_ID]: settings }) as object }),
      null,
    );
  });

  test('[cap-revision] reads an absent or unknown revision as absence of the extension', () => {
    for (const other of [
      {},
      null,
      { levels: ['log'] },
      { revision: '2999-01-01', levels: ['log'] },
    ])
      assert.equal(capabilityOf({ extensions: { [EXTENSION_ID]: other } }), null);
  });

  test('[gen-ignore-unknown] accepts levels, options and members of later revisions', () => {
    const later = { ...settings, levels: ['log', 'federated'], options: ['telepathy'], new: 1 };
    assert.deepEqual(capabilityOf({ extensions: { [EXTENSION_ID]: later } }), later);
  });

  test('reports invalid settings as an error, not as absence', () => {
    for (const wrong of [
      { revision: REVISION },
      { revision: REVISION, levels: [] },
      { revision: REVISION, levels: ['stream'] },
      { revision: REVISION, levels: ['log'], jwksUri: 'CANARY' },
    ]) {
      assert.throws(
        () => capabilityOf({ extensions: { [EXTENSION_ID]: wrong } }),
        (error: unknown) =>
          error instanceof LocalError &&
          error.code === 'peer_misbehaved' &&
          !error.message.includes('CANARY'),
      );
    }
  });
});
