/**
 * A world around one subscription: a store, a network that loses, duplicates and reorders, and a
 * receiver. Server and receiver are the production functions `step`, `assemble` and `receive`;
 * everything else is plain values, so that a world can be copied, compared and explored. A `Defect`
 * replaces one of the three with a broken version.
 */
import {
  advance,
  begin,
  receive,
  type Covering,
  type Cursor,
  type AppliedEntry,
  type Received,
} from '../../../src/protocol/core/apply.ts';
import {
  assemble,
  step,
  type Batch,
  type Input,
  type LogItem,
  type Position,
  type Step,
  type Subscription,
} from '../../../src/protocol/core/index.ts';
import { FAILING_MAX_MS } from '../../../src/protocol/core/policy.ts';
import { EPOCH, subscription, T0 } from './fixtures.ts';

export interface Delivery extends Covering<{ readonly sequence: number; readonly id: string }> {
  readonly last: number;
}
/** A delivery in transit, of the callback attempt with this id or of a stream. */
export interface Message {
  readonly attempt: number | null;
  readonly delivery: Delivery;
}
/** A receiver's answer to an attempt. */
export interface Reply {
  readonly attempt: number;
  readonly ack: number;
  readonly reject?: number;
}
/**
 * One number as a reader applied it: an event's id, or null for a gap and for a number that another
 * reader has acknowledged.
 */
export interface Taken {
  readonly epoch: string;
  readonly sequence: number;
  readonly id: string | null;
  readonly elsewhere?: true;
}
/** The ledger of one reader. */
export interface Reader {
  readonly cursor: Cursor;
  readonly taken: readonly Taken[];
}

export interface World extends Reader {
  readonly sub: Subscription;
  readonly log: readonly LogItem[];
  readonly net: readonly Message[];
  readonly replies: readonly Reply[];
  readonly acks: readonly Position[];
  /** Last number sent on the open stream; null = no stream. */
  readonly stream: number | null;
  /** The numbers of this epoch that a delivery has covered. */
  readonly covered: readonly number[];
  /**
   * A second reader of the same owner, which pulls, and its backup of the first one; null = there
   * is one reader.
   */
  readonly second: {
    readonly reader: Reader;
    readonly pulls: number;
    readonly backup: Reader | null;
    readonly restores: number;
  } | null;
  /** The highest number of the current epoch that any reader has ever applied. */
  readonly known: Position;
  /** Number of events published so far, and the id of the next one. */
  readonly published: number;
  /** The state of a lagging replica. */
  readonly replica: {
    readonly sub: Subscription;
    readonly log: readonly LogItem[];
    readonly published: number;
  } | null;
  readonly crashes: number;
  readonly failovers: number;
  /**
   * The lifetime and the endpoint; null = no expiry, and an endpoint that is always up. `time` and
   * `renewed`, the time of the last renewal by the client, are in half leases.
   */
  readonly lease: {
    readonly time: number;
    readonly renewed: number;
    readonly isUp: boolean;
    readonly deaths: number;
  } | null;
  /** The first rule that was broken. */
  readonly broken: string | null;
}

export interface Defect {
  readonly step?: (real: typeof step) => typeof step;
  readonly receive?: (
    cursor: Cursor,
    delivery: Delivery,
  ) => Received<{ sequence: number; id: string }>;
  readonly read?: (after: number, log: readonly LogItem[]) => Batch<LogItem>;
}

const SUBSCRIPTION_ID = 'sub_test';
const REPLICA_EPOCH = 'epochBBBBBBBBBBBBBBBBB';
/** Half a lease is as long as the failures after which a callback is suspended. */
export const HALF_LEASE_MS = FAILING_MAX_MS;
export const LEASE_MS = 2 * HALF_LEASE_MS;

export function genesis(overrides: Partial<Subscription> = {}): World {
  const sub = subscription({ ttlMs: null, expiresAt: null, ...overrides });
  return {
    sub,
    log: [],
    net: [],
    replies: [],
    acks: [],
    stream: null,
    covered: [],
    cursor: begin({ subscriptionId: SUBSCRIPTION_ID, epoch: EPOCH, sequence: 0 }),
    taken: [],
    second: null,
    known: { epoch: EPOCH, sequence: 0 },
    published: 0,
    replica: null,
    crashes: 0,
    failovers: 0,
    lease: null,
    broken: null,
  };
}

