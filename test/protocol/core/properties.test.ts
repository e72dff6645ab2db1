/**
 * Runs random histories against a hostile world: messages are lost, duplicated, delayed and
 * reordered, endpoints fail in every way, several drains run at once, processes crash, stores lose
 * writes, clients change their minds. After every action the laws and rules hold; once the faults
 * stop, every log drains and the receiver knows of every number.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  etagOf,
  type Change,
  type Input,
  type Outcome,
  type Subscription,
} from '../../../src/protocol/core/index.ts';
import { CALLBACK, DAY, EPOCH, HOUR, SECOND, T0 } from './fixtures.ts';
import { lawful } from './laws.ts';
import { Physics, brokenRule, genesis, type World } from './world.ts';
import { byTier } from '../../tier.ts';

const FAILURES: readonly Outcome[] = [
  { kind: 'transient', category: 'timeout', retryAfterMs: null },
  { kind: 'transient', category: 'http_5xx', retryAfterMs: HOUR },
  { kind: 'config', category: 'http_4xx' },
  { kind: 'config', category: 'http_4xx' },
  { kind: 'too_large' },
  { kind: 'too_large' },
  { kind: 'gone' },
  { kind: 'refused' },
  { kind: 'refused' },
];
const CHANGES: readonly Change[] = [
  { paused: true },
  { resume: true },
  { paused: false },
  { ttlMs: HOUR },
  { ttlMs: 30 * DAY, resume: true },
  { ttlMs: null, resume: true },
  { callback: { ...CALLBACK, skipAfterMs: HOUR } },
  { callback: null, resume: true },
  { callback: CALLBACK, resume: true },
  {
    callback: {
      ...CALLBACK,
      secret: 'whsec_new',
      previousSecret: CALLBACK.secret,
      previousUntil: T0 + 300 * SECOND,
    },
    resume: true,
  },
  { callback: { ...CALLBACK, url: 'https://receiver.example/other' }, resume: true },
  { select: [], resume: true },
  { retention: { maxAgeMs: HOUR, maxEvents: 5 } },
  { retention: { maxAgeMs: HOUR, maxEvents: 5, maxBytes: 300_000 } },
  {},
];

interface Action {
  readonly type: keyof typeof ACTIONS;
  readonly pick: number;
  readonly size: number;
}
type Act = (world: World, physics: Physics, action: Action) => World;

const pickOf = <T>(list: readonly T[], { pick }: Action): T | undefined =>
  list[pick % Math.max(1, list.length)];
const without = <T>(list: readonly T[], one: T): readonly T[] =>
  list.filter((other) => other !== one);
const feed =
  (make: (world: World, action: Action) => Input): Act =>
  (world, physics, action) =>
    physics.feed(world, make(world, action)).world;

/** One row per possible action; the number is its weight. */
const ACTIONS = {
  publish: [
    6,
    (world, physics) => (world.sub.terminated === null ? physics.publish(world) : world),
  ],
  attempt: [8, (world, physics, { size }) => physics.attempt(world, size)],
  probe: [
    1,
    (world, physics) =>
      physics.feed(world, {
        type: 'claim',
        to: world.sub.acked,
        events: 0,
        first: null,
        leaseMs: 10 * SECOND,
      }).world,
  ],
  arrive: [
    8,
    (world, physics, action) => {
      const message = pickOf(world.net, action);
      return message === undefined
        ? world
        : physics.arrive(
            action.size === 1 ? world : { ...world, net: without(world.net, message) },
            message,
          );
    },
  ],
  lose: [
    2,
    (world, _physics, action) => ({
      ...world,
      net: without(world.net, pickOf(world.net, action)!),
    }),
  ],
  reply: [
    7,
    (world, physics, action) => {
      const reply = pickOf(world.replies, action);
      return reply === undefined
        ? world
        : physics.reply({ ...world, replies: without(world.replies, reply) }, reply);
    },
  ],
  loseReply: [
    1,
    (world, _physics, action) => ({
      ...world,
      replies: without(world.replies, pickOf(world.replies, action)!),
    }),
  ],
  reject: [
    2,
    (world, _physics, action) => {
      const message = pickOf(world.net, action);
      if (
        message === undefined ||
        message.attempt === null ||
        message.delivery.epoch !== world.cursor.epoch
      )
        return world;
      const ack = Math.min(world.cursor.sequence, message.delivery.last);
      // The receiver rejects events; it can only accept the report of a gap.
      return !message.delivery.events.some(({ sequence }) => sequence === ack + 1)
        ? world
        : {
            ...world,
            replies: [...world.replies, { attempt: message.attempt, ack, reject: ack + 1 }],
          };
    },
  ],
  fail: [
    4,
    feed(({ sub }, { pick }) => ({
      type: 'answer',
      attempt: sub.attempts,
      jitter: (pick % 10) / 10,
      outcome: FAILURES[pick % FAILURES.length]!,
    })),
  ],
  // The endpoint acknowledges more than its delivery carried. A false value below `last` cannot be
  // detected, so it is not generated.
  confusedReply: [
    1,
    (world, physics, { size }) =>
      world.sub.attempt === null
        ? world
        : physics.reply(world, { attempt: world.sub.attempt.id, ack: world.sub.attempt.to + size }),
  ],
  streamOpen: [2, (world) => ({ ...world, stream: world.sub.acked })],
  streamJump: [
    1,
    (world, _physics, { size }) => ({
      ...world,
      stream: Math.min(world.sub.head, world.sub.acked + size),
    }),
  ],
  streamSend: [5, (world, physics, { size }) => physics.streamOne(world, size)],
  streamClose: [1, (world) => ({ ...world, stream: null })],
  ack: [
    5,
    (world, physics, action) => {
      const position = pickOf(world.acks, action);
      return position === undefined ? world : physics.feed(world, { type: 'ack', position }).world;
    },
  ],
  confusedAck: [
    1,
    feed(({ sub }, { size, pick }) => ({
      type: 'ack',
      position:
        pick % 2 === 0
          ? { epoch: sub.epoch, sequence: sub.sent + size }
          : { epoch: 'some-other-epoch', sequence: 1 },
    })),
  ],
  pull: [
    2,
    (world, physics, { size }) => {
      const delivery = physics.read(world, world.sub.acked, size);
      const { world: next, result } = physics.feed(world, {
        type: 'drain',
        after: delivery.afterSequence,
        to: delivery.last,
      });
      return result.refused ? world : physics.sent(next, { attempt: null, delivery });
    },
  ],
  configure: [
    3,
    feed((_world, { pick }) => ({ type: 'configure', change: CHANGES[pick % CHANGES.length]! })),
  ],
  verify: [1, feed((_world, { size }) => ({ type: 'verified', ok: size > 1, jitter: 0.5 }))],
  trim: [
    1,
    feed(({ sub }, { size }) => ({
      type: 'trim',
      upTo: sub.floor + size - 1,
      oldestAt: size === 1 ? null : T0,
    })),
  ],
  crash: [
    1,
    (world, physics) => physics.feed({ ...world, stream: null }, { type: 'recover' }).world,
  ],
  wait: [
    4,
    (world, physics, { pick }) => {
      physics.now += [SECOND, 20 * SECOND, 300 * SECOND, HOUR, DAY / 2][pick % 5]!;
      return physics.feed(world, { type: 'tick' }).world;
    },
  ],
  terminate: [0, feed(() => ({ type: 'terminate', reason: 'revoked' }))],
  replicate: [
    1,
    (world) => ({
      ...world,
      replica: { sub: world.sub, log: world.log, published: world.published },
    }),
  ],
  failover: [1, (world, physics) => (world.failovers === 0 ? physics.failover(world) : world)],
} as const satisfies Readonly<Record<string, readonly [weight: number, act: Act]>>;

