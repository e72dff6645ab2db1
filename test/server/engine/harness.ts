/**
 * An engine over the real store, with time, randomness and endpoints under the test's control, and
 * a store that can be made to fail.
 */
import assert from 'node:assert/strict';
import type { Challenge, Delivery } from '../../../spec-schema/draft/schema.ts';
import { createEngine, type EngineOptions } from '../../../src/server/engine/create-engine.ts';
import type {
  Egress,
  Log,
  OutboundRequest,
  OutboundResult,
} from '../../../src/server/engine/ports.ts';
import type { Store, Write } from '../../../src/server/store/port.ts';
import type { Caller, DeclaredTrigger, Engine } from '../../../src/server/engine/verbs.ts';
import { sqliteStore } from '../../../src/server/store/sqlite/index.ts';
import { manualClock, seededRandom, type ManualClock } from '../../../src/testing/index.ts';
import { LocalError, WireError } from '../../../src/protocol/wire/errors.ts';
import { Secret } from '../../../src/protocol/wire/secret.ts';
import { challengeProof } from '../../../src/protocol/wire/signature.ts';

export const ann: Caller = { principal: 'ann' };
export const bob: Caller = { principal: 'bob' };
export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export const secretOf = (fill: number): string =>
  `whsec_${Buffer.alloc(32, fill).toString('base64')}`;
export const CALLBACK = { url: 'https://hooks.example/in', secret: secretOf(1) };

export const tick: DeclaredTrigger = {
  type: {
    name: 'tick',
    description: 'Something ticked.',
    inputSchema: {
      type: 'object',
      properties: { topic: { type: 'string' } },
      additionalProperties: false,
    },
    payloadSchema: { type: 'object', properties: { n: { type: 'integer' } } },
    history: { maxAgeMs: HOUR },
  },
};
export const tock: DeclaredTrigger = {
  type: {
    name: 'tock',
    description: 'Something tocked.',
    inputSchema: { type: 'object' },
    payloadSchema: { type: 'object' },
    retention: { maxAgeMs: HOUR, maxEvents: 10 },
  },
};

/** Runs everything that can proceed without time passing. */
export async function turns(count = 30): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

export type Arrived = OutboundRequest & { readonly delivery: Delivery; readonly at: number };
export type ArrivedChallenge = OutboundRequest & {
  readonly challenge: Challenge;
  readonly at: number;
};
type Answer = OutboundResult | Promise<OutboundResult>;

export const response = (
  status: number,
  body: unknown = null,
  retryAfter: string | null = null,
): OutboundResult => ({
  kind: 'response',
  status,
  contentType: 'application/json',
  retryAfter,
  body:
    body === null
      ? new Uint8Array()
      : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
});
export const failed = (
  category: 'timeout' | 'connection_refused' | 'tls_error',
): OutboundResult => ({ kind: 'failure', category, cause: new Error(category) });

export const lastOf = ({
  afterSequence: after,
  events,
  gaps = [],
}: Pick<Delivery, 'afterSequence' | 'events' | 'gaps'>): number =>
  Math.max(after, events.at(-1)?.sequence ?? 0, gaps.at(-1)?.to ?? 0);
export const numbers = ({ events }: Pick<Delivery, 'events'>): number[] =>
  events.map(({ sequence }) => sequence);

/** All endpoints. They prove consent and acknowledge everything unless the test says otherwise. */
export class Endpoints implements Egress {
  readonly requests: Arrived[] = [];
  readonly challenges: ArrivedChallenge[] = [];
  answer: (request: Arrived) => Answer = (request) =>
    response(200, { ackSequence: lastOf(request.delivery) });
  prove: (request: ArrivedChallenge) => Answer = (request) => response(200, this.proof(request));
  readonly #clock: ManualClock;
  closed = false;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  proof({ challenge: { challenge } }: ArrivedChallenge, secret: string = CALLBACK.secret) {
    return { challenge, proof: challengeProof(Secret.parse(secret), challenge) };
  }

  check(url: string): string {
    return url;
  }

  async post(request: OutboundRequest): Promise<OutboundResult> {
    const { params } = JSON.parse(Buffer.from(request.body).toString()) as {
      params: Delivery | Challenge;
    };
    const at = this.#clock.now();
    if ('challenge' in params) {
      const asked = { ...request, challenge: params, at };
      this.challenges.push(asked);
      return this.prove(asked);
    }
    const arrived = { ...request, delivery: params, at };
    this.requests.push(arrived);
    return this.answer(arrived);
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  /** Numbers received, delivery by delivery. */
  get numbers(): number[][] {
    return this.requests.map(({ delivery }) => numbers(delivery));
  }
}

/** The store, with hooks for faults. */
export class Meddled {
  /** Rejects a commit by returning an error. */
  refuse: (writes: readonly Write[]) => LocalError | null = () => null;
  /** Awaited before a commit reaches the disk. */
  before: (writes: readonly Write[]) => Promise<void> | void = () => undefined;
  /** Awaited after a commit has reached the disk. */
  after: (writes: readonly Write[]) => Promise<void> | void = () => undefined;
  /** Awaited before the store is queried. */
  asked: (question: string) => Promise<void> | void = () => undefined;
  readonly commits: (readonly Write[])[] = [];
  /** The process has died: no call is ever answered. */
  dead = false;
  readonly store: Store;

