/**
 * Finds, shows, lists and ends subscriptions. A call for another principal's subscription rejects
 * with the same error as one for an unknown id (SEP: The subscription, Ending).
 */
import type {
  CallbackCondition,
  CallbackStatus,
  GetNotModified,
  GetRequestParams,
  GetResult,
  Subscription as WireSubscription,
  SubscriptionsRequestParams,
  SubscriptionsResult,
  UnsubscribeRequestParams,
  UnsubscribeResult,
} from '../../../spec-schema/draft/schema.ts';
import { callbackStateOf, etagOf, expired, renewAfter } from '../../protocol/core/index.ts';
import type { Subscription, TerminationReason } from '../../protocol/core/types.ts';
import { conflict, invalidParams, notFound } from '../../protocol/wire/errors.ts';
import { TOMBSTONE_MS } from '../../protocol/wire/limits.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Notice, Store } from '../store/port.ts';
import type { Permissions } from './permissions.ts';
import type { Random } from './ports.ts';
import { instant } from './reader.ts';
import type { Sequencer } from './sequencer.ts';
import type { LoadedSubscription, SubscriptionCache } from './subscription-cache.ts';
import type { UnitOfWork } from './unit-of-work.ts';
import type { Caller } from './verbs.ts';

/** Subscriptions per page of `triggers/subscriptions`. */
const PAGE = 50;
/** Subscriptions handled per commit when a call concerns many. */
const SWEEP = 256;

export interface SubscriptionsOptions {
  readonly store: Store;
  readonly cache: SubscriptionCache;
  readonly unitOfWork: UnitOfWork;
  readonly sequencer: Sequencer;
  readonly permissions: Permissions;
  readonly clock: Clock;
  readonly random: Random;
}

export class Subscriptions {
  readonly #o: SubscriptionsOptions;

  constructor(options: SubscriptionsOptions) {
    this.#o = options;
  }

  /* -------------------- lookup ---------------------------------------------------------------- */

  /**
   * The caller's own live subscription. Rejects with `WireError` `NotFound`; the error says how
   * the subscription ended if it was the caller's.
   */
  async own(caller: Caller, subscriptionId: string): Promise<LoadedSubscription> {
    const { store, cache, unitOfWork, clock } = this.#o;
    const row = await store.rowOf(subscriptionId);
    if (row !== null) {
      const loaded = await cache.getOrLoad(row);
      // The commit that ends the subscription writes the tombstone that is read below.
      if (loaded?.ended === true) await unitOfWork.commit();
      else if (loaded !== undefined && loaded.state.principal === caller.principal) {
        if (!expired(loaded.state, clock.now())) return loaded;
        await this.#expire(loaded);
      }
    }
    const tombstone = await store.tombstone(subscriptionId);
    if (
      tombstone !== null &&
      tombstone.principal === caller.principal &&
      tombstone.forgetAt > clock.now()
    ) {
      const { reason, epoch, head, acked } = tombstone;
      throw notFound({ kind: 'subscription', reason, final: { epoch, head, acked } });
    }
    throw notFound({ kind: 'subscription' });
  }

  /**
   * As {@link own}, for a call that also needs the permission for the selections. Rejects with
   * `Forbidden`, or with `NotFound` for what the caller may not see. If the owner, and not only
   * this request, has lost the permission, the subscription ends as `revoked` (SEP: Ending).
   */
  async permitted(caller: Caller, subscriptionId: string): Promise<LoadedSubscription> {
    const { cache, permissions, unitOfWork } = this.#o;
    const loaded = await this.own(caller, subscriptionId);
    const { select, principal } = loaded.state;
    const rejection = await permissions.rejectionOf(caller, select);
    if (rejection === null) return loaded;
    if (!(await permissions.isRevoked(principal, select))) throw rejection;
    const current = await cache.getOrLoad(loaded.row);
    // An update may have changed the selections meanwhile.
    if (current !== undefined && !current.ended && current.state.select === select) {
      unitOfWork.step(current, { type: 'terminate', reason: 'revoked' });
      await unitOfWork.commit();
    }
    await this.own(caller, subscriptionId);
    throw rejection;
  }

  /** The caller's live subscription with this key; null = none. */
  async byKey(caller: Caller, key: string): Promise<LoadedSubscription | null> {
    const { store, cache, clock } = this.#o;
    const row = await store.rowOfKey(caller.principal, key);
    const loaded = row === null ? undefined : await cache.getOrLoad(row);
    if (loaded === undefined || loaded.ended) return null;
    if (!expired(loaded.state, clock.now())) return loaded;
    await this.#expire(loaded);
    return null;
  }

