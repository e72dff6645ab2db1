/**
 * The actions of clients and sources, one at a time, without waiting for the answer before the
 * next.
 */
import type { SubscribeRequestParams, SubscribeResult } from '../../spec-schema/draft/schema.ts';
import type { Caller, Engine } from '../../src/server/engine/verbs.ts';
import { LocalError, WireError } from '../../src/protocol/wire/errors.ts';
import type { ManualClock } from '../../src/testing/clock.ts';
import type { InvariantChecker, SeenDelivery } from './invariant-checker.ts';
import { SECRET, type Dice, type MemoryLedger } from './peers.ts';

export interface SimulatedClientsOptions {
  readonly checker: InvariantChecker;
  readonly ledger: MemoryLedger;
  readonly clock: ManualClock;
  readonly dice: Dice;
  /** The running engine, or null between two processes. */
  engine(): Engine | null;
}

/** A subscription as its client knows it. */
interface Mine {
  readonly caller: Caller;
  readonly key: string;
  readonly subscriptionId: string;
  /** The params of the call that made it. */
  readonly made: SubscribeRequestParams;
  etag: string;
  streams: AbortController[];
}

const CALLERS: readonly Caller[] = [{ principal: 'ann' }, { principal: 'bob' }];
const TOPICS = ['red', 'green', 'blue'];
/** Errors of the server that an injected fault explains. */
const EXCUSED = new Set(['store_full', 'store_failed', 'closed']);

export class SimulatedClients {
  readonly #o: SimulatedClientsOptions;
  readonly #mine = new Map<string, Mine>();
  readonly counts = {
    emits: 0,
    duplicates: 0,
    subscribes: 0,
    pulls: 0,
    streams: 0,
    renewals: 0,
    refused: 0,
  };
  #lastEvent = 0;
  #streams = 0;
  #subscribed = 0;

  constructor(options: SimulatedClientsOptions) {
    this.#o = options;
  }

  /** The server died: its streams are cut. */
  disconnected(): void {
    for (const mine of this.#mine.values()) mine.streams = [];
  }

  act(): void {
    const engine = this.#o.engine();
    if (engine === null) return;
    const { dice } = this.#o;
    const mine = dice.pick([...this.#mine.values(), null]);
    const draw = dice.below(100);
    if (draw < 38) this.#emit(engine, dice.chance(0.08) ? 40 : 1 + dice.below(4));
    else if (draw < 47 || mine === null) this.#subscribe(engine);
    else if (draw < 60) this.#pull(engine, mine);
    else if (draw < 68) this.#ack(engine, mine);
    else if (draw < 76) this.#stream(engine, mine);
    else if (draw < 80) mine.streams.splice(0, 1)[0]?.abort();
    else if (draw < 90) this.#update(engine, mine);
    else if (draw < 93) this.#renew(engine, mine);
    else if (draw < 94) this.#terminate(engine, mine);
    else if (draw < 95)
      this.#watch(engine.unsubscribe(mine.caller, { subscriptionId: mine.subscriptionId }), mine);
    else this.#watch(engine.get(mine.caller, { subscriptionId: mine.subscriptionId }), mine);
  }

  /**
   * Tracks a call that is in flight. It may be rejected, but only with an error of the protocol.
   */
  #watch<T>(call: Promise<T>, mine: Mine | null, done?: (result: T) => void): void {
    const engine = this.#o.engine();
    call.then(
      (result) => {
        if (this.#o.engine() === engine) done?.(result);
      },
      (cause: unknown) => {
        this.counts.refused += 1;
        if (cause instanceof LocalError && EXCUSED.has(cause.code)) return;
        if (!(cause instanceof WireError))
          return this.#o.checker.blame(
            'error',
            cause instanceof Error ? (cause.stack ?? cause.message) : String(cause),
          );
        if (mine === null || !cause.is('NotFound') || this.#o.engine() !== engine) return;
        const log = this.#o.checker.model.logs.get(mine.subscriptionId);
        if (log !== undefined && log.endedAt === null)
          this.#o.checker.blame('H4', `${mine.subscriptionId} is active, but is not found`);
        this.#mine.delete(mine.subscriptionId);
      },
    );
  }

  /** The server's own code ends the subscription. */
  #terminate(engine: Engine, { caller: { principal }, subscriptionId }: Mine): void {
    this.#watch(engine.terminate({ principal, subscriptionId }, 'revoked'), null);
  }

  #emit(engine: Engine, count: number): void {
    const { dice, checker } = this.#o;
    for (let left = count; left > 0; left -= 1) {
      const again = this.#lastEvent > 0 && dice.chance(0.1);
      const number = again
        ? this.#lastEvent - dice.below(Math.min(5, this.#lastEvent))
        : (this.#lastEvent += 1);
      const eventId = `e${number}`;
      // The content of an event depends on its id alone, as at a real upstream.
      const data = { topic: TOPICS[number % 3]!, number };
      this.counts.emits += 1;
      this.#watch(
        engine.emit({ name: number % 4 === 0 ? 'beta' : 'alpha', eventId, data }),
        null,
        ({ duplicate }) => {
          if (duplicate) this.counts.duplicates += 1;
          checker.promised(eventId, duplicate);
        },
      );
    }
  }

  #select() {
    const { dice } = this.#o;
    const one = () => ({
      name: dice.pick(['alpha', 'alpha', 'beta']),
      ...(dice.chance(0.6) ? { arguments: { topic: dice.pick(TOPICS) } } : {}),
    });
    return dice.chance(0.25) ? [one(), one()] : [one()];
  }

