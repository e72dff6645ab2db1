/** The language-neutral vectors that concern the core, run against it. Their expected values are written by hand. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import {
  classifyAnswer, grantTtl, oldest, renewAfter, statusOf, step, type Effect, type Input, type OnFailure, type Outcome, type Retention, type Step, type Subscription,
  type TtlPolicy,
} from '../../src/core/index.ts';
import answers from '../../spec-schema/draft/vectors/callback-answer.json' with { type: 'json' };
import logs from '../../spec-schema/draft/vectors/log.json' with { type: 'json' };
import grants from '../../spec-schema/draft/vectors/ttl-grant.json' with { type: 'json' };
import { subscription, T0 } from './fixtures.ts';

interface Case { readonly id: number; readonly comment: string; readonly verdict: string }

describe('vectors/ttl-grant', () => {
  interface Grant extends Case {
    readonly suggested?: unknown;
    readonly policy: TtlPolicy;
    readonly expected?: { readonly ttlMs: number | null; readonly renewAfterMs: { readonly from: number; readonly below: number } | null };
  }
  for (const one of grants.cases as readonly Grant[]) {
    test(`${one.id}: ${one.comment}`, () => {
      const suggested = one.suggested as number | null | undefined;
      if (one.verdict === 'invalid') {
        assert.throws(() => grantTtl(suggested, one.policy), { code: 'invalid_input' });
        return;
      }
      const granted = grantTtl(suggested, one.policy);
      assert.equal(granted, one.expected?.ttlMs);
      const range = one.expected?.renewAfterMs ?? null;
      for (const jitter of [0, 0.5, 0.999_999]) {
        const hint = renewAfter(granted, jitter);
        assert.ok(range === null || hint === null ? hint === range : hint >= range.from && hint < range.below, String(hint));
      }
    });
  }
});

describe('vectors/callback-answer', () => {
  interface Answered extends Case {
    readonly sent: { readonly after: number; readonly to: number };
    readonly answer: { readonly status: number; readonly body?: unknown; readonly retryAfter?: string };
    readonly expected: Outcome;
  }
  for (const one of answers.cases as readonly Answered[]) {
    test(`${one.id}: ${one.comment}`, () => {
      const outcome = classifyAnswer({ body: undefined, retryAfter: null, ...one.answer, now: answers.nowMs }, one.sent);
      assert.deepEqual(outcome, one.expected);
      assert.equal(outcome.kind === 'acked' ? 'valid' : 'invalid', one.verdict);
    });
  }
});

describe('vectors/log', () => {
  /** Only wakes somebody: left out of the vectors. */
  const DOORBELLS: ReadonlySet<Effect['type']> = new Set(['wake', 'ready', 'announce']);
  type Given = Partial<Pick<Subscription, 'head' | 'acked' | 'sent' | 'floor' | 'suspended' | 'health'>> & { readonly onFailure?: OnFailure; readonly retention?: Retention };
  interface Story extends Case {
    readonly given: Given;
    readonly inputs: readonly (Record<string, unknown> & { readonly type: string })[];
    readonly expected: { readonly effects: readonly unknown[]; readonly refused?: string; readonly [member: string]: unknown };
  }

  /** What a vector leaves to the implementation: leases, jitter and ages. */
  const complete = ({ afterMs: _later, ...input }: Story['inputs'][number]): Input => ({
    ...(input.type === 'append' ? { acceptedAt: T0 } : {}),
    ...(input.type === 'claim' ? { leaseMs: 20_000 } : {}),
    ...(input.type === 'answer' ? { jitter: 0.5 } : {}),
    ...(input.type === 'trim' ? { oldestAt: T0 } : {}),
    ...input,
  }) as Input;
  const observed = (state: Subscription): Record<string, unknown> => ({ ...state, oldest: oldest(state), status: statusOf(state), lastError: state.health.lastError });
  const shown = (effect: Effect): unknown => (effect.type === 'attempt' ? { type: 'attempt', id: effect.attempt.id, after: effect.attempt.after, to: effect.attempt.to } : effect);

  for (const one of logs.cases as unknown as readonly Story[]) {
    test(`${one.id}: ${one.comment}`, () => {
      let now = logs.nowMs;
      let last: Step = { subscription: subscription({ epoch: 'epoch-one', oldestAt: one.given.head === undefined ? null : T0, ...one.given }), effects: [] };
      one.inputs.forEach((input, at) => {
        now += Number(input['afterMs'] ?? 0);
        const before = last.subscription;
        last = step(before, complete(input), now);
        if (last.refused !== undefined) assert.equal(last.subscription, before);
        if (at < one.inputs.length - 1) assert.equal(last.refused, undefined, `input ${at + 1} was refused`);
      });
      const { effects, refused, ...members } = one.expected;
      assert.equal(last.refused?.kind, refused);
      assert.equal(last.refused === undefined ? 'valid' : 'invalid', one.verdict);
      const state = observed(last.subscription);
      assert.deepEqual(Object.fromEntries(Object.keys(members).map((member) => [member, state[member]])), members);
      assert.deepEqual(last.effects.filter(({ type }) => !DOORBELLS.has(type)).map(shown), effects);
    });
  }
});
