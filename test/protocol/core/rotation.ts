/**
 * The model of secret rotation: a client, a server and a receiver with three secrets, a network that
 * delays, reorders and loses, and time in steps of five minutes, the time for which a previous secret
 * signs. The production functions decide: `step`, `replaceCallback`, `withoutPrevious` and
 * `signingSecrets` at the server, and those of `registered-secrets.ts` at the receiver.
 */
import { step, type Input, type Subscription } from '../../../src/protocol/core/index.ts';
import { SECRET_ROTATION_GRACE_MS } from '../../../src/protocol/wire/limits.ts';
import {
  isAccepted,
  rotatedTo,
  usedAt,
  withoutEarlier,
  type RegisteredSecrets,
} from '../../../src/receiver/registered-secrets.ts';
import { signingSecrets } from '../../../src/server/callback/message-signer.ts';
import { replaceCallback, withoutPrevious } from '../../../src/server/engine/callback-consent.ts';
import { CALLBACK, subscription, T0 } from './fixtures.ts';
import { search, type Action, type Exploration, type Model } from './search.ts';

/** A signed delivery of the numbers `after + 1 … to`. */
interface Message {
  readonly attempt: number;
  readonly after: number;
  readonly to: number;
  readonly signedBy: readonly string[];
  readonly sentAt: number;
}
/** A receiver's answer; `ack` null = 401. */
type Reply = Omit<Message, 'sentAt'> & { readonly ack: number | null };

export interface RotationWorld {
  /** In steps of five minutes. */
  readonly time: number;
  readonly sub: Subscription;
  readonly receiver: RegisteredSecrets;
  /** The highest number that the receiver has applied. */
  readonly applied: number;
  readonly net: readonly Message[];
  readonly replies: readonly Reply[];
  /** The secrets that the server has used, in order. */
  readonly proven: readonly string[];
  /** Number of secrets that the client has generated. */
  readonly generated: number;
  /** The secrets that the server, and then the receiver, has revoked for good. */
  readonly revoked: { readonly server: readonly string[]; readonly receiver: readonly string[] };
  /** The first rule that was broken. */
  readonly broken: string | null;
}

/** Replacements of single production functions by broken ones. */
export interface RotationDefect {
  readonly step?: typeof step;
  readonly rotatedTo?: typeof rotatedTo;
  readonly withoutPrevious?: typeof withoutPrevious;
  /** The secrets that sign; `proven` are all that the server has used. */
  readonly sign?: (secrets: readonly string[], proven: readonly string[]) => readonly string[];
  /** A challenge counts as a delivery. */
  readonly usesChallenges?: boolean;
}

export interface RotationConfiguration {
  readonly events: number;
  readonly secrets: number;
  /** Steps of five minutes. */
  readonly steps: number;
}

/** Most deliveries on the network: the present one and a late one. */
const IN_FLIGHT_MAX = 2;

const nameOf = (at: number): string => `whsec_${at}`;
const nowOf = ({ time }: Pick<RotationWorld, 'time'>): number =>
  T0 + time * SECRET_ROTATION_GRACE_MS;
/** How old a signature may be: one step. */
const isStale = ({ sentAt }: Message, time: number): boolean => time - sentAt > 1;

const START: RotationWorld = {
  time: 0,
  sub: subscription({
    ttlMs: null,
    expiresAt: null,
    callback: { ...CALLBACK, secret: nameOf(1) },
  }),
  receiver: { secret: nameOf(1), earlierSecrets: [] },
  applied: 0,
  net: [],
  replies: [],
  proven: [nameOf(1)],
  generated: 1,
  revoked: { server: [], receiver: [] },
  broken: null,
};

class Rotation implements Model<RotationWorld> {
  readonly start = START;
  readonly #c: RotationConfiguration;
  readonly #defect: RotationDefect;

  constructor(configuration: RotationConfiguration, defect: RotationDefect) {
    this.#c = configuration;
    this.#defect = defect;
  }

