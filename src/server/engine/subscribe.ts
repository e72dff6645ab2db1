/**
 * `triggers/subscribe`: creates a subscription, or renews the one with the same key. Slow work
 * (authorization, challenge, reading history or states) comes first; the decision and its commit
 * come last and use the state of that moment, so that concurrent calls cannot undo each other (SEP:
 * triggers/subscribe).
 */
import type { SubscribeRequestParams, SubscribeResult } from '../../../spec-schema/draft/schema.ts';
import { create, etagOf, grantTtl, type TtlPolicy } from '../../protocol/core/index.ts';
import type { Callback, Change, Selection, Subscription } from '../../protocol/core/types.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import { KeyedMutex } from '../../protocol/lib/keyed-mutex.ts';
import { sameSelect } from '../../protocol/wire/canonical.ts';
import { conflict, invalidParams, unsupported } from '../../protocol/wire/errors.ts';
import { parseInstant } from '../../protocol/wire/instant.ts';
import type { Dialects } from '../callback/dialects.ts';
import type { AcceptedEvent, Store } from '../store/port.ts';
import {
  isSameCallback,
  replaceCallback,
  type CallbackConsent,
  type RequestedCallback,
} from './callback-consent.ts';
import { assertDrain, type Catalog } from './catalog.ts';
import { levelTriggered, readInitial } from './initial-state.ts';
import type { Selecting } from './matcher.ts';
import type { Permissions } from './permissions.ts';
import { newEpoch, type Log, type Meter, type Random } from './ports.ts';
import { SubscriptionQuota } from './quota.ts';
import { instant } from './reader.ts';
import type { Sequencer } from './sequencer.ts';
import type { LoadedSubscription, SubscriptionCache } from './subscription-cache.ts';
import type { Subscriptions } from './subscriptions.ts';
import type { UnitOfWork } from './unit-of-work.ts';
import type { Caller, ClientOptions, SubscribeAs } from './verbs.ts';

/** Accepted events read from the store at once. */
const HISTORY_PAGE = 500;

/** The matching events that a new log starts with, of those accepted up to the offset `upTo`. */
interface History {
  readonly events: AcceptedEvent[];
  upTo: number;
}

export interface SubscribeOptions {
  readonly store: Store;
  readonly cache: SubscriptionCache;
  readonly unitOfWork: UnitOfWork;
  readonly catalog: Catalog;
  readonly sequencer: Sequencer;
  readonly subscriptions: Subscriptions;
  readonly permissions: Permissions;
  readonly consent: CallbackConsent;
  readonly dialects: Dialects;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
  readonly ttl: TtlPolicy;
  readonly maxPerPrincipal: number;
  readonly maxBytesPerPrincipal: number;
  readonly maxEventBytes: number;
}

export class SubscribeHandler {
  readonly #o: SubscribeOptions;
  /**
   * Allows one call at a time for each pair of principal and key, because a second call must find
   * the subscription that the first created.
   */
  readonly #calls = new KeyedMutex();
  readonly #quota: SubscriptionQuota;
  #nextRow = 1;

