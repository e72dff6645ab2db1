/**
 * The exhaustive explorer: visits every world that a small configuration can reach, with the
 * production functions deciding. It answers two questions: is every reachable world safe, and can
 * every reachable world still drain? Random tests cannot answer the second one; it finds, for
 * example, a log whose retention trims without a gap.
 */
import { T0 } from './fixtures.ts';
import type { Subscription } from '../../../src/protocol/core/index.ts';
import { search, type Action, type Exploration } from './search.ts';
import {
  HALF_LEASE_MS,
  LEASE_MS,
  Physics,
  brokenRule,
  genesis,
  type Defect,
  type Message,
  type Reader,
  type World,
} from './world.ts';

/** The possible actions, and the number of times each may happen. */
export interface Configuration {
  readonly events: number;
  /** Events per callback attempt, and unacknowledged events on a stream. */
  readonly window: number;
  readonly crashes: number;
  /** Messages can be lost for good, not only delayed. */
  readonly losses?: boolean;
  readonly trims?: boolean;
  readonly stream?: boolean;
  /** A stream can open at every position of the log, not only at the acknowledged one. */
  readonly jumps?: boolean;
  readonly failover?: boolean;
  /** The endpoint answers 413, or rejects an event forever. */
  readonly skip?: boolean;
  /** A client acknowledges more than was sent. */
  readonly confused?: boolean;
  /**
   * A second reader with its own ledger pulls and acknowledges this many times, and the ledger of
   * the first one is once restored from a backup.
   */
  readonly pulls?: number;
  /**
   * The subscription has a lifetime, which the client renews when it likes; its endpoint dies once;
   * and this many halves of a lifetime pass.
   */
  readonly halfLeases?: number;
}

function* actions(world: World, physics: Physics, c: Configuration): Generator<Action<World>> {
  const { sub } = world;
  physics.now = T0 + (world.lease?.time ?? 0) * HALF_LEASE_MS;
  if (sub.terminated !== null) return;
  if (world.lease !== null) yield* leaseActions(world, world.lease, physics, c);
  if (world.published < c.events) yield ['publish', physics.publish(world)];
  for (let size = 1; size <= c.window && sub.attempt === null; size += 1)
    yield [`attempt(${size})`, physics.attempt(world, size)];
  for (const message of world.lease?.isUp === false ? [] : world.net) {
    const { attempt, delivery } = message;
    yield [
      `arrive(${attempt === null ? 'stream' : 'callback'} ${delivery.afterSequence}..${delivery.last})`,
      physics.arrive(world, message),
    ];
  }
  if (c.losses === true)
    for (const message of world.net)
      yield [
        `lose(${message.delivery.afterSequence}..${message.delivery.last})`,
        { ...world, net: world.net.filter((one) => one !== message) },
      ];
  for (const reply of world.replies) yield [`answer(${reply.ack})`, physics.reply(world, reply)];
  if (sub.attempt !== null) yield ['lease runs out', physics.loseAttempt(world)];
  if (world.crashes < c.crashes)
    yield [
      'crash',
      physics.feed({ ...world, crashes: world.crashes + 1, stream: null }, { type: 'recover' })
        .world,
    ];
  if (c.trims === true && sub.floor < sub.head && sub.floor < c.events - 1)
    yield [
      `trim(${sub.floor + 1})`,
      physics.feed(world, { type: 'trim', upTo: sub.floor + 1, oldestAt: null }).world,
    ];
  if (c.stream === true) {
    const last = c.jumps === true ? Math.max(sub.acked, sub.head - 1) : sub.acked;
    if (world.stream === null)
      for (let after = sub.acked; after <= last; after += 1)
        yield [`stream opens after ${after}`, { ...world, stream: after }];
    else yield ['stream sends', physics.streamOne(world, c.window)];
    if (world.stream !== null) yield ['stream closes', { ...world, stream: null }];
    for (const position of world.acks)
      yield [`ack(${position.sequence})`, physics.feed(world, { type: 'ack', position }).world];
  }
  if (c.failover === true && world.failovers === 0) {
    yield ['replicate', { ...world, replica: { sub, log: world.log, published: world.published } }];
    yield ['fail over', physics.failover(world)];
  }
  if (c.skip === true && sub.attempt?.events === 1) {
    const { id: attempt } = sub.attempt;
    for (const kind of ['too_large', 'refused'] as const)
      yield [
        `answer(${kind})`,
        physics.feed(world, { type: 'answer', attempt, jitter: 0, outcome: { kind } }).world,
      ];
  }
  if (world.second !== null) {
    const { second } = world;
    for (let size = 1; size <= c.window && second.pulls < c.pulls!; size += 1)
      yield [`pull(${size})`, physics.pull(world, size)];
    if (c.stream !== true)
      for (const position of world.acks)
        yield [`ack(${position.sequence})`, physics.feed(world, { type: 'ack', position }).world];
    const { cursor, taken } = world;
    if (second.restores === 0) {
      yield ['back up', { ...world, second: { ...second, backup: { cursor, taken } } }];
      if (second.backup !== null)
        yield [
          'restore',
          { ...world, ...second.backup, second: { ...second, backup: null, restores: 1 } },
        ];
    }
  }
  if (c.confused === true) {
    if (sub.sent < sub.head)
      yield [
        `confused ack(${sub.head})`,
        physics.feed(world, { type: 'ack', position: { epoch: sub.epoch, sequence: sub.head } })
          .world,
      ];
    if (sub.attempt !== null && sub.attempt.to < sub.head)
      yield [
        `confused answer(${sub.head})`,
        physics.passBackoff(physics.reply(world, { attempt: sub.attempt.id, ack: sub.head })),
      ];
  }
}

