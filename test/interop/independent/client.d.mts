// Types of client.mjs, as far as the test uses it.
import type {
  Delivery,
  ErrorObject,
  Position,
  Selection,
  Subscription,
  TriggerType,
} from '../../../spec-schema/draft/schema.ts';

export interface Told {
  type: string;
  subscriptionId: string;
  event?: Delivery['events'][number];
  from?: number;
  to?: number;
}
export type Applied =
  | { ack: number; refused?: undefined }
  | { refused: 'invalid' | 'ended' | 'left' | 'missing'; ack?: undefined };
export class Reader {
  constructor(told: (item: Told) => void);
  position(subscriptionId: string): Position | undefined;
  start(subscriptionId: string, applied: Position): void;
  apply(delivery: Delivery): Applied;
}
export class TriggersError extends Error {
  code: number;
  data: NonNullable<ErrorObject['data']>;
}
type Drain = (
  subscriptionId: string,
  reader: Reader,
  options: { signal: AbortSignal; waitMs?: number },
) => Promise<void>;
export class Client {
  constructor(server: { url: string; token: string });
  call(method: string, params?: object): Promise<Record<string, unknown>>;
  settings(): Promise<{ levels: string[]; jwksUri: string } | undefined>;
  list(): Promise<TriggerType[]>;
  subscribe(params: object): Promise<Subscription & { created: boolean }>;
  get(subscriptionId: string, ifNoneMatch?: string): Promise<Subscription & { notModified?: true }>;
  update(subscriptionId: string, ifMatch: string, changes: object): Promise<Subscription>;
  ack(subscriptionId: string, position: Position): Promise<{ acked: number }>;
  unsubscribe(subscriptionId: string): Promise<void>;
  stream(
    subscriptionId: string,
    options?: { after?: Position; window?: object; signal?: AbortSignal },
  ): AsyncGenerator<Delivery>;
  drainByPull: Drain;
  drainByStream: Drain;
}
export function newSecret(): string;
export function lastOf(delivery: Delivery): number | undefined;
