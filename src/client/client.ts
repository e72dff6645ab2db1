/**
 * The client: the nine methods; `subscribe`, an iterator that renews, drains, acknowledges and
 * recovers; and `follow`, which does that on servers without the extension too (SEP: Methods,
 * Recovery by the client).
 */
import type {
  AckResult,
  GetNotModified,
  GetResult,
  ListTriggersNotModified,
  ListTriggersRequestParams,
  ListTriggersResult,
  Position,
  PullRequestParams,
  PullResult,
  ServerCapability,
  SubscribeRequestParams,
  SubscribeResult,
  Subscription,
  TriggerType,
  UpdateRequestParams,
  UpdateResult,
} from '../../spec-schema/draft/schema.ts';
import { Following } from './follow/following.ts';
import type { FollowOptions } from './follow/types.ts';
import { dataOf, type DataHolder } from './large-data.ts';
import type { SubscribeOptions } from './options.ts';
import type { Connection } from './sdk/connection.ts';
import { misbehaved } from './sdk/peer-error.ts';
import { TriggersApi, type AbortOptions } from './sdk/triggers-api.ts';
import { TriggersSubscription } from './subscription/subscription.ts';

/** Options of {@link TriggersClient.data}. */
export interface DataOptions extends AbortOptions {
  /** More bytes of JSON are not read. Default 4 MiB. */
  readonly maxBytes?: number;
}

/** A list with more pages counts as endless. */
const PAGES_MAX = 1000;

/**
 * A client of one server. Every method rejects with `WireError` (an error of this extension),
 * `RemoteError` (any other error of the server), `LocalError` (`unreachable`, `timeout`,
 * `unauthorized`, `not_supported`, `peer_misbehaved`, `closed`) or the reason of the signal.
 * Results are validated against `schema.json`. Only {@link TriggersClient.subscribe} and
 * {@link TriggersClient.follow} retry.
 */
export class TriggersClient {
  /** The connection to the server. */
  readonly connection: Connection;
  readonly #api: TriggersApi;

  /** @internal Made by `triggersClient`. */
  constructor(connection: Connection) {
    this.connection = connection;
    this.#api = new TriggersApi(connection);
  }

  /** The capability that the server declares; null = it does not have the extension. */
  get capability(): ServerCapability | null {
    return this.connection.capability;
  }

  /** One page of the trigger types, or `notModified` when `ifNoneMatch` is still their ETag. */
  list(
    params: ListTriggersRequestParams = {},
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
   * One subscription, or `notModified` when `ifNoneMatch` is still its ETag. Rejects with
   * `NotFound` when the caller has no such subscription.
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

  /**
   * Calls `triggers/subscribe`, which creates or finds a subscription. Neither drains nor renews
   * it.
   */
  create(params: SubscribeRequestParams, options?: AbortOptions): Promise<SubscribeResult> {
    return this.#api.subscribe(params, options);
  }

  /**
   * Changes the given members; `resume` resumes a suspended callback. Rejects with `Conflict` of
   * kind `etag` when `ifMatch` is stale (SEP: triggers/update).
   */
  update(params: UpdateRequestParams, options?: AbortOptions): Promise<UpdateResult> {
    return this.#api.update(params, options);
  }

  /**
   * Ends a subscription and its log on the server. Rejects with `Conflict` of kind `etag` when
   * `ifMatch` is stale (SEP: triggers/unsubscribe).
   */
  unsubscribe(subscriptionId: string, ifMatch?: string, options?: AbortOptions): Promise<void> {
    return this.#api.unsubscribe(
      { subscriptionId, ...(ifMatch === undefined ? {} : { ifMatch }) },
      options,
    );
  }

  /**
   * Acknowledges everything up to `position`. Rejects with `Conflict` of kind `epoch` when the log
   * is in another epoch, and of kind `position` when the server never sent that position (SEP:
   * triggers/ack).
   */
  ack(subscriptionId: string, position: Position, options?: AbortOptions): Promise<AckResult> {
    return this.#api.ack({ subscriptionId, position }, options);
  }

  /**
   * Resolves with one delivery after at most `waitMs` (SEP: triggers/pull). The server reads from
   * `after`, which acknowledges nothing. Pass in `ack` the position up to which the application has
   * finished its work, not the position that it has read.
   */
  pull(params: PullRequestParams, options?: AbortOptions): Promise<PullResult> {
    return this.#api.pull(params, options);
  }

  /**
   * The data of an event: its own, or those that its `dataRef` leads to. Connect with `dataRef:
   * true` to get such events. Rejects with `not_supported`, reason `too_large`, for more than
   * `maxBytes` (default 4 MiB); with `peer_misbehaved`, reason `data`, if the resource is not one
   * JSON text of the announced size; and with `RemoteError` when the log no longer has the event
   * (SEP: Data by reference).
   */
  data(event: DataHolder, options: DataOptions = {}): Promise<unknown> {
    const { signal = new AbortController().signal, maxBytes } = options;
    const { timeoutMs } = this.connection;
    return dataOf(this.connection, event, { signal, timeoutMs, maxBytes });
  }

  /**
   * Subscribes and drains:
   * `for await (const item of client.subscribe({ key, select: [{ name: 'timer' }] })) …`. Renews,
   * reconnects, acknowledges, drops duplicates and reports every loss. Sends nothing before the
   * first iteration or `ready()`.
   * @throws LocalError `not_supported` when the server does not declare the extension, or offers
   * none of the allowed drains.
   */
  subscribe(options: SubscribeOptions): TriggersSubscription {
    return new TriggersSubscription(this.#api, options);
  }

  /**
   * Follows on any server, with the extension or without, by the best mode that works, and reports
   * what that mode guarantees:
   * `for await (const item of client.follow({ select: [{ name: 'mcp.resource.updated', arguments: { uri } }] })) …`.
   * A change of mode is an item. Sends nothing before the first iteration (SEP: When a peer lacks
   * the extension).
   * @throws LocalError `config_invalid` for an unknown mode, or a number of selections that is not
   * allowed.
   */
  follow(options: FollowOptions): Following {
    return new Following(this.connection, options);
  }

  /** Ends the connection; subscriptions stay on the server. */
  close(): Promise<void> {
    return this.connection.close();
  }
}

const endless = () => misbehaved('pages', `a list has more than ${PAGES_MAX} pages`);

/** Makes a client over a connection. */
export const triggersClient = (connection: Connection): TriggersClient =>
  new TriggersClient(connection);