  async #expire(loaded: LoadedSubscription): Promise<void> {
    this.#o.unitOfWork.step(loaded, { type: 'tick' });
    await this.#o.unitOfWork.commit();
  }

  /* -------------------- get, list, unsubscribe ------------------------------------------------ */

  async get(caller: Caller, params: GetRequestParams): Promise<GetResult | GetNotModified> {
    const { state } = await this.own(caller, params.subscriptionId);
    await this.#o.unitOfWork.commit();
    const etag = etagOf(state);
    if (params.ifNoneMatch === etag) {
      const { epoch, head, acked, expiresAt, callback } = state;
      return {
        notModified: true,
        etag,
        epoch,
        head,
        acked,
        oldest: state.floor + 1,
        ...(expiresAt === null ? {} : { expiresAt: instant(expiresAt) }),
        ...(callback === null ? {} : { callback: conditionOf(state) }),
      };
    }
    return this.describe(state);
  }

  async find(caller: Caller, key: string): Promise<WireSubscription | null> {
    const loaded = await this.byKey(caller, key);
    if (loaded === null) return null;
    const { state } = loaded;
    await this.#o.unitOfWork.commit();
    return this.describe(state);
  }

  async list(caller: Caller, params: SubscriptionsRequestParams): Promise<SubscriptionsResult> {
    const { store, cache, unitOfWork, clock } = this.#o;
    const after = cursorRow(params.cursor);
    const rows = await store.rowsOf(caller.principal, after, PAGE);
    await cache.load(rows);
    const subscriptions: WireSubscription[] = [];
    for (const row of rows) {
      const loaded = cache.get(row);
      if (loaded === undefined || loaded.ended || expired(loaded.state, clock.now())) continue;
      subscriptions.push(this.describe(loaded.state));
    }
    await unitOfWork.commit();
    const last = rows.at(-1);
    return {
      subscriptions,
      ...(rows.length === PAGE && last !== undefined
        ? { nextCursor: Buffer.from(`r${last}`).toString('base64url') }
        : {}),
    };
  }

  async unsubscribe(caller: Caller, params: UnsubscribeRequestParams): Promise<UnsubscribeResult> {
    const loaded = await this.own(caller, params.subscriptionId);
    assertEtag(loaded.state, params.ifMatch);
    this.#o.unitOfWork.step(loaded, { type: 'terminate', reason: 'unsubscribed' });
    await this.#o.unitOfWork.commit();
    return {};
  }

  /**
   * The subscription as the wire shows it, without the callback's URL and secrets. Computes
   * `renewAfterMs`, with jitter, from `granted.ttlMs` after a grant and from the remaining lifetime
   * otherwise.
   */
  describe(state: Subscription, granted?: { readonly ttlMs: number | null }): WireSubscription {
    const { clock, random } = this.#o;
    const now = clock.now();
    const left = state.expiresAt === null ? null : Math.max(0, state.expiresAt - now);
    const lifetime = granted === undefined ? left : granted.ttlMs;
    return describe(state, renewAfter(lifetime, random.uniform()), now);
  }

  /* -------------------- ending ---------------------------------------------------------------- */

  /**
   * Adds the deletion of a terminated subscription to the commit, with a tombstone that records
   * its reason and its last position, and with the notice that `noticeOf` makes for its callback.
   * Returns that notice.
   */
  end(
    loaded: LoadedSubscription,
    reason: TerminationReason,
    noticeOf: (forgetAt: number) => Notice | undefined,
  ): Notice | undefined {
    const { state } = loaded;
    const forgetAt = this.#o.clock.now() + TOMBSTONE_MS;
    const notice = noticeOf(forgetAt);
    this.#o.sequencer.follow(loaded, null, state.select);
    const { subscriptionId, principal, epoch, head, acked } = state;
    this.#o.unitOfWork.end(
      loaded,
      { subscriptionId, principal, reason, epoch, head, acked, forgetAt },
      notice,
    );
    return notice;
  }

  /**
   * Ends a principal's subscriptions, or one of them. Resolves with the number of subscriptions
   * ended.
   */
  async terminate(
    of: { readonly principal: string; readonly subscriptionId?: string },
    reason: TerminationReason,
  ): Promise<number> {
    const { store, unitOfWork } = this.#o;
    // The store lists committed subscriptions only.
    await unitOfWork.commit();
    let after = 0;
    let count = 0;
    for (;;) {
      const rows = await store.rowsOf(of.principal, after, SWEEP);
      const last = rows.at(-1);
      if (last === undefined) return count;
      await this.visit(rows, (loaded) => {
        if (of.subscriptionId !== undefined && loaded.state.subscriptionId !== of.subscriptionId)
          return;
        unitOfWork.step(loaded, { type: 'terminate', reason });
        count += 1;
      });
      after = last;
    }
  }

  /** Ends every subscription to a trigger type. */
  async terminateFollowers(name: string, reason: TerminationReason): Promise<void> {
    const { store, unitOfWork } = this.#o;
    const follows = (select: Subscription['select']): boolean =>
      select.some((selection) => selection.name === name);
    // The store lists committed subscriptions only. Later calls cannot create another: they check
    // the catalog again before their commit.
    await unitOfWork.commit();
    const rows: number[] = [];
    for await (const { row, select } of store.index()) if (follows(select)) rows.push(row);
    await this.visit(rows, (loaded) => {
      if (follows(loaded.state.select)) unitOfWork.step(loaded, { type: 'terminate', reason });
    });
  }

  /** Runs `work` for each live subscription among these rows, a bounded number per commit. */
  async visit(rows: readonly number[], work: (loaded: LoadedSubscription) => void): Promise<void> {
    const { cache, unitOfWork } = this.#o;
    for (let at = 0; at < rows.length; at += SWEEP) {
      const chunk = rows.slice(at, at + SWEEP);
      await cache.load(chunk);
      for (const row of chunk) {
        const loaded = cache.get(row);
        if (loaded !== undefined && !loaded.ended) work(loaded);
      }
      await unitOfWork.commit();
    }
  }
}