export class Physics {
  /** The current time. */
  now = T0;
  readonly step: typeof step;
  readonly #receive: NonNullable<Defect['receive']>;
  readonly #read: Defect['read'];

  constructor(defect: Defect = {}) {
    this.step = defect.step?.(step) ?? step;
    this.#receive = defect.receive ?? receive;
    this.#read = defect.read;
  }

  /**
   * Feeds one input to the subscription and carries out its effects on the store and the network.
   */
  feed(
    world: World,
    input: Input,
    now = this.now,
  ): { readonly world: World; readonly result: Step } {
    const result = this.step(world.sub, input, now);
    let next: World = { ...world, sub: result.subscription };
    for (const effect of result.effects) {
      if (effect.type === 'gap')
        next = {
          ...next,
          log: next.log.map((item) =>
            item.sequence >= effect.from && item.sequence <= effect.to
              ? { ...item, gap: item.gap ?? effect.reason, encoded: null }
              : item,
          ),
        };
      if (effect.type === 'trim')
        next = { ...next, log: next.log.filter(({ sequence }) => sequence > effect.upTo) };
      if (effect.type === 'renumber')
        next = {
          ...next,
          log: next.log.map((item) => ({ ...item, sequence: item.sequence - effect.by })),
        };
    }
    return { world: next, result };
  }

  publish(world: World): World {
    const id = `e${world.published + 1}`;
    const { world: next } = this.feed(
      { ...world, published: world.published + 1 },
      { type: 'append', count: 1, acceptedAt: this.now },
    );
    return { ...next, log: [...next.log, { sequence: next.sub.head, gap: null, encoded: id }] };
  }

  /** The delivery of everything after `after`. */
  read({ sub, log }: World, after: number, maxEvents: number): Delivery {
    const items = log.filter(({ sequence }) => sequence > after);
    const { events, gaps, last } =
      this.#read?.(after, items) ??
      assemble(after, items, sub.floor, sub.head, {
        maxEvents,
        maxBytes: Number.MAX_SAFE_INTEGER,
        sizeOf: () => 1,
      });
    return {
      subscriptionId: SUBSCRIPTION_ID,
      epoch: sub.epoch,
      afterSequence: after,
      acked: sub.acked,
      gaps,
      last,
      events: events.map(({ sequence, encoded }) => ({ sequence, id: encoded ?? '' })),
    };
  }

  /** Starts a callback attempt of at most `maxEvents` events, if an attempt may start. */
  attempt(world: World, maxEvents: number): World {
    const delivery = this.read(world, world.sub.acked, maxEvents);
    const { events, last } = delivery;
    if (last === delivery.afterSequence) return world;
    const { world: next, result } = this.feed(world, {
      type: 'claim',
      to: last,
      events: events.length,
      first: events[0]?.sequence ?? null,
      leaseMs: 1,
    });
    const started = result.effects.find((effect) => effect.type === 'attempt');
    return started === undefined
      ? world
      : this.sent(next, { attempt: started.attempt.id, delivery });
  }

  /** Sends one more event on the stream while at most `window` are unacknowledged. */
  streamOne(world: World, window: number): World {
    if (world.stream === null) return world;
    const delivery = this.read(world, world.stream, 1);
    if (delivery.last === delivery.afterSequence || delivery.last - world.sub.acked > window)
      return world;
    const { world: next, result } = this.feed(world, {
      type: 'drain',
      after: delivery.afterSequence,
      to: delivery.last,
    });
    return result.refused
      ? world
      : this.sent({ ...next, stream: delivery.last }, { attempt: null, delivery });
  }

  /** Puts a message on the network and records what it covers. */
  sent(world: World, message: Message): World {
    return { ...this.#covering(world, message.delivery), net: [...world.net, message] };
  }

  #covering(world: World, { afterSequence: after, last }: Delivery): World {
    const covered = new Set(world.covered);
    for (let number = after + 1; number <= last; number += 1) covered.add(number);
    return { ...world, covered: [...covered].sort((a, b) => a - b) };
  }

