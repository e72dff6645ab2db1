/**
 * The nine methods of the extension as typed calls. Results are validated against the schema. An
 * invalid result is a protocol error of the server and never reaches the caller (SEP: Methods).
 */
import type {
  AckRequestParams,
  AckResult,
  Delivery,
  GetNotModified,
  GetRequestParams,
  GetResult,
  ListTriggersNotModified,
  ListTriggersRequestParams,
  ListTriggersResult,
  PullRequestParams,
  PullResult,
  StreamRequestParams,
  SubscribeRequestParams,
  SubscribeResult,
  SubscriptionsRequestParams,
  SubscriptionsResult,
  UnsubscribeRequestParams,
  UpdateRequestParams,
  UpdateResult,
} from '../../../spec-schema/draft/schema.ts';
import { acceptDelivery, coverage, DELIVERY_METHOD } from '../../protocol/wire/envelope.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { inspectJson } from '../../protocol/wire/json.ts';
import { check, type WireTypes } from '../../protocol/wire/validate.ts';
import type { CallOptions, Connection, StreamOptions } from './connection.ts';
import { misbehaved } from './peer-error.ts';

/** Most time that a pull gets beyond its `waitMs`. */
const PULL_GRACE_MS = 30_000;

/** The signal that aborts a call. */
export type AbortOptions = Pick<CallOptions, 'signal'>;

export class TriggersApi {
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  list(
    params: ListTriggersRequestParams,
    options?: AbortOptions,
  ): Promise<ListTriggersResult | ListTriggersNotModified> {
    return this.#call(
      'triggers/list',
      params,
      notModified(params, 'ListTriggersNotModified', 'ListTriggersResult'),
      options,
    );
  }

  subscribe(params: SubscribeRequestParams, options?: AbortOptions): Promise<SubscribeResult> {
    return this.#call('triggers/subscribe', params, ['SubscribeResult'], options);
  }

  update(params: UpdateRequestParams, options?: AbortOptions): Promise<UpdateResult> {
    return this.#call('triggers/update', params, ['UpdateResult'], options);
  }

  get(params: GetRequestParams, options?: AbortOptions): Promise<GetResult | GetNotModified> {
    return this.#call(
      'triggers/get',
      params,
      notModified(params, 'GetNotModified', 'GetResult'),
      options,
    );
  }

  subscriptions(
    params: SubscriptionsRequestParams,
    options?: AbortOptions,
  ): Promise<SubscriptionsResult> {
    return this.#call('triggers/subscriptions', params, ['SubscriptionsResult'], options);
  }

  async unsubscribe(params: UnsubscribeRequestParams, options?: AbortOptions): Promise<void> {
    await this.#call('triggers/unsubscribe', params, ['UnsubscribeResult'], options);
  }

  ack(params: AckRequestParams, options?: AbortOptions): Promise<AckResult> {
    return this.#call('triggers/ack', params, ['AckResult'], options);
  }

  /** Resolves with a complete delivery: it covers every number of its range. */
  async pull(params: PullRequestParams, options?: AbortOptions): Promise<PullResult> {
    const timeoutMs = (params.waitMs ?? 0) + Math.min(PULL_GRACE_MS, this.connection.timeoutMs);
    const result = await this.#call<PullResult>('triggers/pull', params, ['PullResult'], {
      ...options,
      timeoutMs,
    });
    coverage(result);
    return result;
  }

  /** Resolves when the server ends the stream. Calls `onUnacceptable` for an invalid delivery. */
  async stream(
    params: StreamRequestParams,
    {
      onDelivery,
      onUnacceptable,
      ...options
    }: Omit<StreamOptions, 'notifications' | 'onNotification'> & {
      readonly onDelivery: (delivery: Delivery) => void;
      readonly onUnacceptable: (error: unknown) => void;
    },
  ): Promise<void> {
    this.#assertOffered();
    await this.connection.stream('triggers/stream', params, {
      ...options,
      notifications: [DELIVERY_METHOD],
      onNotification: (_method, raw) => {
        let delivery: Delivery;
        try {
          delivery = acceptDelivery(raw);
        } catch (error) {
          return onUnacceptable(error);
        }
        onDelivery(delivery);
      },
    });
  }

  async #call<T>(
    method: string,
    params: object,
    types: readonly (keyof WireTypes)[],
    options: CallOptions = {},
  ): Promise<T> {
    this.#assertOffered();
    const result = await this.connection.call(method, params, options);
    const unfit = inspectJson(result);
    let complaint = { path: '', expected: unfit ?? 'a result' };
    for (const type of unfit === null ? types : []) {
      const checked = check(type, result);
      if (checked.ok) return checked.value as T;
      complaint = checked;
    }
    throw misbehaved(
      'result',
      `the result of ${method} is not valid: expected ${complaint.expected} at "${complaint.path}"`,
    );
  }

  /**
   * Throws for a server that does not declare the extension, which must not get its methods (SEP:
   * Settings).
   */
  #assertOffered(): void {
    if (this.connection.capability === null) {
      throw new LocalError(
        'not_supported',
        'The server does not declare the triggers extension. Use `follow` instead.',
        { reason: 'capability' },
      );
    }
  }
}

/** The result types to validate against. The short result is valid only after `ifNoneMatch`. */
const notModified = <A, B>(
  { ifNoneMatch }: { readonly ifNoneMatch?: string },
  short: A,
  whole: B,
): readonly (A | B)[] => (ifNoneMatch === undefined ? [whole] : [short, whole]);
