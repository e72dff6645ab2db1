/**
 * Runs the language-neutral vectors that concern the core. Their expected values are written by
 * hand.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import {
  advance,
  begin,
  lastCovered,
  receive,
  type Covering,
  type Cursor,
} from '../../../src/protocol/core/apply.ts';
import {
  callbackStateOf,
  classifyAnswer,
  etagOf,
  grantTtl,
  oldest,
  renewAfter,
  step,
  type Effect,
  type Input,
  type Outcome,
  type Retention,
  type Step,
  type Subscription,
  type SuggestedLifetime,
  type TtlPolicy,
} from '../../../src/protocol/core/index.ts';
import deliveries from '../../../spec-schema/draft/vectors/delivery-apply.json' with { type: 'json' };
import answers from '../../../spec-schema/draft/vectors/callback-answer.json' with { type: 'json' };
import etags from '../../../spec-schema/draft/vectors/subscription-etag.json' with { type: 'json' };
import logs from '../../../spec-schema/draft/vectors/log.json' with { type: 'json' };
import grants from '../../../spec-schema/draft/vectors/ttl-grant.json' with { type: 'json' };
import { check } from '../../../src/protocol/wire/validate.ts';
import { CALLBACK, subscription, T0 } from './fixtures.ts';

interface Case {
  readonly id: number;
  readonly comment: string;
  readonly verdict: string;
}

describe('vectors/ttl-grant', () => {
  interface Grant extends Case {
    readonly ttlMs?: unknown;
    readonly noExpiry?: true;
    readonly policy: TtlPolicy;
    readonly expected?: {
      readonly ttlMs?: number;
      readonly renewAfterMs?: { readonly from: number; readonly below: number };
    };
  }
  for (const one of grants.cases as readonly Grant[]) {
    test(`${one.id}: ${one.comment}`, () => {
      const { ttlMs, noExpiry } = one;
      const suggested = {
        ...(ttlMs === undefined ? {} : { ttlMs }),
        ...(noExpiry === undefined ? {} : { noExpiry }),
      };
      const params = { key: 'k', select: [{ name: 'x' }], ...suggested };
      assert.equal(check('SubscribeRequestParams', params).ok, one.verdict === 'valid');
      if (one.verdict === 'invalid') return;
      const granted = grantTtl(suggested as SuggestedLifetime, one.policy);
      assert.equal(granted, one.expected?.ttlMs ?? null);
      const range = one.expected?.renewAfterMs ?? null;
      for (const jitter of [0, 0.5, 0.999_999]) {
        const hint = renewAfter(granted, jitter);
        assert.ok(
          range === null || hint === null
            ? hint === range
            : hint >= range.from && hint < range.below,
          String(hint),
        );
      }
    });
  }
});

/** The outcome with the names of the vectors. */
function onWire(outcome: Outcome): object {
  if (outcome.kind !== 'acked') return outcome;
  const { ack: ackSequence, ...rest } = outcome;
  return { ...rest, ackSequence };
}

describe('vectors/callback-answer', () => {
  interface Answered extends Case {
    readonly sent: { readonly afterSequence: number; readonly last: number };
    readonly answer: {
      readonly status: number;
      readonly body?: unknown;
      readonly retryAfter?: string;
    };
    readonly expected: { readonly kind: string };
  }
  for (const one of answers.cases as readonly Answered[]) {
    test(`${one.id}: ${one.comment}`, () => {
      const outcome = classifyAnswer(
        { body: undefined, retryAfter: null, ...one.answer, now: answers.nowMs },
        { after: one.sent.afterSequence, to: one.sent.last },
      );
      assert.deepEqual(onWire(outcome), one.expected);
      assert.equal(outcome.kind === 'acked' ? 'valid' : 'invalid', one.verdict);
    });
  }
});