const NAMES = Object.keys(ACTIONS) as (keyof typeof ACTIONS)[];
const action: fc.Arbitrary<Action> = fc.record({
  type: fc.oneof(
    ...NAMES.filter((name) => ACTIONS[name][0] > 0).map((name) => ({
      weight: ACTIONS[name][0],
      arbitrary: fc.constant(name),
    })),
  ),
  pick: fc.nat(99),
  size: fc.integer({ min: 1, max: 4 }),
});

/**
 * Each drain sends a number for the first time only if it has sent no higher one before (SEP:
 * Delivery).
 */
class Order {
  readonly #sent = new Map<string, { readonly all: Set<number>; max: number }>();

  see(before: World, after: World): void {
    for (const { attempt, delivery } of after.net.slice(before.net.length)) {
      if (attempt === null) continue;
      let drain = this.#sent.get(delivery.epoch);
      if (drain === undefined) this.#sent.set(delivery.epoch, (drain = { all: new Set(), max: 0 }));
      for (let sequence = delivery.afterSequence + 1; sequence <= delivery.last; sequence += 1) {
        assert.ok(
          drain.all.has(sequence) || sequence > drain.max,
          `${sequence} was first sent after ${drain.max}`,
        );
        drain.all.add(sequence);
        drain.max = Math.max(drain.max, sequence);
      }
    }
  }
}

/** Runs a history; throws at the first broken law or rule. */
function live(
  actions: readonly Action[],
  start: Partial<Subscription>,
): { world: World; physics: Physics } {
  const physics = new Physics({ step: lawful });
  const order = new Order();
  const etags = new Set<string>();
  let world = genesis(start);
  for (const one of actions) {
    const before = world;
    world = ACTIONS[one.type][1](before, physics, one);
    const rule = brokenRule(world, before);
    if (rule !== null) assert.fail(`${one.type}: ${rule}`);
    order.see(before, world);
    if (etagOf(before.sub) !== etagOf(world.sub))
      assert.ok(!etags.has(etagOf(world.sub)), 'an ETag came back');
    etags.add(etagOf(world.sub));
  }
  return { world, physics };
}