  constructor(inner: Store) {
    const forever = new Promise<never>(() => undefined);
    this.store = new Proxy(inner, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function' || name === 'index')
          return typeof value === 'function' ? value.bind(target) : value;
        if (name === 'commit') {
          return async (writes: readonly Write[]) => {
            if (this.dead) return forever;
            await this.before(writes);
            if (this.dead) return forever;
            const refusal = this.refuse(writes);
            if (refusal !== null) throw refusal;
            await target.commit(writes);
            this.commits.push(writes);
            await this.after(writes);
            return this.dead ? forever : undefined;
          };
        }
        return async (...args: unknown[]) => {
          if (this.dead) return forever;
          await this.asked(String(name));
          const answer: unknown = await (value as (...all: unknown[]) => unknown).apply(
            target,
            args,
          );
          return this.dead ? forever : answer;
        };
      },
    });
  }
}

export const full = (): LocalError => new LocalError('store_full', 'no room');
export const broken = (): LocalError => new LocalError('store_failed', 'no luck');

export interface World {
  readonly clock: ManualClock;
  readonly endpoints: Endpoints;
  readonly meddled: Meddled;
  readonly engine: Engine;
  readonly inner: Store;
  readonly logged: { readonly level: string; readonly fields: object; readonly message: string }[];
  emit(n: number, data?: object, name?: string): Promise<{ duplicate: boolean }>;
  /** Emits events `from … to`, all in one turn. */
  emitAll(from: number, to: number, data?: object): Promise<void>;
  /** Advances the clock; the effects of each timer run before the next. */
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

export type WorldOptions = Partial<EngineOptions> & {
  /** Default `:memory:`, which reports itself as volatile. */
  readonly path?: string;
  readonly clock?: ManualClock;
  readonly seed?: number;
  readonly maxBytes?: number;
};

const KEY = Buffer.alloc(32, 9);

export async function world({
  path = ':memory:',
  clock = manualClock(),
  seed = 1,
  maxBytes,
  ...options
}: WorldOptions = {}): Promise<World> {
  const endpoints = new Endpoints(clock);
  const inner = sqliteStore({ path, key: KEY, ...(maxBytes === undefined ? {} : { maxBytes }) });
  const meddled = new Meddled(inner);
  const logged: World['logged'] = [];
  const keep =
    (level: string) =>
    (fields: object, message: string): void =>
      void logged.push({ level, fields, message });
  const log: Log = {
    debug: keep('debug'),
    info: keep('info'),
    warn: keep('warn'),
    error: keep('error'),
  };
  const engine = createEngine({
    store: meddled.store,
    egress: endpoints,
    triggers: [tick, tock],
    clock,
    random: seededRandom(seed),
    log,
    ...options,
  });
  await engine.start();
  const emit: World['emit'] = (n, data = {}, name = 'tick') =>
    engine.emit({ name, eventId: `e${n}`, data: { n, ...data } });
  return {
    clock,
    endpoints,
    meddled,
    engine,
    inner,
    logged,
    emit,
    async emitAll(from, to, data) {
      await Promise.all(Array.from({ length: to - from + 1 }, (_, at) => emit(from + at, data)));
      await engine.settled();
    },
    pass: (ms) => pass(clock, ms),
    async close() {
      const closed = engine.close();
      await pass(clock, 13 * SECOND);
      await closed;
    },
  };
}

async function pass(clock: ManualClock, ms: number): Promise<void> {
  await turns(8);
  for (let left = ms; left > 0;) {
    const leap = Math.min(left, clock.nextIn ?? left);
    await clock.run(leap);
    await turns(8);
    left -= Math.max(leap, 1);
  }
}

/**
 * The process dies and the file stays as it was. Another `world` on the same path is the process
 * after the crash.
 */
export async function kill({ meddled, inner }: World): Promise<void> {
  meddled.dead = true;
  await inner.close();
}

/** The error of a call, as the error object that would cross the wire. */
export async function refusal(call: Promise<unknown>) {
  try {
    await call;
  } catch (cause) {
    assert.ok(
      cause instanceof WireError,
      `expected a WireError, got ${cause instanceof Error ? cause.stack : String(cause)}`,
    );
    return cause.toErrorObject() as unknown as {
      code: number;
      message: string;
      data: Record<string, unknown>;
    };
  }
  return assert.fail('expected an error, got a result');
}

export const position = (epoch: string, sequence: number) => ({ epoch, sequence });

/** A stream and the messages that it sent. */
export function listen(
  engine: Engine,
  caller: Caller,
  params: Parameters<Engine['stream']>[1],
  send?: (delivery: Delivery) => Promise<void>,
) {
  const deliveries: Delivery[] = [];
  const abort = new AbortController();
  const ended = engine.stream(
    caller,
    params,
    {
      async send(delivery) {
        deliveries.push(delivery);
        await send?.(delivery);
      },
    },
    abort.signal,
  );
  ended.catch(() => undefined);
  return { deliveries, abort, ended };
}