describe('vectors/delivery-apply', () => {
  interface Reading extends Case {
    readonly applied: { readonly epoch: string; readonly sequence: number };
    readonly left: readonly string[];
    readonly delivery: Covering<{ readonly sequence: number }>;
    readonly expected: {
      readonly told: readonly unknown[];
      readonly applied: { readonly epoch: string; readonly sequence: number };
      readonly ackSequence?: number;
      readonly refused?: string;
    };
  }
  for (const one of deliveries.cases as unknown as readonly Reading[]) {
    test(`[recv-elsewhere, recv-missing] ${one.id}: ${one.comment}`, () => {
      const { applied, left, delivery, expected } = one;
      const { subscriptionId } = delivery;
      let cursor: Cursor = { ...begin({ subscriptionId, ...applied }), past: left };
      const told: unknown[] = [];
      let received = receive(cursor, delivery);
      if (received.kind === 'moved') {
        told.push({ told: 'lost', epoch: cursor.epoch, sequence: cursor.sequence });
        cursor = received.cursor;
        received = receive(cursor, delivery);
      }
      for (const entry of received.kind === 'apply' ? received.entries : []) {
        if (entry.type === 'event') told.push({ told: 'event', sequence: entry.event.sequence });
        else if (entry.type === 'gap') told.push({ told: 'gap', ...entry.gap });
        else told.push({ told: 'elsewhere', from: entry.from, to: entry.to });
        cursor = advance(cursor, entry.position.sequence);
      }
      const { epoch, sequence } = cursor;
      const result =
        received.kind === 'apply'
          ? { ackSequence: Math.min(sequence, lastCovered(delivery)) }
          : { refused: received.kind === 'hole' ? 'missing' : 'left' };
      assert.deepEqual({ told, applied: { epoch, sequence }, ...result }, expected);
      assert.equal(received.kind === 'apply' ? 'valid' : 'invalid', one.verdict);
    });
  }
});

describe('vectors/log', () => {
  /** `ready` only wakes a drain, so the vectors omit it. */
  const WAKE_UPS: ReadonlySet<Effect['type']> = new Set(['wake', 'ready', 'announce']);
  type Given = Partial<Pick<Subscription, 'head' | 'acked' | 'sent' | 'floor' | 'health'>> & {
    readonly suspended?: boolean;
    readonly skipAfterMs?: number;
    readonly retention?: Retention;
  };
  interface Story extends Case {
    readonly given: Given;
    readonly inputs: readonly (Record<string, unknown> & { readonly type: string })[];
    readonly expected: {
      readonly effects: readonly unknown[];
      readonly refused?: string;
      readonly [member: string]: unknown;
    };
  }

  const givenState = ({
    suspended = false,
    skipAfterMs,
    ...given
  }: Given): Partial<Subscription> => ({
    ...given,
    ...(skipAfterMs === undefined ? {} : { callback: { ...CALLBACK, skipAfterMs } }),
    suspendedAt: suspended ? T0 : null,
    probeAt: suspended ? T0 : null,
  });
  /** Values that a vector leaves to the implementation: leases, jitter and ages. */
  const complete = ({ afterMs: _later, ...input }: Story['inputs'][number]): Input =>
    ({
      ...(input.type === 'append' ? { acceptedAt: T0 } : {}),
      ...(input.type === 'claim' ? { leaseMs: 20_000 } : {}),
      ...(input.type === 'answer' || input.type === 'verified' ? { jitter: 0.5 } : {}),
      ...(input.type === 'trim' ? { oldestAt: T0 } : {}),
      ...input,
    }) as Input;
  const observed = (state: Subscription): Record<string, unknown> => ({
    ...state,
    oldest: oldest(state),
    state: callbackStateOf(state),
    lastError: state.health.lastError,
  });
  const shown = (effect: Effect): unknown =>
    effect.type === 'attempt'
      ? {
          type: 'attempt',
          id: effect.attempt.id,
          after: effect.attempt.after,
          to: effect.attempt.to,
        }
      : effect;

  for (const one of logs.cases as unknown as readonly Story[]) {
    test(`${one.id}: ${one.comment}`, () => {
      let now = logs.nowMs;
      let last: Step = {
        subscription: subscription({
          epoch: 'epoch-one',
          oldestAt: one.given.head === undefined ? null : T0,
          ...givenState(one.given),
        }),
        effects: [],
      };
      one.inputs.forEach((input, at) => {
        now += Number(input['afterMs'] ?? 0);
        const before = last.subscription;
        last = step(before, complete(input), now);
        if (last.refused !== undefined) assert.equal(last.subscription, before);
        if (at < one.inputs.length - 1)
          assert.equal(last.refused, undefined, `input ${at + 1} was refused`);
      });
      const { effects, refused, ...members } = one.expected;
      assert.equal(last.refused?.kind, refused);
      assert.equal(last.refused === undefined ? 'valid' : 'invalid', one.verdict);
      const state = observed(last.subscription);
      assert.deepEqual(
        Object.fromEntries(Object.keys(members).map((member) => [member, state[member]])),
        members,
      );
      assert.deepEqual(last.effects.filter(({ type }) => !WAKE_UPS.has(type)).map(shown), effects);
    });
  }
});