  *actions(world: RotationWorld): Generator<Action<RotationWorld>> {
    const { sub, receiver, net, replies, time } = world;
    const { callback, attempt } = sub;
    const now = nowOf(world);
    if (sub.head < this.#c.events)
      yield ['publish', this.#feed(world, { type: 'append', count: 1, acceptedAt: now })];
    // The next attempt waits for the answer to one that has become void.
    if (replies.length > 0 || attempt !== null) yield ['lease runs out', this.#afterLease(world)];
    else if (sub.acked < sub.head && net.length < IN_FLIGHT_MAX)
      yield ['attempt', this.#attempt(world)];
    for (const message of net) {
      const rest = { ...world, net: net.filter((one) => one !== message) };
      yield [`arrive(${message.signedBy.join()})`, this.#arrive(rest, message)];
    }
    for (const reply of replies) {
      const rest = { ...world, replies: replies.filter((one) => one !== reply) };
      yield [`answer(${reply.ack ?? 401}, ${reply.signedBy.join()})`, this.#answer(rest, reply)];
    }
    if (world.generated < this.#c.secrets) yield ['the client rotates', this.#rotate(world)];
    if (receiver.secret !== callback!.secret) {
      yield ['update', this.#update(world)];
      yield ['update fails after its challenge', this.#challenge(world)];
    } else {
      if (callback!.previousSecret !== null) yield ['revokePrevious', this.#revoke(world)];
      if (world.revoked.server.length > 0 && receiver.earlierSecrets.length > 0)
        yield ['the receiver revokes', this.#revokeAtReceiver(world)];
    }
    if (time < this.#c.steps) yield ['five minutes pass', this.#pass(world)];
  }

  #feed(world: RotationWorld, input: Input, now = nowOf(world)): RotationWorld {
    return { ...world, sub: (this.#defect.step ?? step)(world.sub, input, now).subscription };
  }

  #attempt(world: RotationWorld): RotationWorld {
    const { acked, head, callback } = world.sub;
    const next = this.#feed(world, {
      type: 'claim',
      to: head,
      events: head - acked,
      first: acked + 1,
      leaseMs: 1,
    });
    if (next.sub.attempt === null) return world;
    const signing = signingSecrets(callback!, nowOf(world));
    const signedBy = this.#defect.sign?.(signing, world.proven) ?? signing;
    const { id, after, to } = next.sub.attempt;
    const message = { attempt: id, after, to, signedBy, sentAt: world.time };
    const [newest, before] = world.proven.toReversed();
    return {
      ...next,
      net: [...next.net, message],
      broken: signedBy.some((one) => world.revoked.server.includes(one))
        ? `${signedBy.join()} sign after one of them was revoked`
        : signedBy.some((one) => one !== newest && one !== before)
          ? `${signedBy.join()} sign, and the last two are ${newest} and ${before}`
          : null,
    };
  }

  /** An answer that comes after the deadline is not read. */
  #afterLease(world: RotationWorld): RotationWorld {
    const { attempt } = world.sub;
    const late = { ...world, replies: [] };
    return attempt === null
      ? late
      : this.#afterBackoff(this.#feed(late, { type: 'tick' }, attempt.leaseUntil));
  }

  #afterBackoff(world: RotationWorld): RotationWorld {
    const { retryAt } = world.sub;
    return retryAt === null ? world : { ...world, sub: { ...world.sub, retryAt: null } };
  }

  #arrive(world: RotationWorld, { sentAt, ...message }: Message): RotationWorld {
    const { receiver, applied, revoked } = world;
    const now = nowOf(world);
    const secrets = [{ secret: receiver.secret, until: null }, ...receiver.earlierSecrets];
    const used = secrets.find(
      (one) => isAccepted(one, now) && message.signedBy.includes(one.secret),
    )?.secret;
    if (used === undefined)
      return {
        ...world,
        replies: [...world.replies, { ...message, ack: null }],
        broken: message.signedBy.every((one) => revoked.receiver.includes(one))
          ? null
          : `a delivery of step ${sentAt} signed by ${message.signedBy.join()} was refused`,
      };
    const reached = message.after <= applied ? Math.max(applied, message.to) : applied;
    return {
      ...world,
      receiver: usedAt(receiver, used, now),
      applied: reached,
      replies: [...world.replies, { ...message, ack: Math.min(reached, message.to) }],
      broken: revoked.receiver.includes(used) ? `${used} was accepted after it was revoked` : null,
    };
  }

  #answer(world: RotationWorld, { attempt, ack, signedBy }: Reply): RotationWorld {
    const { callback, acked } = world.sub;
    const next = this.#feed(world, {
      type: 'answer',
      attempt,
      jitter: 0,
      outcome:
        ack === null
          ? { kind: 'config', category: 'http_4xx' }
          : { kind: 'acked', ack, reject: null },
    });
    const inUse = [callback!.secret, callback!.previousSecret];
    const dropped = signedBy.find((one) => !inUse.includes(one));
    return this.#afterBackoff({
      ...next,
      broken:
        dropped !== undefined && next.sub.acked > acked
          ? `an answer to a delivery signed by ${dropped} acknowledged ${next.sub.acked}`
          : null,
    });
  }

  /** The client registers a new secret at the receiver. */
  #rotate(world: RotationWorld): RotationWorld {
    const generated = world.generated + 1;
    const receiver = (this.#defect.rotatedTo ?? rotatedTo)(
      world.receiver,
      nameOf(generated),
      nowOf(world),
    );
    return { ...world, generated, receiver };
  }

  /** The server challenges the newest secret, which the receiver knows. */
  #challenge(world: RotationWorld): RotationWorld {
    if (this.#defect.usesChallenges !== true) return world;
    const { receiver } = world;
    return { ...world, receiver: usedAt(receiver, receiver.secret, nowOf(world)) };
  }

  #update(world: RotationWorld): RotationWorld {
    const { url } = CALLBACK;
    const { secret } = world.receiver;
    const now = nowOf(world);
    const callback = replaceCallback(world.sub.callback, { url, secret }, now, now);
    return {
      ...this.#feed(this.#challenge(world), { type: 'configure', change: { callback } }),
      proven: [...world.proven, secret],
    };
  }

