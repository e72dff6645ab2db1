/**
 * The nine methods as typed calls: params out, validated results in. A result that the schema does not accept is the peer's
 * fault and never reaches the caller (SEP: Methods).
 */
import type {
  AckParams,
  AckResult,
  Delivery,
  GetNotModified,
  GetParams,
  GetResult,
  ListTriggersNotModified,
  ListTriggersParams,
  ListTriggersResult,
  PullParams,
  PullResult,
  StreamParams,
  SubscribeParams,
  SubscribeResult,
  SubscriptionsParams,
  SubscriptionsResult,
  UnsubscribeParams,
  UpdateParams,
  UpdateResult,
} from '../../../spec-schema/draft/schema.ts';
import { acceptDelivery, coverage, DELIVERY_METHOD } from '../../protocol/wire/envelope.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { inspectJson } from '../../protocol/wire/json.ts';
import { check, type WireTypes } from '../../protocol/wire/validate.ts';
import type { CallOptions, Connection, StreamOptions } from './connection.ts';

/** Beyond the longest wait that was asked for, a pull gets as much time as any call. */
const PULL_GRACE_MS = 30_000;

/** What a call may need besides its params: a signal that gives it up. */
export type AbortOptions = Pick<CallOptions, 'signal'>;

export class TriggersApi {
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  list(
    params: ListTriggersParams,
    options?: AbortOptions,
  ): Promise<ListTriggersResult | ListTriggersNotModified> {
    return this.#call(
      'triggers/list',
      params,
      notModified(params, 'ListTriggersNotModified', 'ListTriggersResult'),
      options,
    );
  }

  subscribe(params: SubscribeParams, options?: AbortOptions): Promise<SubscribeResult> {
    return this.#call('triggers/subscribe', params, ['SubscribeResult'], options);
  }

  update(params: UpdateParams, options?: AbortOptions): Promise<UpdateResult> {
    return this.#call('triggers/update', params, ['UpdateResult'], options);
  }

  get(params: GetParams, options?: AbortOptions): Promise<GetResult | GetNotModified> {
    return this.#call(
      'triggers/get',
      params,
      notModified(params, 'GetNotModified', 'GetResult'),
      options,
    );
  }

  subscriptions(params: SubscriptionsParams, options?: AbortOptions): Promise<SubscriptionsResult> {
    return this.#call('triggers/subscriptions', params, ['SubscriptionsResult'], options);
  }

  async unsubscribe(params: UnsubscribeParams, options?: AbortOptions): Promise<void> {
    await this.#call('triggers/unsubscribe', params, ['UnsubscribeResult'], options);
  }

  ack(params: AckParams, options?: AbortOptions): Promise<AckResult> {
    return this.#call('triggers/ack', params, ['AckResult'], options);
  }

  /** The delivery is complete: every number of its range is there. */
  async pull(params: PullParams, options?: AbortOptions): Promise<PullResult> {
    const timeoutMs = (params.waitMs ?? 0) + Math.min(PULL_GRACE_MS, this.connection.timeoutMs);
    const result = await this.#call<PullResult>('triggers/pull', params, ['PullResult'], {
      ...options,
      timeoutMs,
    });
    coverage(result);
    return result;
  }

  /** Resolves when the server ends the stream. A delivery that is not acceptable goes to `onUnacceptable`. */
  async stream(
    params: StreamParams,
    {
      onDelivery,
      onUnacceptable,
      ...options
    }: Omit<StreamOptions, 'notifications' | 'onNotification'> & {
      readonly onDelivery: (delivery: Delivery) => void;
      readonly onUnacceptable: (error: unknown) => void;
    },
  ): Promise<void> {
    this.#offered();
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
    this.#offered();
    const result = await this.connection.call(method, params, options);
    const unfit = inspectJson(result);
    let complaint = { path: '', expected: unfit ?? 'a result' };
    for (const type of unfit === null ? types : []) {
      const checked = check(type, result);
      if (checked.ok) return checked.value as T;
      complaint = checked;
    }
    throw new LocalError(
      'peer_misbehaved',
      `The result of ${method} is not acceptable: expected ${complaint.expected} at "${complaint.path}".`,
      { reason: 'result' },
    );
  }

  /** A server that did not declare the extension is not asked for it (SEP: Capability). */
  #offered(): void {
    if (this.connection.capability === null) {
      throw new LocalError('not_supported', 'The server does not declare the triggers extension.', {
        reason: 'capability',
      });
    }
  }
}

/** `notModified` is an answer only to `ifNoneMatch`; what is not that is judged as the whole thing. */
const notModified = <A, B>(
  { ifNoneMatch }: { readonly ifNoneMatch?: string },
  short: A,
  whole: B,
): readonly (A | B)[] => (ifNoneMatch === undefined ? [whole] : [short, whole]);
