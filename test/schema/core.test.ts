/**
 * Tests that the messages of the examples are valid messages of the core protocol of 2026-07-28, and
 * that the types which stand for types of the core have their names.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { coreComplaints, coreTypes } from './core.ts';
import { samples } from './support.ts';

interface Message {
  readonly params?: { readonly _meta?: unknown };
  readonly result?: unknown;
}

const all = samples('examples');
const named = (end: RegExp) => all.filter(({ type }) => end.test(type) && !type.startsWith('JSON'));

describe('the core protocol', () => {
  test('has the types that this schema repeats', () => {
    for (const name of [
      'RequestId',
      'JSONRPCRequest',
      'JSONRPCNotification',
      'JSONRPCResultResponse',
      'MetaObject',
      'RequestMetaObject',
      'RequestParams',
      'NotificationParams',
      'Result',
    ])
      assert.ok(coreTypes.has(name), name);
  });

  for (const { type, file, value } of named(/Request$/))
    test(`${type}/${file} is a request of the core`, () => {
      assert.deepEqual(coreComplaints('JSONRPCRequest', value), []);
      const { params } = value as Message;
      assert.deepEqual(coreComplaints('RequestParams', params), []);
      assert.deepEqual(coreComplaints('RequestMetaObject', params?._meta), []);
    });

  for (const { type, file, value } of named(/Notification$/))
    test(`${type}/${file} is a notification of the core`, () => {
      assert.deepEqual(coreComplaints('JSONRPCNotification', value), []);
    });

  for (const { type, file, value } of named(/ResultResponse$/))
    test(`${type}/${file} is an answer of the core`, () => {
      assert.deepEqual(coreComplaints('JSONRPCResultResponse', value), []);
      assert.deepEqual(coreComplaints('Result', (value as Message).result), []);
    });

  test('rejects a request without the metadata that it requires', () => {
    assert.notDeepEqual(coreComplaints('RequestMetaObject', {}), []);
    assert.notDeepEqual(coreComplaints('RequestParams', {}), []);
    assert.notDeepEqual(coreComplaints('Result', {}), []);
  });
});