/** The actions of a configuration with a lifetime and an endpoint that dies. */
function* leaseActions(
  world: World,
  lease: NonNullable<World['lease']>,
  physics: Physics,
  { halfLeases = 0 }: Configuration,
): Generator<Action<World>> {
  const { sub } = world;
  const { time, isUp, deaths, renewed } = lease;
  if (renewed < time) yield ['renew', physics.renew(world)];
  if (time < halfLeases) yield ['half a lease passes', physics.passTime(world)];
  if (isUp && deaths === 0)
    yield [
      'the endpoint dies',
      { ...world, net: [], replies: [], lease: { ...lease, isUp: false, deaths: 1 } },
    ];
  if (!isUp) yield ['the endpoint comes back', { ...world, lease: { ...lease, isUp: true } }];
  if (!isUp && sub.attempt !== null)
    yield [
      'answer(gone)',
      physics.feed(world, {
        type: 'answer',
        attempt: sub.attempt.id,
        jitter: 0,
        outcome: { kind: 'gone' },
      }).world,
    ];
  if (sub.probeAt !== null)
    yield [
      `probe ${isUp ? 'proves' : 'fails'}`,
      physics.feed(
        world,
        { type: 'verified', ok: isUp, jitter: 0 },
        Math.max(physics.now, sub.probeAt),
      ).world,
    ];
}

/**
 * The key of a world. Two worlds with the same key behave the same. Omits what cannot affect
 * behavior: health counters, and the attempt an old message belonged to, since `step` only asks
 * whether it is the current one.
 */
function keyOf(world: World): string {
  const { sub, replica, second, lease } = world;
  const read = ({ cursor, taken }: Reader): string =>
    `${cursor.epoch[5]}${cursor.sequence}:${taken.map(({ epoch, sequence, id, elsewhere }) => `${epoch[5]}${sequence}${id}${elsewhere ? 'e' : ''}`)}`;
  const counters = ({ sub: s, log }: Pick<World, 'sub' | 'log'>): string =>
    [
      s.epoch[5],
      s.head,
      s.acked,
      s.sent,
      s.floor,
      s.batchLimit,
      s.attempt && `${s.attempt.after}-${s.attempt.to}-${s.attempt.first}`,
      log.map((item) => `${item.sequence}${item.gap ?? item.encoded}`),
    ].join();
  return [
    counters(world),
    world.net.map((message) => messageKey(message, world)).sort(),
    world.replies.map(({ attempt, ack }) => `${ack}${attempt === sub.attempt?.id}`).sort(),
    world.acks.map(({ epoch, sequence }) => epoch[5]! + sequence).sort(),
    world.stream,
    world.covered,
    read(world),
    second &&
      `${read(second.reader)} ${second.pulls} ${second.restores} ${second.backup && read(second.backup)} ${world.known.epoch[5]}${world.known.sequence}`,
    world.published,
    world.crashes,
    world.failovers,
    replica && counters(replica),
    lease && leaseKey(lease, sub),
  ].join('|');
}