  #revoke(world: RotationWorld): RotationWorld {
    const { callback } = world.sub;
    const change = { callback: (this.#defect.withoutPrevious ?? withoutPrevious)(callback!) };
    const server = [...world.revoked.server, callback!.previousSecret!];
    return {
      ...this.#feed(world, { type: 'configure', change }),
      revoked: { ...world.revoked, server },
    };
  }

  #revokeAtReceiver(world: RotationWorld): RotationWorld {
    const { receiver, revoked } = world;
    const gone = receiver.earlierSecrets.map(({ secret }) => secret);
    return {
      ...world,
      receiver: withoutEarlier(receiver),
      revoked: { ...revoked, receiver: [...revoked.receiver, ...gone] },
    };
  }

  #pass(world: RotationWorld): RotationWorld {
    const time = world.time + 1;
    const later = this.#afterBackoff(
      this.#feed({ ...world, time }, { type: 'tick' }, nowOf({ time })),
    );
    return { ...later, replies: [], net: later.net.filter((message) => !isStale(message, time)) };
  }

  /**
   * Of the health, only a suspension matters: failures cause nothing else here. An old attempt is
   * only told from the current one.
   */
  keyOf({ time, sub, receiver, applied, net, replies, ...world }: RotationWorld): string {
    const { head, acked, attempt, callback, suspendedAt } = sub;
    const set = <T extends Omit<Message, 'sentAt'>>(
      list: readonly T[],
      rest: (one: T) => unknown,
    ) =>
      [
        ...new Set(
          list.map(
            (one) =>
              `${one.attempt === attempt?.id}:${one.after}-${one.to}:${one.signedBy.join()}:${String(rest(one))}`,
          ),
        ),
      ].sort();
    return JSON.stringify([
      time,
      [head, acked, attempt && [attempt.after, attempt.to], suspendedAt !== null],
      [callback?.secret, callback?.previousSecret, callback?.previousUntil],
      receiver,
      applied,
      set(net, ({ sentAt }) => sentAt),
      set(replies, ({ ack }) => ack),
      [world.proven, world.generated, world.revoked],
    ]);
  }

  brokenRule({ broken, sub, applied }: RotationWorld, before: RotationWorld): string | null {
    if (broken !== null) return broken;
    if (sub.acked > applied) return `acked is ${sub.acked}, and ${applied} is applied`;
    if (sub.acked < before.sub.acked) return 'acked went back';
    return null;
  }

  isGoal({ sub: { acked } }: RotationWorld): boolean {
    return acked === this.#c.events;
  }
}

/** Explores the model. */
export const exploreRotation = (
  configuration: RotationConfiguration,
  defect: RotationDefect = {},
): Exploration => search(new Rotation(configuration, defect));

export interface RotationMutant {
  readonly name: string;
  readonly defect: RotationDefect;
}

/** Defects that break a rule of the model. */
export const ROTATION_MUTANTS: readonly RotationMutant[] = [
  {
    name: 'the receiver forgets the secret in use at the second rotation',
    defect: {
      rotatedTo: (before, secret, now) => {
        const { earlierSecrets } = rotatedTo(before, secret, now);
        return { secret, earlierSecrets: earlierSecrets.slice(0, 1) };
      },
    },
  },
  {
    name: 'an earlier secret ends five minutes after the rotation, also without a later delivery',
    defect: {
      rotatedTo: (before, secret, now) => usedAt(rotatedTo(before, secret, now), secret, now),
    },
  },
  { name: 'a challenge counts as a delivery', defect: { usesChallenges: true } },
  {
    name: 'the server keeps three secrets',
    defect: { sign: (secrets, proven) => [...new Set([...secrets, ...proven.toReversed()])] },
  },
  {
    name: 'an answer of a replaced callback acknowledges',
    defect: {
      step: (before, input, now) => {
        const result = step(before, input, now);
        return input.type === 'configure'
          ? { ...result, subscription: { ...result.subscription, attempt: before.attempt } }
          : result;
      },
    },
  },
  {
    name: 'revokePrevious leaves the previous secret signing',
    defect: { withoutPrevious: (callback) => callback },
  },
];
