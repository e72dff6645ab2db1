/**
 * Making, renewing, changing and ending subscriptions. Everything slow (authorisation, the challenge, reading history) comes
 * first; the decision and its commit come last and look at the state as it is then, so that two calls cannot undo each other.
 */
import type {
  Callback as WireCallback,
  Selection as WireSelection,
  GetNotModified,
  GetParams,
  GetResult,
  SubscribeParams,
  SubscribeResult,
  Subscription as WireSubscription,
  SubscriptionsParams,
  SubscriptionsResult,
  UnsubscribeParams,
  UnsubscribeResult,
  UpdateParams,
  UpdateResult,
} from '../../../spec-schema/draft/schema.ts';
import { create, etagOf, grantTtl, renewAfter, type TtlPolicy } from '../../protocol/core/index.ts';
import type { Callback, Change, Selection, Subscription } from '../../protocol/core/types.ts';
import { sameSelect, subscriptionKey } from '../../protocol/wire/canonical.ts';
import {
  conflict,
  forbidden,
  invalidParams,
  LocalError,
  notFound,
  resourceExhausted,
  unsupported,
} from '../../protocol/wire/errors.ts';
import { SECRET_ROTATION_GRACE_MS, TOMBSTONE_MS } from '../../protocol/wire/limits.ts';
import { Secret } from '../../protocol/wire/secret.ts';
import type { UnitOfWork, LoadedSubscription } from './unit-of-work.ts';
import { mayDrain, type Catalog } from './catalog.ts';
import { describe } from './describe.ts';
import type { Dialects } from '../callback/dialects.ts';
import type { Sequencer } from './sequencer.ts';
import type { AcceptedEvent, Store } from '../store/port.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Egress, Random } from './ports.ts';
import { instant } from './reader.ts';
import { KeyedMutex } from '../../protocol/lib/keyed-mutex.ts';
import { consentName, type Verifier } from '../callback/verifier.ts';
import type { Caller, SubscribeAs } from './verbs.ts';

const PAGE = 50;
const HISTORY_PAGE = 500;

/** A callback as it was asked for, and how it is spoken to. */
type Wanted = WireCallback & Pick<Callback, 'dialect'>;

/** Accepted events that a new log begins with, complete up to this offset. */
interface Past {
  readonly events: AcceptedEvent[];
  upTo: number;
}

/** Decides whether a caller may follow a selection. Asked when it subscribes, changes, renews or drains. */
export type Authorize = (
  caller: Caller,
  selection: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> },
) => boolean | Promise<boolean>;

/** Decides whether a caller's list of trigger types shows a type. */
export type Visible = (caller: Caller, name: string) => boolean | Promise<boolean>;

export interface SubscriptionsOptions {
  readonly store: Store;
  readonly unitOfWork: UnitOfWork;
  readonly catalog: Catalog;
  readonly sequencer: Sequencer;
  readonly verifier: Verifier;
  readonly dialects: Dialects;
  readonly egress: Egress;
  readonly clock: Clock;
  readonly random: Random;
  readonly authorize?: Authorize | undefined;
  readonly visible?: Visible | undefined;
  readonly ttl: TtlPolicy;
  readonly maxPerPrincipal: number;
}

export class Subscriptions {
  readonly #o: SubscriptionsOptions;
  /** Calls for one (principal, key) take turns: the second must see what the first made. */
  readonly #turns = new KeyedMutex();
  /** Subscriptions being made, by principal. */
  readonly #creating = new Map<string, number>();
  #nextRow = 1;

  constructor(options: SubscriptionsOptions) {
    this.#o = options;
  }

  start(nextRow: number): void {
    this.#nextRow = nextRow;
  }

  /* ------------------------------------------------------------------------------------------ finding */