  constructor(options: SubscribeOptions) {
    this.#o = options;
    this.#quota = new SubscriptionQuota(
      options.store,
      options.maxPerPrincipal,
      options.maxBytesPerPrincipal,
    );
  }

  /**
   * Must be called before `subscribe`. `nextRow` is the lowest row number that was never assigned.
   */
  start(nextRow: number): void {
    this.#nextRow = nextRow;
  }

  async subscribe(
    caller: Caller,
    params: SubscribeRequestParams,
    as?: SubscribeAs,
    client: ClientOptions = {},
  ): Promise<SubscribeResult> {
    const { catalog, consent, dialects, permissions, subscriptions } = this.#o;
    // Throws for a dialect that the engine does not have.
    if (as !== undefined) dialects.of(as);
    const select = await permissions.resolve(caller, params.select);
    const callback: RequestedCallback | null =
      params.callback === undefined ? null : { ...consent.check(params.callback), ...as };
    if (callback !== null) assertDrain(catalog, select, 'callback');
    const { key } = params;
    return this.#calls.run(`${caller.principal}\n${key}`, async () => {
      const found = await subscriptions.byKey(caller, key);
      const renewed =
        found === null ? null : await this.#renew(found, select, callback, params, as);
      return renewed ?? this.#create(caller, key, select, callback, params, client);
    });
  }

  /**
   * Renews the lifetime, without asking the endpoint. Resolves with null when the subscription
   * ended during the call. Rejects with `Conflict` (key) when the call differs from the
   * subscription.
   */
  async #renew(
    found: LoadedSubscription,
    select: readonly Selection[],
    requested: RequestedCallback | null,
    params: SubscribeRequestParams,
    as: SubscribeAs | undefined,
  ): Promise<SubscribeResult | null> {
    const { cache, unitOfWork, clock, ttl, consent, subscriptions } = this.#o;
    const assertSame = ({ state }: LoadedSubscription): void => {
      const same = as !== undefined || isSameCallback(state.callback, requested);
      if (!same || !sameSelect(state.select, select))
        throw conflict({ kind: 'key', subscriptionId: state.subscriptionId, etag: etagOf(state) });
    };
    assertSame(found);
    // Only a dialect gets here with another callback.
    const verifiedAt =
      requested === null || isSameCallback(found.state.callback, requested)
        ? null
        : await consent.recentOrProve(found, requested);
    const ttlMs = grantTtl(params, ttl);
    const loaded = await cache.getOrLoad(found.row);
    if (loaded === undefined || loaded.ended) return null;
    // An update may have changed the subscription during the challenge.
    assertSame(loaded);
    const change: Change = {
      ttlMs,
      ...(verifiedAt === null || requested === null
        ? {}
        : { callback: replaceCallback(loaded.state.callback, requested, verifiedAt, clock.now()) }),
    };
    const { refused } = unitOfWork.step(loaded, { type: 'configure', change });
    // The subscription expired during the call, and its end is not recorded yet.
    if (refused !== undefined) unitOfWork.step(loaded, { type: 'tick' });
    const { state } = loaded;
    await unitOfWork.commit();
    if (refused !== undefined) return null;
    if (as !== undefined) await this.#refreshConsent(found.row);
    return { ...subscriptions.describe(state, { ttlMs }), created: false };
  }

  /**
   * Resumes a suspended callback whose endpoint consents, and suspends one whose consent has
   * lapsed. For bindings only: their clients cannot ask for it.
   */
  async #refreshConsent(row: number): Promise<void> {
    const { cache, consent, random, unitOfWork } = this.#o;
    const asked = await cache.getOrLoad(row);
    const callback = asked?.state.callback ?? null;
    if (asked === undefined || asked.ended || callback === null) return;
    const verifiedAt = await consent.again(asked, callback);
    const loaded = await cache.getOrLoad(row);
    if (loaded === undefined || loaded.ended || !isSameCallback(loaded.state.callback, callback))
      return;
    if (verifiedAt === null)
      unitOfWork.step(loaded, { type: 'verified', ok: false, jitter: random.uniform() });
    else if (loaded.state.suspendedAt !== null)
      unitOfWork.step(loaded, {
        type: 'configure',
        change: { resume: true, callback: { ...callback, verifiedAt } },
      });
    await unitOfWork.commit();
  }

  async #create(
    caller: Caller,
    key: string,
    select: readonly Selection[],
    requested: RequestedCallback | null,
    params: SubscribeRequestParams,
    client: ClientOptions,
  ): Promise<SubscribeResult> {
    const since = params.since === undefined ? null : this.#since(params.since, select);
    const leave = await this.#quota.enter(caller.principal);
    try {
      return await this.#createWithinQuota(caller, key, select, requested, params, client, since);
    } finally {
      leave();
    }
  }

  async #createWithinQuota(
    caller: Caller,
    key: string,
    select: readonly Selection[],
    requested: RequestedCallback | null,
    params: SubscribeRequestParams,
    client: ClientOptions,
    since: number | null,
  ): Promise<SubscribeResult> {
    const { unitOfWork, catalog, clock, sequencer, random, ttl, consent, subscriptions } = this.#o;
    const ttlMs = grantTtl(params, ttl);
    const subscriptionId = `sub_${random.token(24)}`;
    const epoch = newEpoch(random);
    const newState = (callback: Callback | null): Subscription =>
      create(
        {
          subscriptionId,
          principal: caller.principal,
          key,
          select,
          callback,
          ttlMs,
          retention: catalog.retentionOf(select),
          epoch,
          ...(client.dataRef === true ? { dataRef: true } : {}),
        },
        clock.now(),
      );
    let callback: Callback | null = null;
    if (requested !== null) {
      const verifiedAt =
        (await consent.recent(caller.principal, requested)) ??
        (await consent.prove(newState(null), requested));
      callback = replaceCallback(null, requested, verifiedAt, clock.now());
    }
    // Events that are accepted while the states are read follow them in the log.
    const leveled = levelTriggered(catalog, select);
    const readAt = clock.now();
    const history: History = { events: [], upTo: since === null ? sequencer.lastOffset : 0 };
    const initial = await readInitial(leveled, subscriptionId, this.#o);
    const replayed = since === null ? leveled : select;
    if (replayed.length > 0)
      while (history.upTo < sequencer.lastOffset)
        await this.#readHistory(
          history,
          { principal: caller.principal, select: replayed },
          since ?? 0,
        );
    // No await between here and the commit: the log starts right after the last accepted event.
    // A trigger type may have been removed meanwhile.
    catalog.select(select);
    const row = this.#nextRow;
    this.#nextRow += 1;
    const loaded = unitOfWork.create(row, sequencer.lastOffset, newState(callback));
    sequencer.follow(loaded, select, null);
    for (const event of initial) sequencer.acceptInto(loaded, event, readAt);
    for (const event of history.events) sequencer.replay(loaded, event);
    const { state } = loaded;
    await unitOfWork.commit();
    return {
      ...subscriptions.describe(state, { ttlMs }),
      created: true,
      ...(since === null ? {} : { since: instant(since) }),
    };
  }

  /**
   * The instant from which the log starts, in epoch milliseconds: as requested, but within the
   * history of every selected type. Throws `Unsupported` if a selected type has no history.
   */
  #since(requested: string, select: readonly Selection[]): number {
    const { catalog, clock } = this.#o;
    const maxAgeMs = catalog.historyOf(select);
    if (maxAgeMs === null) throw unsupported('since');
    const now = clock.now();
    // Accepted instants have whole milliseconds.
    const at = Math.ceil(parseInstant(requested));
    if (Number.isNaN(at)) throw invalidParams('/since', 'an RFC 3339 date-time');
    return Math.min(now, Math.max(at, now - maxAgeMs));
  }

  /** Continues the history up to the event that is the newest at the time of the call. */
  async #readHistory(history: History, selecting: Selecting, since: number): Promise<void> {
    const { unitOfWork, sequencer, store } = this.#o;
    const names = [...new Set(selecting.select.map(({ name }) => name))];
    const goal = sequencer.lastOffset;
    await unitOfWork.commit();
    while (history.upTo < goal) {
      const page = await store.history(names, since, history.upTo, HISTORY_PAGE);
      for (const event of page)
        if (event.offset <= goal && (await sequencer.selects(selecting, event)))
          history.events.push(event);
      const last = page.at(-1)?.offset ?? goal;
      history.upTo = page.length < HISTORY_PAGE ? goal : Math.min(last, goal);
    }
  }
}
