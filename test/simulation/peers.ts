/**
 * The peers: clients that subscribe, drain, acknowledge and forget, and the endpoints of their
 * callbacks. A client has one durable position for each subscription, whatever drains it uses, and
 * applies deliveries by the protocol's own rule.
 */
import type { Challenge } from '../../spec-schema/draft/schema.ts';
import { receive, type Cursor } from '../../src/protocol/core/apply.ts';
import type { Egress, OutboundRequest, OutboundResult } from '../../src/server/engine/ports.ts';
import { challengeProof } from '../../src/protocol/wire/signature.ts';
import { Secret } from '../../src/protocol/wire/secret.ts';
import type { ManualClock } from '../../src/testing/clock.ts';
import type { InvariantChecker, SeenDelivery } from './invariant-checker.ts';

/** Draws from the simulation's own random numbers. */
export interface Dice {
  /** An integer in `0 … below - 1`. */
  below(count: number): number;
  chance(probability: number): boolean;
  pick<T>(from: readonly T[]): T;
}

/** The durable state of every client, by subscription. */
export class MemoryLedger {
  readonly cursors = new Map<string, Cursor>();
  readonly #checker: InvariantChecker;

  constructor(checker: InvariantChecker) {
    this.#checker = checker;
  }

  at(subscriptionId: string): number {
    return this.cursors.get(subscriptionId)?.sequence ?? 0;
  }
  epochOf(subscriptionId: string): string | undefined {
    return this.cursors.get(subscriptionId)?.epoch;
  }

  /**
   * Applies at most `most` entries of a delivery. Returns the client's position, or null when the
   * client may not report it for this epoch.
   */
  apply(delivery: SeenDelivery, most = Number.POSITIVE_INFINITY): number | null {
    const { subscriptionId, epoch } = delivery;
    // A client learns the first epoch from the result of its subscribe. If it took the epoch of the
    // first delivery instead, a late message of an old epoch could pass as new, and the client
    // would reject the real one forever.
    const first = this.#checker.model.logs.get(subscriptionId)?.firstEpoch ?? epoch;
    let cursor = this.cursors.get(subscriptionId) ?? {
      subscriptionId,
      epoch: first,
      sequence: 0,
      past: [],
    };
    let received = receive(cursor, delivery);
    if (received.kind === 'moved') {
      cursor = received.cursor;
      received = receive(cursor, delivery);
    }
    if (received.kind === 'stale') return null;
    if (received.kind !== 'apply') {
      this.#checker.blame(
        'H1',
        `the client of ${subscriptionId} is at ${cursor.sequence}, a delivery after ${delivery.afterSequence} is ${received.kind}`,
      );
      return null;
    }
    for (const entry of received.entries.slice(0, most))
      cursor = { ...cursor, sequence: entry.position.sequence };
    this.cursors.set(subscriptionId, cursor);
    return cursor.sequence;
  }
}

/** How an endpoint treats one request. */
type Manner =
  | 'ok'
  | 'partial'
  | 'reject'
  | 'refuse'
  | 'broken'
  | 'config'
  | 'busy'
  | 'too_large'
  | 'gone'
  | 'silent'
  | 'answer_lost'
  | 'late'
  | 'too_much'
  | 'html';

const MANNERS: readonly (readonly [Manner, number])[] = [
  ['ok', 50],
  ['partial', 8],
  ['reject', 2],
  ['refuse', 6],
  ['broken', 6],
  ['config', 4],
  ['busy', 3],
  ['too_large', 3],
  ['gone', 0.4],
  ['silent', 3],
  ['answer_lost', 5],
  ['late', 6],
  ['too_much', 2],
  ['html', 2],
];

export const SECRET = Secret.parse(`whsec_${Buffer.alloc(32, 7).toString('base64')}`);

/** All endpoints, behind one egress. Each process of the server has its own egress. */
export class Endpoints {
  readonly #checker: InvariantChecker;
  readonly #ledger: MemoryLedger;
  readonly #clock: ManualClock;
  readonly #dice: Dice;
  /** When false, no endpoint fails. */
  trouble = true;

  constructor(checker: InvariantChecker, ledger: MemoryLedger, clock: ManualClock, dice: Dice) {
    this.#checker = checker;
    this.#ledger = ledger;
    this.#clock = clock;
    this.#dice = dice;
  }

  /** The egress of one process. `alive` returns whether that process still runs. */
  egress(alive: () => boolean): Egress {
    return {
      check: (url) => url,
      close: async () => undefined,
      post: (request) =>
        alive() ? this.#post(request, alive) : new Promise<never>(() => undefined),
    };
  }

