/**
 * The journey of a subscription for every drain, protocol revision and transport: listed,
 * subscribed, fed, read in order, acknowledged, paused, changed under a precondition, carried over
 * a restart, ended.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Drain, TriggerEvent, Subscription } from 'mcp-triggers-experimental';
import {
  connect,
  memoryLedger,
  triggersClient,
  WireError,
  type Ledger,
  type Target,
  type TriggersClient,
  type TriggersSubscription,
} from 'mcp-triggers-experimental/client';
import { openEndpoint, type Endpoint } from '../../reference-client/endpoint.ts';
import type { Feed } from './feeds.ts';
import { eventually } from './support.ts';

export const REVISIONS = ['2026-07-28', '2025-11-25'] as const;

export interface Route {
  readonly drain: Drain;
  readonly revision: (typeof REVISIONS)[number];
  readonly target: Target;
  readonly feed: Feed;
  /**
   * `client`: the server is its child, so that restarting the client restarts both. Otherwise the
   * function that restarts the server.
   */
  readonly restart: 'client' | (() => Promise<void>);
}

const QUIET_MS = 300;
const TUNING = { backoff: { baseMs: 50, maxMs: 500 } };

/** A reader of the subscription, and what it received. */
class Reader {
  readonly events: TriggerEvent[] = [];
  readonly others: string[] = [];
  readonly subscription: TriggersSubscription;
  readonly #done: Promise<void>;

  constructor(subscription: TriggersSubscription) {
    this.subscription = subscription;
    this.#done = this.#read();
    this.#done.catch(() => undefined);
  }

  async #read(): Promise<void> {
    for await (const item of this.subscription) {
      if (item.type === 'event') this.events.push(item.event);
      else if (item.type === 'gap')
        this.others.push(`gap ${item.gap.from}-${item.gap.to} ${item.gap.reason}`);
      else this.others.push(item.type);
    }
  }

  async close(options: { readonly unsubscribe?: boolean } = {}): Promise<void> {
    await this.subscription.close(options);
    await this.#done;
  }
}

class Journey {
  readonly #route: Route;
  readonly #key: string;
  readonly #ledger: Ledger = memoryLedger();
  readonly #expected: string[] = [];
  /** The numbers that are gaps. */
  readonly #gaps: number[] = [];
  /** Everything read so far, over all readers. */
  readonly #read: TriggerEvent[] = [];
  #client!: TriggersClient;
  #endpoint: Endpoint | undefined;
  #reader: Reader | undefined;
  #subscriptionId = '';

  constructor(route: Route) {
    this.#route = route;
    this.#key = `journey-${route.drain}-${route.revision}`;
  }