  /** The message arrives: the receiver applies what is new and answers with its position. */
  arrive(world: World, { attempt, delivery }: Message): World {
    const { next, applied } = this.#apply(world, world, delivery);
    const { cursor, taken } = next;
    const after: World = { ...world, cursor, taken, ...this.#noted(world, next) };
    if (!applied) return after;
    const ack = Math.min(cursor.sequence, delivery.last);
    return {
      ...after,
      replies: attempt === null ? world.replies : [...world.replies, { attempt, ack }],
      acks:
        attempt === null
          ? [...world.acks, { epoch: delivery.epoch, sequence: cursor.sequence }]
          : world.acks,
    };
  }

  /** The second reader pulls from its own position, applies the delivery and acknowledges it. */
  pull(world: World, maxEvents: number): World {
    const { second } = world;
    if (second === null) return world;
    const { cursor } = second.reader;
    const after = cursor.epoch === world.sub.epoch ? cursor.sequence : 0;
    const delivery = this.read(world, after, maxEvents);
    if (delivery.last === after) return world;
    const { world: drained, result } = this.feed(world, {
      type: 'drain',
      after,
      to: delivery.last,
    });
    if (result.refused) return world;
    const sent = this.#covering(drained, delivery);
    const { next } = this.#apply(sent, second.reader, delivery);
    const { epoch, sequence } = next.cursor;
    return {
      ...sent,
      ...this.#noted(sent, next),
      second: { ...second, reader: next, pulls: second.pulls + 1 },
      acks: [...sent.acks, { epoch, sequence }],
    };
  }

  /** Applies a delivery; returns the reader after it. */
  #apply(
    { sub }: World,
    reader: Reader,
    delivery: Delivery,
  ): { readonly next: Reader & { readonly broken?: string }; readonly applied: boolean } {
    let { cursor } = reader;
    let received = this.#receive(cursor, delivery);
    if (received.kind === 'moved') {
      cursor = received.cursor;
      received = this.#receive(cursor, delivery);
    }
    if (received.kind !== 'apply') return { next: { ...reader, cursor }, applied: false };
    let broken: string | undefined;
    const taken = [...reader.taken];
    for (const entry of received.entries) {
      const numbers = numbersOf(entry);
      for (const one of numbers) {
        const due = (taken.findLast(({ epoch }) => epoch === one.epoch)?.sequence ?? 0) + 1;
        if (one.sequence !== due)
          broken ??= `the receiver took ${one.sequence} where ${due} was due`;
        if (one.elsewhere && one.epoch === sub.epoch && one.sequence > sub.acked)
          broken ??= `${one.sequence} was taken for acknowledged, and ${sub.acked} is`;
        taken.push(one);
      }
      cursor = advance(cursor, numbers.at(-1)!.sequence);
    }
    return { next: { cursor, taken, ...(broken ? { broken } : {}) }, applied: true };
  }

  #noted(
    world: World,
    { cursor: { epoch, sequence }, broken }: Reader & { readonly broken?: string },
  ): Pick<World, 'known' | 'broken'> {
    const { known } = world;
    const isMore = epoch === known.epoch ? sequence > known.sequence : epoch === world.sub.epoch;
    return { known: isMore ? { epoch, sequence } : known, broken: world.broken ?? broken ?? null };
  }

  reply(
    world: World,
    { attempt, ack, reject = null }: Omit<Reply, 'reject'> & { readonly reject?: number | null },
  ): World {
    return this.feed(world, {
      type: 'answer',
      attempt,
      jitter: 0,
      outcome: { kind: 'acked', ack, reject },
    }).world;
  }

  /** The lease expires, and then the backoff. */
  loseAttempt(world: World): World {
    return this.passBackoff(
      this.feed(world, { type: 'tick' }, world.sub.attempt!.leaseUntil).world,
    );
  }

  /** The backoff, if there is one, passes. */
  passBackoff(world: World): World {
    return world.sub.retryAt === null
      ? world
      : this.feed(world, { type: 'tick' }, world.sub.retryAt).world;
  }

  /** The client renews. A renewal may change nothing but the end of the lifetime. */
  renew(world: World): World {
    if (world.lease === null) return world;
    const { sub, log } = world;
    const { world: next } = this.feed(world, {
      type: 'configure',
      change: { ttlMs: LEASE_MS },
    });
    const changed = (Object.keys(sub) as (keyof Subscription)[]).find(
      (member) => member !== 'expiresAt' && next.sub[member] !== sub[member],
    );
    return {
      ...next,
      lease: { ...world.lease, renewed: world.lease.time },
      broken:
        changed === undefined && next.log.every((item, at) => item === log[at])
          ? next.broken
          : `a renewal changed ${changed ?? 'the log'}`,
    };
  }

  /** Half a lease passes, with everything that is due meanwhile. */
  passTime(world: World): World {
    if (world.lease === null) return world;
    const now = this.now + HALF_LEASE_MS;
    const later = { ...world, lease: { ...world.lease, time: world.lease.time + 1 } };
    return this.passBackoff(this.feed(later, { type: 'tick' }, now).world);
  }

  /**
   * The primary dies; its replica, which may lack the newest writes, takes over with a new epoch.
   */
  failover(world: World): World {
    const { replica } = world;
    if (replica === null) return world;
    const restored: World = {
      ...world,
      sub: replica.sub,
      log: replica.log,
      stream: null,
      replica: null,
      failovers: world.failovers + 1,
    };
    const { world: next, result } = this.feed(restored, { type: 'rotate', epoch: REPLICA_EPOCH });
    return result.refused ? next : { ...next, covered: [] };
  }
}