/** Throws `WireError` `Conflict` when `ifMatch` is not the current ETag. */
export function assertEtag(state: Subscription, ifMatch: string | undefined): void {
  const etag = etagOf(state);
  if (ifMatch !== undefined && ifMatch !== etag) throw conflict({ kind: 'etag', etag });
}

function describe(state: Subscription, renewAfterMs: number | null, now: number): WireSubscription {
  return {
    subscriptionId: state.subscriptionId,
    etag: etagOf(state),
    epoch: state.epoch,
    key: state.key,
    select: state.select.map((selection) => ({
      name: selection.name,
      arguments: { ...selection.arguments },
    })),
    ...(state.ttlMs === null ? {} : { ttlMs: state.ttlMs }),
    ...(state.expiresAt === null ? {} : { expiresAt: instant(state.expiresAt) }),
    ...(renewAfterMs === null ? {} : { renewAfterMs }),
    head: state.head,
    acked: state.acked,
    oldest: state.floor + 1,
    retention: { ...state.retention },
    ...(state.callback === null ? {} : { callback: callbackStatus(state.callback, state, now) }),
    ...(state.paused ? { paused: true } : {}),
    createdAt: instant(state.createdAt),
  };
}

function callbackStatus(
  callback: NonNullable<Subscription['callback']>,
  state: Subscription,
  now: number,
): CallbackStatus {
  const { state: condition, health } = conditionOf(state);
  return {
    origin: new URL(callback.url).origin,
    state: condition,
    verifiedAt: instant(callback.verifiedAt),
    ...(callback.previousUntil === null || callback.previousUntil <= now
      ? {}
      : { previousSecretUntil: instant(callback.previousUntil) }),
    ...(callback.skipAfterMs === undefined ? {} : { skipAfterMs: callback.skipAfterMs }),
    ...(callback.limits === undefined ? {} : { limits: callback.limits }),
    health,
  };
}

/** The members of a callback that change without a call of the client (SEP: The callback of a subscription). */
function conditionOf(state: Subscription): CallbackCondition {
  const { health, suspendedAt, endsAt } = state;
  return {
    state: callbackStateOf(state),
    health: {
      attempts: health.attempts,
      ...(health.lastDeliveryAt === null ? {} : { lastDeliveryAt: instant(health.lastDeliveryAt) }),
      ...(health.lastError === null ? {} : { lastError: health.lastError }),
      ...(health.failingSince === null ? {} : { failingSince: instant(health.failingSince) }),
      ...(suspendedAt === null ? {} : { suspendedAt: instant(suspendedAt) }),
      ...(endsAt === null ? {} : { endsAt: instant(endsAt) }),
    },
  };
}

function cursorRow(cursor: string | undefined): number {
  if (cursor === undefined) return 0;
  const text = Buffer.from(cursor, 'base64url').toString('latin1');
  if (!/^r[0-9]{1,15}$/.test(text))
    throw invalidParams('/cursor', 'a nextCursor that triggers/subscriptions returned');
  return Number(text.slice(1));
}
