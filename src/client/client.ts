/**
 * The client: nine methods as they are; `subscribe`, which does everything that a reader of a log has to do and leaves the application
 * an iterator; and `follow`, which does that on servers without the extension too (SEP: Methods, Recovery by the client).
 */
import type {
  AckResult,
  GetNotModified,
  GetResult,
  ListTriggersNotModified,
  ListTriggersParams,
  ListTriggersResult,
  Position,
  PullParams,
  PullResult,
  ServerCapability,
  SubscribeParams,
  SubscribeResult,
  Subscription,
  TriggerType,
  UpdateParams,
  UpdateResult,
} from '../../spec-schema/draft/schema.ts';
import { LocalError } from '../protocol/wire/errors.ts';
import { TriggersApi, type AbortOptions } from './sdk/triggers-api.ts';
import type { Connection } from './sdk/connection.ts';
import { Following } from './follow/following.ts';
import type { FollowOptions } from './follow/types.ts';
import type { SubscribeOptions } from './options.ts';
import { TriggersSubscription } from './subscription/subscription.ts';

/** Pages of one list. A server whose list does not end is given up. */
const PAGES_MAX = 1000;

/**
 * What an application does with one server. Every method rejects with `WireError` (the server refused), `RemoteError` (an error
 * that is none of this extension's), `LocalError` (`unreachable`, `timeout`, `unauthorized`, `not_supported`, `peer_misbehaved`,
 * `closed`) or the reason of the signal. Results have been validated against `schema.json`. Nothing but {@link
 * TriggersClient.subscribe} and {@link TriggersClient.follow} tries again by itself.
 */
export class TriggersClient {
  /** What it was made with. */
  readonly connection: Connection;
  readonly #api: TriggersApi;

  /** @internal Made by `triggersClient`. */
  constructor(connection: Connection) {
    this.connection = connection;
    this.#api = new TriggersApi(connection);
  }

  /** What the server offers; null = it does not have the extension. */
  get capability(): ServerCapability | null {
    return this.connection.capability;
  }

  /** One page of the trigger types, or word that nothing changed since `ifNoneMatch`. */
  list(
    params: ListTriggersParams = {},
    options?: AbortOptions,
  ): Promise<ListTriggersResult | ListTriggersNotModified> {
    return this.#api.list(params, options);
  }

  /** All trigger types, page by page. */
  async *triggers(options?: AbortOptions): AsyncGenerator<TriggerType, void> {
    let cursor: string | undefined;
    for (let page = 0; page < PAGES_MAX; page++) {
      const result = await this.#api.list(cursor === undefined ? {} : { cursor }, options);
      if ('triggers' in result) yield* result.triggers;
      cursor = 'triggers' in result ? result.nextCursor : undefined;
      if (cursor === undefined) return;
    }
    throw endless();
  }

  /** All subscriptions of this principal, page by page. */
  async *subscriptions(options?: AbortOptions): AsyncGenerator<Subscription, void> {
    let cursor: string | undefined;
    for (let page = 0; page < PAGES_MAX; page++) {
      const result = await this.#api.subscriptions(cursor === undefined ? {} : { cursor }, options);
      yield* result.subscriptions;
      cursor = result.nextCursor;
      if (cursor === undefined) return;
    }
    throw endless();
  }

  /**
   * One subscription as it is now, or word that `ifNoneMatch` is still its ETag. `NotFound` when it is not, or no longer, the
   * caller's.
   */
  get(
    subscriptionId: string,
    ifNoneMatch?: string,
    options?: AbortOptions,
  ): Promise<GetResult | GetNotModified> {
    return this.#api.get(
      { subscriptionId, ...(ifNoneMatch === undefined ? {} : { ifNoneMatch }) },
      options,
    );
  }

  /** `triggers/subscribe` as it is: creates or finds, drains nothing, renews nothing. */
  create(params: SubscribeParams, options?: AbortOptions): Promise<SubscribeResult> {
    return this.#api.subscribe(params, options);
  }

  /**
   * Changes the members that are given. `Conflict` (etag) when `ifMatch` is stale; resumes what was suspended (SEP:
   * triggers/update).
   */
  update(params: UpdateParams, options?: AbortOptions): Promise<UpdateResult> {
    return this.#api.update(params, options);
  }

  /**
   * Ends a subscription on the server, and its log with it. `Conflict` (etag) when `ifMatch` is stale (SEP:
   * triggers/unsubscribe).
   */
  unsubscribe(subscriptionId: string, ifMatch?: string, options?: AbortOptions): Promise<void> {
    return this.#api.unsubscribe(
      { subscriptionId, ...(ifMatch === undefined ? {} : { ifMatch }) },
      options,
    );
  }

  /** Acknowledges everything up to `position`. `Conflict` (epoch, position) when it was never sent (SEP: triggers/ack). */
  ack(subscriptionId: string, position: Position, options?: AbortOptions): Promise<AckResult> {
    return this.#api.ack({ subscriptionId, position }, options);
  }

  /**
   * One delivery; waits up to `waitMs` for it (SEP: triggers/pull). Only `ack` acknowledges, `after` just says where to read on:
   * acknowledge what is stored, not what was read.
   */
  pull(params: PullParams, options?: AbortOptions): Promise<PullResult> {
    return this.#api.pull(params, options);
  }

  /**
   * Subscribes and drains: `for await (const item of client.subscribe({ select: [{ name: 'timer' }] })) …`. Renews, reconnects,
   * acknowledges, drops duplicates and reports every loss. Nothing is sent before the first iteration or `ready()`.
   * @throws LocalError `not_supported` when the server has no drain that may be used.
   */
  subscribe(options: SubscribeOptions): TriggersSubscription {
    return new TriggersSubscription(this.#api, options);
  }

  /**
   * Follows on any server, with the extension or without, by the best way it has, and says what that way guarantees: `for await (const
   * item of client.follow({ select: [{ name: 'mcp.resource.updated', arguments: { uri } }] })) …`. A change of the way is an item of
   * its own. Nothing is sent before the first iteration (SEP: When a peer lacks the extension).
   * @throws LocalError `config_invalid`.
   */
  follow(options: FollowOptions): Following {
    return new Following(this.connection, options);
  }

  /** Ends the connection; subscriptions stay on the server. */
  close(): Promise<void> {
    return this.connection.close();
  }
}

const endless = () =>
  new LocalError(
    'peer_misbehaved',
    `The server broke the protocol: a list of more than ${PAGES_MAX} pages.`,
    { reason: 'pages' },
  );

/** A client over a connection. */
export const triggersClient = (connection: Connection): TriggersClient =>
  new TriggersClient(connection);