function numbersOf(entry: AppliedEntry<{ sequence: number; id: string }>): Taken[] {
  const { epoch } = entry.position;
  if (entry.type === 'event')
    return [{ epoch, sequence: entry.event.sequence, id: entry.event.id }];
  const { from, to } = entry.type === 'gap' ? entry.gap : entry;
  return Array.from({ length: to - from + 1 }, (_, at) => ({
    epoch,
    sequence: from + at,
    id: null,
    ...(entry.type === 'elsewhere' ? { elsewhere: true } : {}),
  }));
}

/** The rule that this world breaks, or null. `before` is the world one action earlier. */
export function brokenRule(world: World, before: World | null): string | null {
  const { sub, log, taken, known, second, covered } = world;
  const same = before !== null && before.sub.epoch === sub.epoch ? before.sub : null;
  if (world.broken !== null) return world.broken;
  if (world.lease !== null) {
    const { time, renewed } = world.lease;
    const isOver = LEASE_MS <= (time - renewed) * HALF_LEASE_MS;
    if (isOver !== (sub.terminated !== null))
      return `${(time - renewed) / 2} leases after a renewal the subscription ${isOver ? 'lives' : 'ended'}`;
    if (sub.head !== world.published) return `${world.published} events have ${sub.head} numbers`;
  }
  if (!(sub.acked <= sub.sent && sub.sent <= sub.head && sub.floor <= sub.head))
    return `acked ${sub.acked}, sent ${sub.sent}, floor ${sub.floor}, head ${sub.head}`;
  // A number that was in no delivery must not be acknowledgeable.
  const unsent = Array.from({ length: sub.sent }, (_, at) => at + 1).find(
    (number) => !covered.includes(number),
  );
  if (unsent !== undefined) return `sent is ${sub.sent}, but ${unsent} was in no delivery`;
  if (same !== null && sub.acked < same.acked)
    return `acked went back from ${same.acked} to ${sub.acked}`;
  // No silent loss: every number that the server counts as acknowledged was applied by a reader, as
  // an event or as a gap.
  const told = known.epoch === sub.epoch ? known.sequence : 0;
  if (sub.acked > told) return `acked is ${sub.acked}, the receiver knows of ${told}`;
  for (const item of log)
    for (const list of second === null ? [taken] : [taken, second.reader.taken]) {
      const one = list.findLast(
        ({ epoch, sequence }) => epoch === sub.epoch && sequence === item.sequence,
      );
      // Stability: a number names the same event forever, and a reported gap stays a gap.
      if (one !== undefined && !one.elsewhere && item.gap === null && one.id !== item.encoded)
        return `number ${item.sequence} was ${one.id ?? 'a gap'} and is ${item.encoded}`;
    }
  const last = taken.at(-1);
  // Gaps have a cause. Checking the newest number is enough, since every world is checked.
  if (
    last?.id === null &&
    !last.elsewhere &&
    last.epoch === sub.epoch &&
    last.sequence > sub.floor &&
    log.find(({ sequence }) => sequence === last.sequence)?.gap === null
  )
    return `the gap ${last.sequence} has no cause`;
  return null;
}
