/**
 * The exhaustive explorer: visits every world that a small configuration can reach, with the
 * production functions deciding. It answers two questions: is every reachable world safe, and can
 * every reachable world still drain? Random tests cannot answer the second one; it finds, for
 * example, a log whose retention trims without a gap.
 */
import {
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
}

export interface Exploration {
  readonly states: number;
  readonly edges: number;
  /** The shortest path to a broken rule. */
  readonly violation: { readonly rule: string; readonly path: readonly string[] } | null;
  /** Number of worlds from which no path leads to an empty log. */
  readonly stuck: number;
}

type Action = readonly [name: string, world: World];

function* actions(world: World, physics: Physics, c: Configuration): Generator<Action> {
  const { sub } = world;
  if (world.published < c.events) yield ['publish', physics.publish(world)];
  for (let size = 1; size <= c.window && sub.attempt === null; size += 1)
    yield [`attempt(${size})`, physics.attempt(world, size)];
  for (const message of world.net) {
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

/**
 * The key of a world. Two worlds with the same key behave the same. Omits what cannot affect
 * behavior: health counters, and the attempt an old message belonged to, since `step` only asks
 * whether it is the current one.
 */
function keyOf(world: World): string {
  const { sub, replica, second } = world;
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
  ].join('|');
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

export function explore(
  configuration: Configuration,
  defect: Defect = {},
  statesMax = 400_000,
): Exploration {
  const physics = new Physics(defect);
  const alone = genesis();
  const { cursor, taken } = alone;
  const start: World =
    configuration.pulls === undefined
      ? alone
      : { ...alone, second: { reader: { cursor, taken }, pulls: 0, backup: null, restores: 0 } };
  const worlds: (World | null)[] = [start];
  const ids = new Map([[keyOf(start), 0]]);
  const cameFrom: (readonly [id: number, action: string])[] = [[-1, '']];
  const predecessors: number[][] = [[]];
  const goals: number[] = [];
  let edges = 0;
  for (let id = 0; id < worlds.length; id += 1) {
    const world = worlds[id]!;
    // An explored world is never read again; dropping it bounds the memory.
    worlds[id] = null;
    if (drained(world, configuration)) goals.push(id);
    for (const [action, raw] of attempted(world, physics, configuration)) {
      if (raw === world) continue;
      const next = normal(raw);
      edges += 1;
      const key = keyOf(next);
      let nextId = ids.get(key);
      if (nextId === undefined) {
        nextId = worlds.length;
        if (nextId >= statesMax)
          throw new Error(
            `The exploration passed ${statesMax} states. Make the configuration smaller.`,
          );
        ids.set(key, nextId);
        worlds.push(next);
        predecessors.push([]);
        cameFrom.push([id, action]);
      }
      const rule = brokenRule(next, world);
      if (rule !== null)
        return {
          states: worlds.length,
          edges,
          violation: { rule, path: [...pathTo(id, cameFrom), action] },
          stuck: 0,
        };
      predecessors[nextId]!.push(id);
    }
  }
  return {
    states: worlds.length,
    edges,
    violation: null,
    stuck: worlds.length - reaching(goals, predecessors),
  };
}

/** A defect may make the production code throw; that path ends there. */
function* attempted(
  world: World,
  physics: Physics,
  configuration: Configuration,
): Generator<Action> {
  try {
    yield* actions(world, physics, configuration);
  } catch (cause) {
    if ((cause as { code?: string }).code !== 'log_hole') throw cause;
  }
}

function pathTo(id: number, cameFrom: readonly (readonly [number, string])[]): string[] {
  const path: string[] = [];
  for (let at = id; at > 0; at = cameFrom[at]![0]) path.unshift(cameFrom[at]![1]);
  return path;
}

/** Counts the worlds with a path to one of the goals, walking backwards from the goals. */
function reaching(goals: readonly number[], predecessors: readonly (readonly number[])[]): number {
  const seen = new Uint8Array(predecessors.length);
  const queue = [...goals];
  for (const id of goals) seen[id] = 1;
  let count = goals.length;
  for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
    for (const before of predecessors[id]!) {
      if (seen[before] === 1) continue;
      seen[before] = 1;
      count += 1;
      queue.push(before);
    }
  }
  return count;
}
