/** Tests when a suspended subscription without expiry ends. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { dueAt, step, type Input, type Subscription } from '../../../src/protocol/core/index.ts';
import { CALLBACK, subscription, T0 } from './fixtures.ts';

const MAX = 64_000;
const bounds = { maxSuspendedMs: MAX };
const endless = (changes: Partial<Subscription> = {}): Subscription =>
  subscription({ ttlMs: null, expiresAt: null, ...changes });
const suspendedBy: Input = { type: 'verified', ok: false, jitter: 0.5 };
const suspended = (): Subscription => step(endless(), suspendedBy, T0, bounds).subscription;

describe('[end-suspended] a subscription without expiry', () => {
  test('ends as failed when its callback has been suspended for the bound', () => {
    const before = suspended();
    assert.equal(before.endsAt, T0 + MAX);
    const alive = step(before, { type: 'tick' }, T0 + MAX - 1, bounds).subscription;
    assert.equal(alive.terminated, null);
    const { subscription: after, effects } = step(before, { type: 'tick' }, T0 + MAX, bounds);
    assert.deepEqual(after.terminated, { reason: 'failed', at: T0 + MAX });
    assert.deepEqual(effects, [{ type: 'terminated', reason: 'failed' }]);
  });

  test('is due when it ends', () => {
    const before = { ...suspended(), probeAt: T0 + 2 * MAX };
    assert.equal(dueAt(before), T0 + MAX);
  });

  for (const input of [
    { type: 'read' },
    { type: 'drain', after: 0, to: 0 },
    { type: 'ack', position: { epoch: endless().epoch, sequence: 0 } },
  ] as const satisfies readonly Input[])
    test(`lives on after ${input.type}, also one that has no other effect`, () => {
      const at = T0 + MAX / 2;
      assert.equal(step(suspended(), input, at, bounds).subscription.endsAt, at + MAX);
    });

  test('is not written by every read', () => {
    const before = suspended();
    assert.equal(step(before, { type: 'read' }, T0 + 999, bounds).subscription, before);
    const after = step(before, { type: 'read' }, T0 + 1000, bounds).subscription;
    assert.equal(after.endsAt, T0 + 1000 + MAX);
  });

  test('cannot be read back to life after its end', () => {
    for (const input of [{ type: 'read' }, { type: 'drain', after: 0, to: 0 }] as const)
      assert.deepEqual(step(suspended(), input, T0 + MAX, bounds).refused, { kind: 'terminated' });
  });

  test('does not end by events, failed probes and time alone', () => {
    const before = suspended();
    for (const input of [
      { type: 'append', count: 1, acceptedAt: T0 },
      suspendedBy,
      { type: 'tick' },
    ] as const)
      assert.equal(step(before, input, T0 + MAX / 2, bounds).subscription.endsAt, T0 + MAX);
  });

  test('has no end any more when it is resumed, gets an expiry or loses its callback', () => {
    const inputs: readonly Input[] = [
      { type: 'verified', ok: true, jitter: 0.5 },
      { type: 'configure', change: { resume: true } },
      { type: 'configure', change: { ttlMs: 1000 } },
      { type: 'configure', change: { callback: null } },
      { type: 'configure', change: { callback: { ...CALLBACK, url: 'https://b.example/' } } },
    ];
    for (const input of inputs)
      assert.equal(step(suspended(), input, T0 + 1, bounds).subscription.endsAt, null);
  });

  test('gets its end when the expiry goes during a suspension', () => {
    const before = step(subscription(), suspendedBy, T0, bounds).subscription;
    assert.equal(before.endsAt, null);
    const change: Input = { type: 'configure', change: { ttlMs: null } };
    assert.equal(step(before, change, T0 + 7, bounds).subscription.endsAt, T0 + 7 + MAX);
  });

  test('without a bound never ends', () => {
    assert.equal(step(endless(), suspendedBy, T0).subscription.endsAt, null);
    assert.equal(step(suspended(), { type: 'read' }, T0).subscription.endsAt, null);
  });
});