describe('vectors/subscription-etag', () => {
  interface Shown {
    readonly select?: readonly string[];
    readonly callback?: string | null;
    readonly secret?: string | null;
    readonly ttlMs?: number | null;
    readonly paused?: boolean;
    readonly skipAfterMs?: number | null;
    readonly suspended?: boolean;
    readonly epoch?: string;
    readonly head?: number;
    readonly acked?: number;
    readonly expiresAt?: number;
    readonly lastError?: string | null;
  }
  interface EtagCase extends Case {
    readonly given: Shown;
    readonly steps: readonly Shown[];
    readonly etags: readonly number[];
  }

  const selections = (names: readonly string[]) => names.map((name) => ({ name, arguments: {} }));
  const callbackOf = ({ callback, secret, skipAfterMs }: Shown) =>
    callback === null || callback === undefined
      ? null
      : {
          url: callback,
          secret: secret ?? '',
          previousSecret: null,
          previousUntil: null,
          verifiedAt: T0,
          ...(skipAfterMs ? { skipAfterMs } : {}),
        };

  /** Inputs that change each member that a step of the vector names. */
  function inputsFor(change: Shown, now: Shown, state: Subscription): Input[] {
    const { select, ttlMs, paused, suspended, epoch, head, acked, lastError } = change;
    const configured = {
      ...(select === undefined ? {} : { select: selections(select) }),
      ...(ttlMs === undefined ? {} : { ttlMs }),
      ...(paused === undefined ? {} : { paused }),
      ...('callback' in change || 'secret' in change || 'skipAfterMs' in change
        ? { callback: callbackOf(now) }
        : {}),
      ...(suspended === false ? { resume: true } : {}),
    };
    const outcome: Outcome =
      lastError === null
        ? { kind: 'acked', ack: state.head, reject: null }
        : { kind: 'transient', category: 'timeout', retryAfterMs: null };
    return [
      ...(Object.keys(configured).length === 0
        ? []
        : [
            {
              type: 'configure',
              change: configured as Extract<Input, { type: 'configure' }>['change'],
            } as const,
          ]),
      ...(head === undefined
        ? []
        : [{ type: 'append', count: head - state.head, acceptedAt: T0 } as const]),
      ...(acked === undefined
        ? []
        : [
            { type: 'drain', after: state.acked, to: acked } as const,
            { type: 'ack', position: { epoch: state.epoch, sequence: acked } } as const,
          ]),
      ...(suspended === true ? [{ type: 'verified', ok: false, jitter: 0 } as const] : []),
      ...(epoch === undefined ? [] : [{ type: 'rotate', epoch } as const]),
      ...(lastError === undefined
        ? []
        : [
            { type: 'claim', to: state.head, events: state.head, first: 1, leaseMs: 1000 } as const,
            { type: 'answer', attempt: state.attempts + 1, jitter: 0, outcome } as const,
          ]),
    ];
  }

  for (const one of etags.cases as unknown as readonly EtagCase[]) {
    test(`[etag-config] ${one.id}: ${one.comment}`, () => {
      const { given } = one;
      let shown: Shown = given;
      let state = subscription({
        select: selections(given.select!),
        callback: callbackOf(given),
        ttlMs: given.ttlMs!,
        epoch: given.epoch!,
        head: given.head!,
        acked: given.acked!,
        sent: given.acked!,
        expiresAt: T0 + 3_600_000,
      });
      const seen = [etagOf(state)];
      one.steps.forEach((change, at) => {
        shown = { ...shown, ...change };
        for (const input of inputsFor(change, shown, state)) {
          const { subscription: next, refused } = step(state, input, T0 + at + 1);
          assert.equal(refused, undefined, `step ${at + 1}: ${input.type} was refused`);
          state = next;
        }
        seen.push(etagOf(state));
      });
      assert.deepEqual(
        seen.map((etag) => new Set(seen.slice(0, seen.indexOf(etag) + 1)).size - 1),
        one.etags,
      );
    });
  }
});