  async travel(): Promise<void> {
    try {
      await this.#connect();
      await this.#isOffered();
      await this.#subscribesTwice();
      await this.#reads(5);
      await this.#isAcknowledged();
      await this.#appendsNothingTwice();
      if (this.#route.drain === 'callback') await this.#pauses();
      await this.#restarts();
      await this.#reads(3);
      await this.#changesUnderAPrecondition();
      await this.#ends();
    } finally {
      await this.#leave();
    }
  }

  async #connect(): Promise<void> {
    const { target, revision, drain } = this.#route;
    this.#client = triggersClient(await connect(target, { protocol: revision }));
    assert.equal(this.#client.connection.protocolVersion, revision);
    if (drain === 'callback')
      this.#endpoint ??= await openEndpoint({
        port: 0,
        server: this.#client.connection.server,
        jwksUri: this.#client.capability?.jwksUri,
        onRejected: () => undefined,
      });
  }

  async #isOffered(): Promise<void> {
    const { drain, feed } = this.#route;
    assert.ok(this.#client.capability?.levels.includes(drain === 'pull' ? 'log' : drain));
    assert.ok(this.#client.capability?.levels.includes('durable'));
    const types = await all(this.#client.triggers());
    assert.ok(types.find(({ name }) => name === feed.select[0]!.name)?.drains?.includes(drain));
    const page = await this.#client.list();
    const again = await this.#client.list({ ifNoneMatch: page.etag });
    assert.ok('notModified' in again && again.notModified);
  }

  /** Creates the subscription; a second call finds the first one's. */
  async #subscribesTwice(): Promise<void> {
    const who = { audience: this.#client.connection.server, key: this.#key };
    const registration = await this.#endpoint?.receiver.register(who);
    const params = {
      key: this.#key,
      select: [...this.#route.feed.select],
      ...(registration ? { callback: { url: registration.url, secret: registration.secret } } : {}),
    };
    const first = await this.#client.create(params);
    const second = await this.#client.create(params);
    assert.deepEqual([first.created, second.created], [true, false]);
    assert.equal(second.subscriptionId, first.subscriptionId);
    assert.equal(second.etag, first.etag);
    assert.deepEqual([first.head, first.acked], [0, 0]);
    this.#subscriptionId = first.subscriptionId;
    const mine = await all(this.#client.subscriptions());
    assert.ok(mine.some(({ subscriptionId }) => subscriptionId === first.subscriptionId));
    await this.#open();
  }

  async #open(): Promise<void> {
    const { drain, feed } = this.#route;
    const subscription = this.#client.subscribe({
      key: this.#key,
      select: feed.select,
      drain,
      ledger: this.#ledger,
      tuning: TUNING,
      ...(this.#endpoint ? { callback: this.#endpoint.receiver } : {}),
    });
    this.#reader = new Reader(subscription);
    const { subscriptionId } = await subscription.ready();
    assert.equal(
      subscriptionId,
      this.#subscriptionId,
      'the same key leads to the same subscription',
    );
    const { guarantee } = subscription;
    assert.deepEqual(
      [guarantee.order, guarantee.loss, guarantee.drain],
      ['total', 'none silent', drain],
    );
  }

  async #happens(count: number): Promise<void> {
    for (let at = 0; at < count; at++) {
      this.#expected.push(await this.#route.feed.happen());
      // The file system decides the order of files that appear together; here the journey's order
      // is needed.
      if (this.#route.restart === 'client') await this.#arrived();
    }
  }

  get #events(): readonly TriggerEvent[] {
    return [...this.#read, ...(this.#reader?.events ?? [])];
  }

  /** The head of the log. */
  get #head(): number {
    return this.#expected.length + this.#gaps.length;
  }

  async #arrived(): Promise<void> {
    await eventually(
      `${this.#expected.length} events, ${this.#events.length} so far`,
      () => this.#events.length >= this.#expected.length,
    );
    assert.deepEqual(
      this.#events.map(({ sequence }) => sequence),
      Array.from({ length: this.#head }, (_, at) => at + 1).filter(
        (number) => !this.#gaps.includes(number),
      ),
    );
    assert.deepEqual(
      this.#events.map((event) => this.#route.feed.identify(event)),
      this.#expected,
    );
    assert.deepEqual(
      this.#reader?.others,
      this.#gaps.map((number) => `gap ${number}-${number} unwatched`),
      'no other gap, no change of epoch, nothing lost',
    );
  }

  async #reads(count: number): Promise<void> {
    await this.#happens(count);
    await this.#arrived();
  }

  async #get(): Promise<Subscription> {
    const got = await this.#client.get(this.#subscriptionId);
    assert.ok('subscriptionId' in got);
    return got;
  }

  async #isAcknowledged(): Promise<void> {
    const total = this.#expected.length;
    const before = await this.#get();
    await eventually(`acknowledged to ${total}`, async () => (await this.#get()).acked === total);
    const after = await this.#get();
    assert.deepEqual(
      [after.head, after.etag],
      [total, before.etag],
      'counters do not change the etag',
    );
    const unchanged = await this.#client.get(this.#subscriptionId, after.etag);
    assert.ok('notModified' in unchanged && unchanged.acked === total);
  }

  async #appendsNothingTwice(): Promise<void> {
    const { repeat } = this.#route.feed;
    if (!repeat) return;
    await repeat();
    assert.equal((await this.#get()).head, this.#expected.length);
    // The next number is the next event's, so nothing was appended in between.
    await this.#reads(1);
  }

  async #pauses(): Promise<void> {
    const paused = await this.#client.update({
      subscriptionId: this.#subscriptionId,
      paused: true,
    });
    assert.equal(paused.paused, true);
    const before = this.#events.length;
    await this.#happens(2);
    await eventually(
      'numbering goes on',
      async () => (await this.#get()).head === this.#expected.length,
    );
    await sleep(QUIET_MS);
    assert.equal(this.#events.length, before, 'nothing is delivered while paused');
    const resumed = await this.#client.update({
      subscriptionId: this.#subscriptionId,
      paused: false,
    });
    assert.equal(resumed.paused, undefined);
    await this.#arrived();
  }

  async #restarts(): Promise<void> {
    const { restart } = this.#route;
    const before = await this.#get();
    if (restart === 'client') {
      await this.#reader!.close();
      this.#read.push(...this.#reader!.events);
      this.#reader = undefined;
      await this.#client.close();
      await this.#connect();
      await this.#open();
    } else {
      await restart();
    }
    const after = await eventually('the server answers again', () =>
      this.#get().catch(() => undefined),
    );
    if (this.#route.feed.isUnwatchedAtStart === true) this.#gaps.push(before.head + 1);
    assert.deepEqual(
      [after.epoch, after.head, after.etag, after.ttlMs],
      [before.epoch, this.#head, before.etag, before.ttlMs],
    );
    assert.ok(after.acked >= before.acked, 'an acknowledgement never moves back');
  }

  async #changesUnderAPrecondition(): Promise<void> {
    const before = await this.#get();
    const changed = await this.#client.update({
      subscriptionId: this.#subscriptionId,
      ifMatch: before.etag,
      ttlMs: 2 * before.ttlMs!,
    });
    assert.equal(changed.ttlMs, 2 * before.ttlMs!);
    assert.notEqual(changed.etag, before.etag);
    const refused = await failure(
      this.#client.update({
        subscriptionId: this.#subscriptionId,
        ifMatch: before.etag,
        ttlMs: 60_000,
        paused: true,
      }),
    );
    assert.ok(refused.is('Conflict'));
    assert.deepEqual(refused.data, { kind: 'etag', etag: changed.etag });
    const after = await this.#get();
    assert.deepEqual(
      [after.ttlMs, after.paused, after.etag],
      [changed.ttlMs, undefined, changed.etag],
      'the rejected change left no trace',
    );
  }

  async #ends(): Promise<void> {
    await eventually(
      'everything acknowledged',
      async () => (await this.#get()).acked === this.#head,
    );
    const { epoch, head, acked } = await this.#get();
    await this.#reader!.close({ unsubscribe: true });
    const gone = await failure(this.#client.get(this.#subscriptionId));
    assert.ok(gone.is('NotFound'));
    assert.deepEqual(gone.data, {
      kind: 'subscription',
      reason: 'unsubscribed',
      final: { epoch, head, acked },
    });
  }

  async #leave(): Promise<void> {
    await this.#reader?.close().catch(() => undefined);
    await this.#client?.close().catch(() => undefined);
    await this.#endpoint?.close();
  }
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** Resolves with the typed error of a call that must be rejected. */
async function failure(call: Promise<unknown>): Promise<WireError> {
  const error = await call.then(
    () => assert.fail('the call should have been rejected'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof WireError, String(error));
  return error;
}

/** Runs one journey from beginning to end; rejects at the first deviation. */
export const journey = (route: Route): Promise<void> => new Journey(route).travel();
