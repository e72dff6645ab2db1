/**
 * Explores every reachable world of a few small configurations, and proves with mutants that the
 * explorer finds defects.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { MUTANTS } from './defects.ts';
import { explore, type Configuration } from './explore.ts';
import { exploreRotation, ROTATION_MUTANTS } from './rotation.ts';
import type { Exploration } from './search.ts';
import { byTier } from '../../tier.ts';

const CONFIGURATIONS: readonly (readonly [name: string, configuration: Configuration])[] = [
  ['callback, crashes, lease take-over', { events: 4, window: 3, crashes: 1 }],
  ['callback, messages lost for good', { events: 3, window: 2, crashes: 1, losses: true }],
  ['callback with retention', { events: 3, window: 2, crashes: 1, trims: true }],
  ['callback that skips', { events: byTier(2, 3), window: 2, crashes: 1, skip: true }],
  ['callback and stream together', { events: byTier(2, 3), window: 2, crashes: 0, stream: true }],
  [
    'stream that starts anywhere',
    { events: byTier(2, 3), window: 2, crashes: 1, stream: true, jumps: true },
  ],
  ['callback on a store that loses writes', { events: 3, window: 2, crashes: 0, failover: true }],
  [
    'stream on a store that loses writes',
    { events: byTier(1, 2), window: 1, crashes: 0, stream: true, failover: true },
  ],
  [
    'two readers with their own ledgers, one of them restored from a backup',
    { events: byTier(2, 3), window: 2, crashes: 0, pulls: 1 },
  ],
  [
    'renewal while the endpoint is dead',
    { events: 2, window: 2, crashes: byTier(0, 1), halfLeases: byTier(4, 5) },
  ],
  ['somebody confused', { events: 3, window: 2, crashes: 1, confused: true }],
];

/** Fails unless every state is safe and can reach a goal. */
function assertClean({ violation, stuck }: Exploration): void {
  assert.equal(
    violation,
    null,
    violation === null ? '' : `${violation.rule}: ${violation.path.join(' > ')}`,
  );
  assert.equal(stuck, 0, 'states that can never drain');
}

describe('every reachable world', () => {
  for (const [name, configuration] of CONFIGURATIONS) {
    test(`[log-no-silent-loss log-stable ack-cumulative ack-sent cb-one-lease recv-duplicate recv-elsewhere ttl-endpoint ttl-kept] is safe and can drain: ${name}`, (context) => {
      const exploration = explore(configuration);
      const { states, edges } = exploration;
      void context.annotate(`${states} states, ${edges} edges`);
      assertClean(exploration);
      assert.ok(states > 500, 'the configuration is too small to mean anything');
    });
  }
});

describe('every defect is noticed', () => {
  for (const { name, configuration, defect, caughtBy } of MUTANTS) {
    test(`${caughtBy}: ${name}`, (context) => {
      assert.deepEqual(
        { ...explore(configuration), states: 0, edges: 0 },
        { states: 0, edges: 0, violation: null, stuck: 0 },
        'without the defect the same configuration is clean',
      );
      const { states, violation, stuck } = explore(configuration, defect);
      void context.annotate(
        violation === null
          ? `${stuck} of ${states} states can never drain`
          : `${violation.rule}, after: ${violation.path.join(' > ')}`,
      );
      assert.equal(violation === null ? (stuck > 0 ? 'liveness' : 'nothing') : 'safety', caughtBy);
    });
  }
});

describe('secret rotation', () => {
  const CONFIGURATION = { events: byTier(1, 2), secrets: 3, steps: 3 };

  test('[sig-rotation sig-rotation-end sig-rotation-receiver ans-current-only] every reachable world is safe and can drain', (context) => {
    const exploration = exploreRotation(CONFIGURATION);
    void context.annotate(`${exploration.states} states, ${exploration.edges} edges`);
    assertClean(exploration);
    assert.ok(exploration.states > 500, 'the configuration is too small to mean anything');
  });

  for (const { name, defect } of ROTATION_MUTANTS)
    test(`is noticed: ${name}`, (context) => {
      const { violation } = exploreRotation(CONFIGURATION, defect);
      void context.annotate(`${violation?.rule}, after: ${violation?.path.join(' > ')}`);
      assert.notEqual(violation, null);
    });
});