  /** The caller's own subscription. For anybody else it does not exist, in the very same words. */
  async own(caller: Caller, subscriptionId: string): Promise<LoadedSubscription> {
    const { store, unitOfWork, clock } = this.#o;
    const row = await store.rowOf(subscriptionId);
    if (row !== null) {
      const loaded = await unitOfWork.getOrLoad(row);
      // Its end is being written: what follows looks for the tombstone.
      if (loaded?.ended === true) await unitOfWork.commit();
      else if (loaded !== undefined && loaded.state.principal === caller.principal) {
        if (loaded.state.expiresAt === null || loaded.state.expiresAt > clock.now()) return loaded;
        unitOfWork.step(loaded, { type: 'tick' });
        await unitOfWork.commit();
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

  /** Enters the end of a subscription and says where its log ended. */
  end(loaded: LoadedSubscription, reason: NonNullable<Subscription['terminated']>['reason']): void {
    const { state } = loaded;
    this.#o.sequencer.follow(loaded.row, null, state.select);
    this.#o.unitOfWork.end(loaded, {
      subscriptionId: state.subscriptionId,
      principal: state.principal,
      reason,
      epoch: state.epoch,
      head: state.head,
      acked: state.acked,
      forgetAt: this.#o.clock.now() + TOMBSTONE_MS,
    });
  }

  /* ---------------------------------------------------------------------------------------- subscribe */

  async subscribe(
    caller: Caller,
    params: SubscribeParams,
    as?: SubscribeAs,
  ): Promise<SubscribeResult> {
    if (as !== undefined) this.#o.dialects.of(as);
    const select = await this.#choose(caller, params.select);
    const wanted: Wanted | null =
      params.callback === undefined ? null : { ...this.#judge(params.callback), ...as };
    if (wanted !== null) mayDrain(this.#o.catalog, { select }, 'callback');
    const key = params.key ?? subscriptionKey(select, wanted?.url ?? null);
    return this.#turns.run(`${caller.principal}\n${key}`, async () => {
      const found = await this.#find(caller, key);
      const renewed = found === null ? null : await this.#renew(found, select, wanted, params, as);
      return renewed ?? this.#create(caller, key, select, wanted, params);
    });
  }

  async #find(caller: Caller, key: string): Promise<LoadedSubscription | null> {
    const { store, unitOfWork, clock } = this.#o;
    const row = await store.rowOfKey(caller.principal, key);
    const loaded = row === null ? undefined : await unitOfWork.getOrLoad(row);
    if (loaded === undefined || loaded.ended) return null;
    if (loaded.state.expiresAt === null || loaded.state.expiresAt > clock.now()) return loaded;
    unitOfWork.step(loaded, { type: 'tick' });
    await unitOfWork.commit();
    return null;
  }

