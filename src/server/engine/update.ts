/**
 * `triggers/update`: changes the given members of a subscription in one step, and resumes its
 * callback if the client asks for it. As in `subscribe`, slow work comes first and the decision
 * last (SEP: triggers/update).
 */
import type { UpdateRequestParams, UpdateResult } from '../../../spec-schema/draft/schema.ts';
import { grantTtl, type TtlPolicy } from '../../protocol/core/index.ts';
import type { Callback, Change, Selection, Subscription } from '../../protocol/core/types.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import {
  isSameCallback,
  isSameEndpoint,
  replaceCallback,
  withoutPrevious,
  type CallbackConsent,
  type RequestedCallback,
} from './callback-consent.ts';
import { assertDrain, type Catalog } from './catalog.ts';
import type { Permissions } from './permissions.ts';
import type { Sequencer } from './sequencer.ts';
import type { LoadedSubscription } from './subscription-cache.ts';
import { assertEtag, type Subscriptions } from './subscriptions.ts';
import type { UnitOfWork } from './unit-of-work.ts';
import type { Caller } from './verbs.ts';

export interface UpdateOptions {
  readonly unitOfWork: UnitOfWork;
  readonly catalog: Catalog;
  readonly sequencer: Sequencer;
  readonly subscriptions: Subscriptions;
  readonly permissions: Permissions;
  readonly consent: CallbackConsent;
  readonly clock: Clock;
  readonly ttl: TtlPolicy;
}

export class UpdateHandler {
  readonly #o: UpdateOptions;

  constructor(options: UpdateOptions) {
    this.#o = options;
  }

  async update(caller: Caller, params: UpdateRequestParams): Promise<UpdateResult> {
    const { unitOfWork, catalog, clock, sequencer, ttl, subscriptions } = this.#o;
    const first = await subscriptions.own(caller, params.subscriptionId);
    const select = await this.#select(caller, params, first.state);
    const requested = this.#callback(params, select ?? first.state.select, first.state);
    assertEtag(first.state, params.ifMatch);
    // A challenge shows the subscription's counters, which must be on disk first.
    await unitOfWork.commit();
    const verifiedAt = await this.#verify(caller, requested, first);
    const loaded = await this.#ownForChange(caller, params.subscriptionId, select !== undefined);
    assertEtag(loaded.state, params.ifMatch);
    // A trigger type may have been removed meanwhile.
    if (select !== undefined) catalog.select(select);
    const before = loaded.state.select;
    const { callback: current } = loaded.state;
    const ttlMs =
      params.ttlMs === undefined && params.noExpiry !== true ? undefined : grantTtl(params, ttl);
    const callback = nextCallback(params, requested, verifiedAt, current, clock.now());
    const change: Change = {
      ...(select === undefined ? {} : { select, retention: catalog.retentionOf(select) }),
      ...(params.paused === undefined ? {} : { paused: params.paused }),
      ...(ttlMs === undefined ? {} : { ttlMs }),
      ...(callback === undefined ? {} : { callback }),
    };
    const { refused } = unitOfWork.step(loaded, { type: 'configure', change });
    // The subscription expired during the challenge: the repeated call rejects with `NotFound`.
    if (refused !== undefined) return this.update(caller, params);
    if (select !== undefined) sequencer.follow(loaded, select, before);
    const { state } = loaded;
    await unitOfWork.commit();
    const resumed = params.resume === true ? await this.#resume(caller, loaded) : null;
    return subscriptions.describe(resumed ?? state, ttlMs === undefined ? undefined : { ttlMs });
  }

  /**
   * Resumes a suspended callback whose endpoint consents; null = nothing changes. Comes after the
   * change is on disk, because a grant must not wait for an endpoint.
   */
  async #resume(caller: Caller, { state }: LoadedSubscription): Promise<Subscription | null> {
    const { consent, subscriptions, unitOfWork } = this.#o;
    const { callback, subscriptionId, suspendedAt } = state;
    if (callback === null || suspendedAt === null) return null;
    const asked = await subscriptions.own(caller, subscriptionId);
    const verifiedAt = await consent.again(asked, callback);
    if (verifiedAt === null) return null;
    const loaded = await subscriptions.own(caller, subscriptionId);
    // Another call may have replaced the callback meanwhile.
    if (!isSameCallback(loaded.state.callback, callback)) return null;
    unitOfWork.step(loaded, {
      type: 'configure',
      change: { resume: true, callback: { ...callback, verifiedAt } },
    });
    const { state: resumed } = loaded;
    await unitOfWork.commit();
    return resumed;
  }

  /**
   * The new selection; undefined = unchanged. Rejects if the caller may not follow the new
   * selection, or the unchanged one.
   */
  async #select(
    caller: Caller,
    params: UpdateRequestParams,
    state: Subscription,
  ): Promise<Selection[] | undefined> {
    const { permissions, subscriptions } = this.#o;
    if (params.select !== undefined) return permissions.resolve(caller, params.select);
    await subscriptions.permitted(caller, state.subscriptionId);
    return undefined;
  }

  /**
   * The new callback; null = the call sets none, or repeats the current one. Throws `Unsupported`
   * if the subscription has a callback after the change but a selected type does not offer that
   * drain.
   */
  #callback(
    params: UpdateRequestParams,
    select: readonly Selection[],
    state: Subscription,
  ): RequestedCallback | null {
    const requested = params.callback === undefined ? null : this.#o.consent.check(params.callback);
    if (requested !== null || (state.callback !== null && params.removeCallback !== true))
      assertDrain(this.#o.catalog, select, 'callback');
    return isSameCallback(state.callback, requested) ? null : requested;
  }

  /**
   * When the callback proved the consent that the change needs, in epoch milliseconds; null = it
   * needs none.
   */
  async #verify(
    caller: Caller,
    requested: RequestedCallback | null,
    first: LoadedSubscription,
  ): Promise<number | null> {
    const { consent } = this.#o;
    if (requested === null) return null;
    const { callback: current } = first.state;
    if (current !== null && isSameEndpoint(current, requested)) return current.verifiedAt;
    const recent = await consent.recent(caller.principal, requested);
    // The consent to another secret says nothing about this one.
    const isCurrentUrl = first.state.callback?.url === requested.url;
    return recent !== null && !isCurrentUrl ? recent : consent.prove(first.state, requested);
  }

  /**
   * The current subscription. With `selects`, resolves only when every accepted event has its
   * numbers, because those events belong to the old selection.
   */
  async #ownForChange(
    caller: Caller,
    subscriptionId: string,
    selects: boolean,
  ): Promise<LoadedSubscription> {
    const { sequencer, subscriptions } = this.#o;
    for (;;) {
      if (selects) await sequencer.caughtUp();
      const loaded = await subscriptions.own(caller, subscriptionId);
      if (!selects || sequencer.lag === 0) return loaded;
    }
  }
}

/** The callback after the change; undefined = unchanged. */
function nextCallback(
  params: UpdateRequestParams,
  requested: RequestedCallback | null,
  verifiedAt: number | null,
  current: Callback | null,
  now: number,
): Callback | null | undefined {
  if (params.removeCallback === true) return null;
  const next =
    requested === null || verifiedAt === null
      ? current
      : replaceCallback(current, requested, verifiedAt, now);
  if (next === null) return undefined;
  return params.revokePrevious === true ? withoutPrevious(next) : next;
}