/** Of the health, only the start of the failures matters: it decides about a suspension. */
function leaseKey(
  { time, renewed, isUp, deaths }: NonNullable<World['lease']>,
  { suspendedAt, terminated, expiresAt, health: { failingSince } }: Subscription,
): string {
  const failing = failingSince && Math.floor((failingSince - T0) / HALF_LEASE_MS);
  return [
    time,
    renewed,
    isUp,
    deaths,
    suspendedAt !== null,
    terminated?.reason,
    expiresAt,
    failing,
  ].join();
}

function messageKey({ attempt, delivery }: Message, { sub, second }: World): string {
  const kind = attempt === null ? 's' : attempt === sub.attempt?.id ? 'c' : 'o';
  // With one reader, everything acknowledged is applied.
  const acked = second !== null && delivery.afterSequence <= delivery.acked ? 'a' : '';
  return `${kind}${acked}${delivery.epoch[5]}${delivery.afterSequence}:${delivery.events.map(({ sequence, id }) => sequence + id)}:${(delivery.gaps ?? []).map(({ from, to }) => `${from}-${to}`)}`;
}

/** Messages and answers are sets: the network may deliver each any number of times. */
function normal(world: World): World {
  const once = <T>(list: readonly T[], key: (one: T) => string): readonly T[] =>
    list.length < 2 ? list : [...new Map(list.map((one) => [key(one), one])).values()];
  return {
    ...world,
    net: once(world.net, (message) => messageKey(message, world)),
    replies: once(
      world.replies,
      ({ attempt, ack }) => `${ack}${attempt === world.sub.attempt?.id}`,
    ),
    acks: once(world.acks, ({ epoch, sequence }) => epoch + sequence),
  };
}

const drained = ({ sub, published }: World, c: Configuration): boolean =>
  sub.acked === sub.head && published === c.events;

/** Explores one configuration, with a defect if one is given. */
export function explore(
  configuration: Configuration,
  defect: Defect = {},
  statesMax?: number,
): Exploration {
  const physics = new Physics(defect);
  return search<World>(
    {
      start: genesisOf(configuration),
      *actions(world) {
        for (const [name, next] of attempted(world, physics, configuration))
          if (next !== world) yield [name, normal(next)];
      },
      keyOf,
      brokenRule,
      isGoal: (world) => drained(world, configuration),
      // A subscription that ended drains no more.
      isExempt: ({ sub }) => sub.terminated !== null,
    },
    statesMax,
  );
}

function genesisOf({ pulls, halfLeases }: Configuration): World {
  const world = genesis(
    halfLeases === undefined ? {} : { ttlMs: LEASE_MS, expiresAt: T0 + LEASE_MS },
  );
  const { cursor, taken } = world;
  return {
    ...world,
    ...(pulls === undefined
      ? {}
      : { second: { reader: { cursor, taken }, pulls: 0, backup: null, restores: 0 } }),
    ...(halfLeases === undefined ? {} : { lease: { time: 0, renewed: 0, isUp: true, deaths: 0 } }),
  };
}

/** A defect may make the production code throw; that path ends there. */
function* attempted(
  world: World,
  physics: Physics,
  configuration: Configuration,
): Generator<Action<World>> {
  try {
    yield* actions(world, physics, configuration);
  } catch (cause) {
    if ((cause as { code?: string }).code !== 'log_hole') throw cause;
  }
}