  /**
   * The same call again: the grant is made anew and a suspended callback resumes. A call that differs changes nothing. Null when
   * the subscription ended while its callback was asked.
   */
  async #renew(
    loaded: LoadedSubscription,
    select: readonly Selection[],
    wanted: Wanted | null,
    params: SubscribeParams,
    as: SubscribeAs | undefined,
  ): Promise<SubscribeResult | null> {
    const { unitOfWork, clock, random, ttl } = this.#o;
    const refuseOther = ({ state }: LoadedSubscription): void => {
      const same =
        as === undefined
          ? sameCallback(state.callback, wanted) &&
            state.onFailure === (params.onFailure ?? state.onFailure)
          : true;
      if (!same || !sameSelect(state.select, select))
        throw conflict({ kind: 'key', subscriptionId: state.subscriptionId, etag: etagOf(state) });
    };
    refuseOther(loaded);
    const verifiedAt =
      as === undefined ? await this.#reverify(loaded) : await this.#consent(loaded, wanted);
    const grant = grantTtl(params.ttlMs, ttl);
    const now = await unitOfWork.getOrLoad(loaded.row);
    if (now === undefined || now.ended) return null;
    // An update may have come while the callback was asked.
    refuseOther(now);
    const change: Change = {
      ttlMs: grant,
      resume: true,
      ...(verifiedAt === null || wanted === null
        ? {}
        : { callback: successor(now.state.callback, wanted, verifiedAt, clock.now()) }),
    };
    const { refused } = unitOfWork.step(now, { type: 'configure', change });
    if (refused !== undefined) unitOfWork.step(now, { type: 'tick' });
    const { state } = now;
    await unitOfWork.commit();
    return refused === undefined
      ? {
          ...describe(state, renewAfter(grant, random.uniform()), this.#o.clock.now()),
          created: false,
        }
      : null;
  }

  /** A suspended callback must consent again before it is delivered to; null = nothing to ask. */
  async #reverify(loaded: LoadedSubscription): Promise<number | null> {
    const { callback, suspended, principal } = loaded.state;
    if (callback === null || !suspended) return null;
    const consent = await this.#o.verifier.consent(principal, callback);
    if (consent !== null) return consent;
    await this.#o.unitOfWork.commit();
    return this.#o.verifier.challenge(loaded.state, callback);
  }

  /** When the callback that is asked for proved its consent, if need be just now; null = none is asked for. */
  async #consent({ state }: LoadedSubscription, wanted: Wanted | null): Promise<number | null> {
    if (wanted === null) return null;
    const { unitOfWork, verifier } = this.#o;
    const consent = await verifier.consent(state.principal, wanted);
    if (consent !== null) return consent;
    await unitOfWork.commit();
    const verifiedAt = await verifier.challenge(state, wanted);
    unitOfWork.write({
      type: 'verification',
      principal: state.principal,
      urlHash: consentName(wanted),
      verifiedAt,
    });
    return verifiedAt;
  }

  async #create(
    caller: Caller,
    key: string,
    select: readonly Selection[],
    wanted: Wanted | null,
    params: SubscribeParams,
  ): Promise<SubscribeResult> {
    const since = params.since === undefined ? null : this.#since(params.since, select);
    const leave = await this.#admit(caller);
    try {
      return await this.#createAdmitted(caller, key, select, wanted, params, since);
    } finally {
      leave();
    }
  }

  /** Counts those under way too, or many calls at once would pass the quota together. The returned function ends one. */
  async #admit({ principal }: Caller): Promise<() => void> {
    const { store, maxPerPrincipal } = this.#o;
    const move = (by: number): number => {
      const count = (this.#creating.get(principal) ?? 0) + by;
      if (count === 0) this.#creating.delete(principal);
      else this.#creating.set(principal, count);
      return count;
    };
    move(1);
    try {
      const stored = await store.countOf(principal);
      if (stored + (this.#creating.get(principal) ?? 0) > maxPerPrincipal)
        throw resourceExhausted({ limit: 'subscriptions', max: maxPerPrincipal });
    } catch (cause) {
      move(-1);
      throw cause;
    }
    return () => void move(-1);
  }

  async #createAdmitted(
    caller: Caller,
    key: string,
    select: readonly Selection[],
    wanted: Wanted | null,
    params: SubscribeParams,
    since: number | null,
  ): Promise<SubscribeResult> {
    const { unitOfWork, catalog, clock, sequencer, random, ttl, verifier } = this.#o;
    const grant = grantTtl(params.ttlMs, ttl);
    const seed = (callback: Callback | null, now: number): Subscription =>
      create(
        {
          subscriptionId,
          principal: caller.principal,
          key,
          select,
          callback,
          ttlMs: grant,
          onFailure: params.onFailure ?? 'suspend',
          retention: catalog.retentionOf(select),
          epoch,
        },
        now,
      );
    const subscriptionId = `sub_${random.token(24)}`;
    const epoch = random.token(16);
    let callback: Callback | null = null;
    if (wanted !== null) {
      const fresh = await verifier.consent(caller.principal, wanted);
      const verifiedAt = fresh ?? (await verifier.challenge(seed(null, clock.now()), wanted));
      if (fresh === null)
        unitOfWork.write({
          type: 'verification',
          principal: caller.principal,
          urlHash: consentName(wanted),
          verifiedAt,
        });
      callback = { ...wanted, previousSecret: null, previousUntil: null, verifiedAt };
    }
    const past: Past = { events: [], upTo: 0 };
    if (since !== null)
      while (past.upTo < sequencer.lastOffset) await this.#recall(past, select, since);
    // From here to the commit nothing is awaited: the log starts right after the last accepted event.
    catalog.select(select);
    const row = this.#nextRow;
    this.#nextRow += 1;
    const loaded = unitOfWork.create(row, sequencer.lastOffset, seed(callback, clock.now()));
    sequencer.follow(row, select, null);
    for (const event of past.events) sequencer.replay(loaded, event);
    const { state } = loaded;
    await unitOfWork.commit();
    return {
      ...describe(state, renewAfter(grant, random.uniform()), this.#o.clock.now()),
      created: true,
      ...(since === null ? {} : { since: instant(since) }),
    };
  }

  #since(given: string, select: readonly Selection[]): number {
    const reach = this.#o.catalog.historyOf(select);
    if (reach === null) throw unsupported('since');
    const now = this.#o.clock.now();
    const at = Date.parse(given);
    if (!Number.isFinite(at))
      throw invalidParams('/since', 'an RFC 3339 instant in UTC with milliseconds');
    return Math.min(now, Math.max(at, now - reach));
  }

  /** Reads on, up to what is the last accepted event when it is called. More may be accepted meanwhile. */
  async #recall(past: Past, select: readonly Selection[], since: number): Promise<void> {
    const { unitOfWork, sequencer, store } = this.#o;
    const names = [...new Set(select.map(({ name }) => name))];
    const goal = sequencer.lastOffset;
    await unitOfWork.commit();
    while (past.upTo < goal) {
      const page = await store.history(names, since, past.upTo, HISTORY_PAGE);
      past.events.push(...page.filter(({ offset }) => offset <= goal));
      const last = page.at(-1)?.offset ?? goal;
      past.upTo = page.length < HISTORY_PAGE ? goal : Math.min(last, goal);
    }
  }

  /* ------------------------------------------------------------------------------------------- update */

  async update(caller: Caller, params: UpdateParams): Promise<UpdateResult> {
    const { unitOfWork, catalog, clock, sequencer, random, ttl, verifier } = this.#o;
    const first = await this.own(caller, params.subscriptionId);
    const select =
      params.select === undefined ? undefined : await this.#choose(caller, params.select);
    if (select === undefined) await this.authorize(caller, first.state.select);
    const wanted =
      params.callback === undefined || params.callback === null
        ? null
        : this.#judge(params.callback);
    if (wanted !== null || (first.state.callback !== null && params.callback === undefined))
      mayDrain(this.#o.catalog, { select: select ?? first.state.select }, 'callback');
    refuseStale(first.state, params.ifMatch);
    // A challenge shows counters: they must be on disk.
    await unitOfWork.commit();
    let verifiedAt: number | null = null;
    if (wanted !== null) {
      const fresh = await verifier.consent(caller.principal, wanted);
      // The same callback once more asks for a new proof; a new secret must prove itself too.
      const repeated = first.state.callback?.url === wanted.url;
      verifiedAt =
        fresh !== null && !repeated ? fresh : await verifier.challenge(first.state, wanted);
      if (verifiedAt !== fresh)
        unitOfWork.write({
          type: 'verification',
          principal: caller.principal,
          urlHash: consentName(wanted),
          verifiedAt,
        });
    } else if (params.callback === undefined) {
      verifiedAt = await this.#reverify(first);
    }
    // Events accepted so far belong to those who followed them until now.
    if (select !== undefined) await sequencer.level();
    let loaded = await this.own(caller, params.subscriptionId);
    while (select !== undefined && sequencer.lag > 0) {
      await sequencer.level();
      loaded = await this.own(caller, params.subscriptionId);
    }
    refuseStale(loaded.state, params.ifMatch);
    if (select !== undefined) catalog.select(select);
    const before = loaded.state.select;
    const { callback: current } = loaded.state;
    const grant = params.ttlMs === undefined ? undefined : grantTtl(params.ttlMs, ttl);
    const change: Change = {
      resume: true,
      ...(select === undefined ? {} : { select, retention: catalog.retentionOf(select) }),
      ...(params.paused === undefined ? {} : { paused: params.paused }),
      ...(params.onFailure === undefined ? {} : { onFailure: params.onFailure }),
      ...(grant === undefined ? {} : { ttlMs: grant }),
      ...(params.callback === null ? { callback: null } : {}),
      ...(wanted === null || verifiedAt === null
        ? {}
        : { callback: successor(current, wanted, verifiedAt, clock.now()) }),
      ...(wanted === null &&
      verifiedAt !== null &&
      current !== null &&
      current.url === first.state.callback?.url &&
      params.callback === undefined
        ? { callback: { ...current, verifiedAt } }
        : {}),
    };
    const { refused } = unitOfWork.step(loaded, { type: 'configure', change });
    // It expired while its callback was asked.
    if (refused !== undefined) return this.update(caller, params);
    if (select !== undefined) sequencer.follow(loaded.row, select, before);
    const { state } = loaded;
    await unitOfWork.commit();
    return grant === undefined
      ? this.#describe(state)
      : describe(state, renewAfter(grant, random.uniform()), this.#o.clock.now());
  }

  /* ----------------------------------------------------------------------------------- get, list, end */

  async get(caller: Caller, params: GetParams): Promise<GetResult | GetNotModified> {
    const loaded = await this.own(caller, params.subscriptionId);
    const { state } = loaded;
    await this.#o.unitOfWork.commit();
    const etag = etagOf(state);
    if (params.ifNoneMatch === etag) {
      return {
        notModified: true,
        etag,
        epoch: state.epoch,
        head: state.head,
        acked: state.acked,
        expiresAt: instant(state.expiresAt),
      };
    }
    return this.#describe(state);
  }

  async find(caller: Caller, key: string): Promise<WireSubscription | null> {
    const loaded = await this.#find(caller, key);
    if (loaded === null) return null;
    const { state } = loaded;
    await this.#o.unitOfWork.commit();
    return this.#describe(state);
  }

  async list(caller: Caller, params: SubscriptionsParams): Promise<SubscriptionsResult> {
    const { unitOfWork, clock, store } = this.#o;
    const after = cursorRow(params.cursor);
    const rows = await store.rowsOf(caller.principal, after, PAGE);
    await unitOfWork.load(rows);
    const subscriptions: WireSubscription[] = [];
    for (const row of rows) {
      const loaded = unitOfWork.get(row);
      const over =
        loaded === undefined ||
        loaded.ended ||
        (loaded.state.expiresAt !== null && loaded.state.expiresAt <= clock.now());
      if (!over) subscriptions.push(this.#describe(loaded.state));
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

  async unsubscribe(caller: Caller, params: UnsubscribeParams): Promise<UnsubscribeResult> {
    const { unitOfWork } = this.#o;
    const loaded = await this.own(caller, params.subscriptionId);
    refuseStale(loaded.state, params.ifMatch);
    unitOfWork.step(loaded, { type: 'terminate', reason: 'unsubscribed' });
    await unitOfWork.commit();
    return {};
  }

  /** The renew hint of a running grant: what is left of it, jittered. */
  #describe(state: Subscription): WireSubscription {
    const left =
      state.expiresAt === null ? null : Math.max(0, state.expiresAt - this.#o.clock.now());
    return describe(state, renewAfter(left, this.#o.random.uniform()), this.#o.clock.now());
  }

  /* --------------------------------------------------------------------------------------------- rules */

  /** What a caller wants to follow: known to it, permitted, and only then with arguments that fit. */
  async #choose(caller: Caller, wanted: readonly WireSelection[]): Promise<Selection[]> {
    const { authorize, catalog } = this.#o;
    const named = catalog.find(wanted);
    if (authorize !== undefined) {
      for (const selection of named) {
        if (await authorize(caller, selection)) continue;
        // Of a type that its list does not show, the caller is not told that it exists.
        throw (await this.lists(caller, selection.name))
          ? forbidden({ kind: 'trigger', name: selection.name })
          : notFound({ kind: 'trigger' });
      }
    }
    return catalog.select(named);
  }

  /** Whether the caller's list of trigger types shows this one. */
  async lists(caller: Caller, name: string): Promise<boolean> {
    const { authorize, visible } = this.#o;
    if (visible !== undefined) return visible(caller, name);
    return authorize === undefined || authorize(caller, { name, arguments: {} });
  }

  /** Refuses a caller that may not follow this any more. */
  async authorize(caller: Caller, select: readonly Selection[]): Promise<void> {
    const { authorize } = this.#o;
    if (authorize === undefined) return;
    for (const selection of select) {
      if (!(await authorize(caller, selection)))
        throw forbidden({ kind: 'trigger', name: selection.name });
    }
  }

  #judge(callback: WireCallback): WireCallback {
    this.#o.egress.check(callback.url);
    try {
      Secret.parse(callback.secret);
    } catch (cause) {
      if (cause instanceof LocalError && cause.code === 'secret_malformed')
        throw invalidParams('/callback/secret', '"whsec_" and base64 of 24 to 64 random bytes');
      throw cause;
    }
    // As given, byte by byte: the server's signature covers the hash of exactly this text.
    return { url: callback.url, secret: callback.secret };
  }
}

/** A new secret for the same URL: the old one signs too for a while, so that nothing in flight is refused. */
function successor(
  current: Callback | null,
  wanted: Wanted,
  verifiedAt: number,
  now: number,
): Callback {
  const rotated =
    current !== null && current.url === wanted.url && current.secret !== wanted.secret;
  const keeps = current !== null && current.url === wanted.url && current.secret === wanted.secret;
  return {
    ...wanted,
    verifiedAt,
    previousSecret: rotated ? current.secret : keeps ? current.previousSecret : null,
    previousUntil: rotated ? now + SECRET_ROTATION_GRACE_MS : keeps ? current.previousUntil : null,
  };
}

function sameCallback(a: Callback | null, b: Wanted | null): boolean {
  return a?.url === b?.url && a?.secret === b?.secret && a?.dialect === b?.dialect;
}

function refuseStale(state: Subscription, ifMatch: string | undefined): void {
  const etag = etagOf(state);
  if (ifMatch !== undefined && ifMatch !== etag) throw conflict({ kind: 'etag', etag });
}

function cursorRow(cursor: string | undefined): number {
  if (cursor === undefined) return 0;
  const text = Buffer.from(cursor, 'base64url').toString('latin1');
  if (!/^r[0-9]{1,15}$/.test(text))
    throw invalidParams('/cursor', 'a nextCursor that triggers/subscriptions returned');
  return Number(text.slice(1));
}