/** The faults stop: the client comes back, the endpoint answers, nothing is lost any more. */
function heal(world: World, physics: Physics): World {
  let now = physics.feed(world, { type: 'tick' }).world;
  now = physics.feed(now, {
    type: 'configure',
    change: {
      paused: false,
      ttlMs: null,
      callback: { ...CALLBACK, verifiedAt: physics.now },
      resume: true,
    },
  }).world;
  for (let round = 0; round < 4 * (now.sub.head + 2) && now.sub.acked < now.sub.head; round += 1) {
    if (now.sub.attempt !== null || now.sub.retryAt !== null) {
      physics.now = Math.max(physics.now, now.sub.attempt?.leaseUntil ?? 0, now.sub.retryAt ?? 0);
      now = physics.feed(now, { type: 'tick' }).world;
    }
    now = physics.feed(now, { type: 'configure', change: { resume: true } }).world;
    now = physics.attempt({ ...now, net: [], replies: [] }, now.sub.batchLimit ?? 4);
    if (now.net[0] !== undefined) now = physics.arrive(now, now.net[0]);
    if (now.replies[0] !== undefined) now = physics.reply(now, now.replies[0]);
  }
  return now;
}

describe('random histories', () => {
  const histories = fc.array(action, { maxLength: 120, size: 'max' });
  const starts = fc.constantFrom<Partial<Subscription>>(
    {},
    { callback: { ...CALLBACK, skipAfterMs: 1 } },
    { ttlMs: 3 * HOUR, expiresAt: T0 + 3 * HOUR },
    { callback: null },
    { paused: true },
  );

  test('[log-contiguous log-stable log-no-silent-loss ack-cumulative ack-only-said cb-start etag-config sub-only-client-resumes cb-one-lease] keep the laws and rules, and every log drains at the end', (context) => {
    const seen = new Map<string, number>();
    const note = (what: string): unknown => seen.set(what, (seen.get(what) ?? 0) + 1);
    fc.assert(
      fc.property(histories, starts, (actions, start) => {
        const { world, physics } = live(actions, start);
        const healed = heal(world, physics);
        note('runs');
        if (world.sub.suspendedAt !== null) note('suspended');
        if (world.sub.batchLimit !== null) note('split');
        if (world.taken.some(({ id }) => id === null)) note('gap taken');
        if (world.sub.epoch !== EPOCH) note('failed over');
        if (world.sub.callback === null) note('detached');
        if (healed.sub.terminated !== null) {
          note('ended');
          return;
        }
        assert.equal(healed.sub.acked, healed.sub.head, 'the log did not drain');
        if (healed.sub.head === 0) return;
        note('drained');
        assert.deepEqual(
          [healed.cursor.epoch, healed.cursor.sequence],
          [healed.sub.epoch, healed.sub.head],
        );
        assert.equal(brokenRule(healed, null), null);
      }),
      { numRuns: byTier(1000, 3000), seed: 7 },
    );
    void context.annotate([...seen].map(([what, count]) => `${what} ${count}`).join(', '));
    // The histories must reach each of these states; otherwise the test proves nothing.
    for (const what of [
      'suspended',
      'split',
      'gap taken',
      'failed over',
      'detached',
      'ended',
      'drained',
    ])
      assert.ok((seen.get(what) ?? 0) > byTier(10, 30), `${what}: ${seen.get(what) ?? 0}`);
  });

  test('[uns-ends] an ended subscription never changes', () => {
    fc.assert(
      fc.property(histories, histories, (first, second) => {
        const { world, physics } = live([...first, { type: 'terminate', pick: 0, size: 1 }], {});
        const late = second.reduce(
          (now, one) =>
            ['failover', 'replicate'].includes(one.type)
              ? now
              : ACTIONS[one.type][1](now, physics, one),
          world,
        );
        assert.equal(late.sub, world.sub);
      }),
      { numRuns: 200, seed: 7 },
    );
  });

  test('the laws detect a step that breaks them', () => {
    const broken: readonly (readonly [
      why: string,
      change: (before: Subscription, after: Subscription) => Partial<Subscription>,
    ])[] = [
      ['a half', () => ({ head: 0.5 })],
      ['acked above sent', (_before, after) => ({ acked: after.sent + 1 })],
      [
        'head moves back',
        (before) => (before.head > 1 ? { head: before.head - 1, sent: 0, acked: 0 } : {}),
      ],
      ['a new version without a change', (before) => ({ version: before.version + 1 })],
      ['a change without a new version', (before) => ({ version: before.version })],
      ['resumed by itself', () => ({ suspendedAt: null })],
    ];
    for (const [why, change] of broken) {
      const result = fc.check(
        fc.property(histories, (actions) => {
          const physics = new Physics({
            step: (real) =>
              lawful((before, input, now) => {
                const decided = real(before, input, now);
                return decided.refused
                  ? decided
                  : {
                      ...decided,
                      subscription: {
                        ...decided.subscription,
                        ...change(before, decided.subscription),
                      },
                    };
              }),
          });
          actions.reduce((world, one) => ACTIONS[one.type][1](world, physics, one), genesis());
        }),
        { numRuns: 300, seed: 7, endOnFailure: true },
      );
      assert.ok(result.failed, why);
    }
  });
});