  #manner(): Manner {
    if (!this.trouble) return 'ok';
    const total = MANNERS.reduce((sum, [, weight]) => sum + weight, 0);
    let left = this.#dice.below(total * 10) / 10;
    for (const [manner, weight] of MANNERS) if ((left -= weight) < 0) return manner;
    return 'ok';
  }

  async #post(request: OutboundRequest, alive: () => boolean): Promise<OutboundResult> {
    const text = Buffer.from(request.body).toString('utf8');
    const { params } = JSON.parse(text) as { params: SeenDelivery | Challenge };
    const manner = this.#manner();
    if ('challenge' in params) {
      const { challenge } = params;
      await this.#wait(this.#dice.below(50));
      if (manner === 'refuse' || manner === 'broken') return failure('connection_refused');
      return answer(200, { challenge, proof: challengeProof(SECRET, challenge) });
    }
    const delivery = params;
    const events = JSON.stringify((delivery as { events: unknown }).events);
    const settle = this.#checker.attempt(
      delivery,
      request.url,
      request.headers['webhook-id'] ?? '',
      events,
    );
    const end = (
      how: 'acked' | 'failed' | 'lost',
      result: OutboundResult,
      statement?: { ack: number; reject?: number },
    ): OutboundResult => {
      const isFinal = result.kind === 'response' && (result.status < 300 || result.status === 410);
      if (delivery.terminated !== undefined && isFinal)
        this.#checker.noticed(delivery.subscriptionId);
      if (alive()) settle(how, statement);
      else if (statement !== undefined)
        this.#checker.stated(delivery.subscriptionId, delivery.epoch, statement.ack);
      return result;
    };
    // A request that was sent arrives, whether or not its sender lives to receive the answer.
    await this.#wait(this.#dice.below(manner === 'late' ? 4_000 : 60));
    const last = Math.max(
      delivery.afterSequence,
      delivery.events.at(-1)?.sequence ?? 0,
      delivery.gaps?.at(-1)?.to ?? 0,
    );
    switch (manner) {
      case 'refuse':
        return end('failed', failure('connection_refused'));
      case 'broken':
        return end('failed', answer(500, null));
      case 'config':
        return end('failed', answer(this.#dice.pick([400, 401, 404, 422]), null));
      case 'busy':
        return end('failed', {
          ...answer(this.#dice.pick([429, 503]), null),
          retryAfter: String(this.#dice.below(200)),
        });
      case 'too_large':
        return end('failed', answer(413, null));
      case 'gone':
        return end('failed', answer(410, null));
      case 'html':
        return end('failed', answer(200, '<html>'));
      case 'too_much':
        return end('failed', answer(200, { ackSequence: last + 1 + this.#dice.below(3) }));
      case 'silent':
        await this.#wait(request.deadlineMs);
        return end('lost', failure('timeout'));
      default:
    }
    const cut = manner === 'partial' || (manner === 'reject' && delivery.gaps === undefined);
    const most = cut
      ? this.#dice.below(Math.max(1, last - delivery.afterSequence))
      : Number.POSITIVE_INFINITY;
    const applied = this.#ledger.apply(delivery, most);
    if (applied === null) return end('failed', answer(503, null));
    await this.#wait(this.#dice.below(manner === 'late' ? 5_000 : 60));
    if (manner === 'answer_lost') return end('lost', failure('timeout'));
    const ack = Math.min(applied, last);
    if (cut && manner === 'reject' && ack < last)
      return end(
        'acked',
        answer(200, { ackSequence: ack, reject: { sequence: ack + 1, reason: 'no' } }),
        {
          ack,
          reject: ack + 1,
        },
      );
    if (ack === delivery.afterSequence && last > delivery.afterSequence)
      return end('failed', answer(200, { ackSequence: ack }));
    return end('acked', answer(200, { ackSequence: ack }), { ack });
  }

  #wait(ms: number): Promise<void> {
    return ms === 0
      ? Promise.resolve()
      : new Promise((resolve) => {
          this.#clock.after(ms, resolve);
        });
  }
}

type Response = Extract<OutboundResult, { kind: 'response' }>;

const failure = (category: 'connection_refused' | 'timeout'): OutboundResult => ({
  kind: 'failure',
  category,
  cause: new Error(category),
});

const answer = (status: number, body: unknown): Response => ({
  kind: 'response',
  status,
  contentType: 'application/json',
  retryAfter: null,
  body:
    body === null
      ? new Uint8Array()
      : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
});