  #callback() {
    return { url: `https://hooks.example/${this.#o.dice.below(6)}`, secret: SECRET.reveal() };
  }

  #subscribe(engine: Engine): void {
    const { clock, dice } = this.#o;
    if (this.#mine.size >= 12) return;
    const caller = dice.pick(CALLERS);
    const old = dice.chance(0.2) ? dice.pick([...this.#mine.values(), null]) : null;
    const key = old?.key ?? `k${(this.#subscribed += 1)}`;
    this.counts.subscribes += 1;
    const params: SubscribeRequestParams = {
      key,
      select: this.#select(),
      ...(dice.chance(0.65) ? { callback: this.#callback() } : {}),
      ...dice.pick([
        { noExpiry: true as const },
        { noExpiry: true as const },
        { ttlMs: 60_000 },
        { ttlMs: 600_000 },
        { ttlMs: 3_600_000 },
      ]),
      ...(dice.chance(0.3)
        ? { since: new Date(clock.now() - dice.below(300_000)).toISOString() }
        : {}),
    };
    this.#made(engine.subscribe(old?.caller ?? caller, params), old?.caller ?? caller, params);
  }

  #made(call: Promise<SubscribeResult>, caller: Caller, made: SubscribeRequestParams): void {
    this.#watch(call, null, ({ subscriptionId, key, etag }) => {
      if (!this.#mine.has(subscriptionId))
        this.#mine.set(subscriptionId, { caller, key, subscriptionId, made, etag, streams: [] });
    });
  }

  #update(engine: Engine, mine: Mine): void {
    const { dice } = this.#o;
    const change = dice.pick([
      { paused: true },
      { paused: false },
      { resume: true as const },
      { noExpiry: true as const },
      { ttlMs: 900_000 },
      { select: this.#select() },
      { callback: this.#callback() },
      { removeCallback: true as const },
    ]);
    this.#watch(
      engine.update(mine.caller, {
        subscriptionId: mine.subscriptionId,
        ...change,
        ...(dice.chance(0.3) ? { ifMatch: mine.etag } : {}),
      }),
      mine,
      ({ etag }) => {
        mine.etag = etag;
      },
    );
  }

  /**
   * Renews with the values of the last subscribe call or with a new lifetime. The callback may be
   * dead, which must not concern the grant.
   */
  #renew(engine: Engine, mine: Mine): void {
    const { caller, subscriptionId, made } = mine;
    const { checker, dice } = this.#o;
    this.counts.renewals += 1;
    const granted = <T>(call: Promise<T>): Promise<T> =>
      call.catch((cause: unknown) => {
        // After its end, the same call makes a new subscription, whose callback must be verified.
        const isLive = checker.model.logs.get(subscriptionId)?.endedAt === null;
        if (isLive && cause instanceof WireError && cause.is('CallbackEndpointError'))
          checker.blame('H4', `the lease of ${subscriptionId} depends on its endpoint`);
        throw cause;
      });
    if (dice.chance(0.5)) this.#made(granted(engine.subscribe(caller, made)), caller, made);
    else this.#watch(granted(engine.update(caller, { subscriptionId, ttlMs: 900_000 })), mine);
  }

  /** The client's position, if it may report it to the server. */
  #position(mine: Mine) {
    const epoch = this.#o.ledger.epochOf(mine.subscriptionId);
    return epoch === undefined
      ? undefined
      : { epoch, sequence: this.#o.ledger.at(mine.subscriptionId) };
  }

  #ack(engine: Engine, mine: Mine): void {
    const position = this.#position(mine);
    if (position === undefined) return;
    this.#o.checker.stated(mine.subscriptionId, position.epoch, position.sequence);
    this.#watch(engine.ack(mine.caller, { subscriptionId: mine.subscriptionId, position }), mine);
  }

  #pull(engine: Engine, mine: Mine, most?: number): void {
    const { dice, checker, ledger } = this.#o;
    const position = this.#position(mine);
    const acks = position !== undefined && dice.chance(0.6);
    if (acks) checker.stated(mine.subscriptionId, position.epoch, position.sequence);
    this.counts.pulls += 1;
    this.#watch(
      engine.pull(mine.caller, {
        subscriptionId: mine.subscriptionId,
        ...(acks ? { ack: position } : {}),
        ...(position !== undefined && dice.chance(0.7)
          ? {
              after: {
                ...position,
                sequence: dice.chance(0.1) ? dice.below(position.sequence + 1) : position.sequence,
              },
            }
          : {}),
        maxEvents: most ?? dice.pick([0, 1, 5, 100]),
        ...(dice.chance(0.3) ? { waitMs: dice.below(25_000) } : {}),
      }),
      mine,
      (answer) => {
        const delivery = answer as SeenDelivery;
        checker.told(delivery, null);
        if (most !== undefined || dice.chance(0.9)) ledger.apply(delivery);
      },
    );
  }

  #stream(engine: Engine, mine: Mine): void {
    const { clock, dice, checker, ledger } = this.#o;
    const position = this.#position(mine);
    const abort = new AbortController();
    const name = `stream ${(this.#streams += 1)}`;
    const slow = dice.chance(0.2);
    mine.streams.push(abort);
    this.counts.streams += 1;
    this.#watch(
      engine.stream(
        mine.caller,
        {
          subscriptionId: mine.subscriptionId,
          ...(position === undefined ? {} : { after: position }),
          window: { events: dice.pick([1, 3, 10, 100]), bytes: dice.pick([200, 1_000_000]) },
        },
        {
          send: async (sent) => {
            if (this.#o.engine() !== engine || abort.signal.aborted) return;
            const delivery = sent as SeenDelivery;
            checker.told(delivery, name);
            // A reader that lost one message has lost its connection: it does not continue after
            // the missing one.
            if (dice.chance(0.03)) return abort.abort();
            ledger.apply(delivery);
            if (slow)
              await new Promise<void>((resolve) => {
                clock.after(dice.below(3_000), resolve);
              });
            if (dice.chance(0.5) && delivery.terminated === undefined) this.#ack(engine, mine);
          },
        },
        abort.signal,
      ),
      mine,
      () => {
        mine.streams = mine.streams.filter((one) => one !== abort);
      },
    );
  }

  /** Every client unpauses, resumes suspended callbacks and closes its streams. */
  async settle(wait: () => Promise<void>): Promise<void> {
    for (const mine of this.#mine.values())
      for (const stream of mine.streams.splice(0)) stream.abort();
    await wait();
    const engine = this.#o.engine();
    if (engine === null) return;
    for (const mine of [...this.#mine.values()]) {
      this.#watch(
        engine.update(mine.caller, {
          subscriptionId: mine.subscriptionId,
          paused: false,
          resume: true,
          ttlMs: 30 * 24 * 3_600_000,
        }),
        mine,
      );
    }
    await wait();
  }

  /**
   * Clients without a callback pull until nothing is left. Callbacks must have received everything
   * by themselves.
   */
  async collect(wait: () => Promise<void>): Promise<void> {
    const { checker } = this.#o;
    for (let round = 0; round < 40; round += 1) {
      const engine = this.#o.engine();
      const behind = [...checker.model.logs.values()].filter(
        (log) =>
          log.endedAt === null && log.state.callback === null && log.state.acked < log.state.head,
      );
      if (engine === null || behind.length === 0) return;
      for (const log of behind) {
        const mine = this.#mine.get(log.subscriptionId) ?? {
          caller: { principal: log.state.principal },
          key: '',
          subscriptionId: log.subscriptionId,
          made: { key: 'k', select: [] },
          etag: '',
          streams: [],
        };
        const position = this.#position(mine);
        if (position !== undefined && position.epoch === log.state.epoch && round % 2 === 1)
          this.#ack(engine, mine);
        else
          this.#watch(
            engine.pull(mine.caller, { subscriptionId: mine.subscriptionId, maxEvents: 100 }),
            mine,
            (answer) => {
              checker.told(answer, null);
              this.#o.ledger.apply(answer);
            },
          );
      }
      await wait();
    }
  }
}
