/**
 * For applications and agents that subscribe to triggers: connect to a server, subscribe, iterate.
 * On every drain the iterator yields events in order, and every loss as an item.
 *
 * ```ts
 * const client = triggersClient(await connect({ url: 'https://mcp.example.com/mcp', token }));
 * for await (const item of client.subscribe({ select: [{ name: 'order.paid' }], ledger: fileLedger('ledger.json') })) {
 *   if (item.type === 'event') await handle(item.event);
 * }
 * ```
 *
 * @packageDocumentation
 */
export { connect } from './sdk/connection.ts';
export type {
  CallOptions,
  Connection,
  ConnectOptions,
  HttpTarget,
  InterruptionListener,
  NotificationListener,
  StdioTarget,
  StreamOptions,
  Target,
} from './sdk/connection.ts';
export type { RawCapabilities } from './sdk/handshake-observer.ts';
export type { ServerStreamState } from './sdk/server-stream.ts';
export { triggersClient, type DataOptions, type TriggersClient } from './client.ts';
export type { DataHolder } from './large-data.ts';
export type { AbortOptions } from './sdk/triggers-api.ts';
export type { TriggersSubscription } from './subscription/subscription.ts';
export type {
  Acknowledgeable,
  CallbackEndpoint,
  Guarantee,
  Item,
  SubscribeOptions,
  SubscriptionState,
  Tuning,
} from './options.ts';
export type { Sink, WebhookMessage, WebhookResult, WebhookSink } from '../protocol/lib/sinks.ts';
export type { Following } from './follow/following.ts';
export type {
  FollowedEvent,
  FollowedGap,
  FollowGuarantee,
  FollowItem,
  FollowOptions,
  FollowState,
  FollowStatus,
  FollowTuning,
  ItemNumber,
  Otherwise,
  ModeChange,
  ServerNumber,
  TriggersModeOptions,
} from './follow/types.ts';
export type { ModeName } from './follow/mode-table.ts';
export type { BackoffOptions } from './recovery.ts';
export type {
  ElsewhereItem,
  EpochItem,
  EventItem,
  GapItem,
  LostItem,
} from '../protocol/ledger/items.ts';

export { fileLedger } from '../protocol/ledger/file-ledger.ts';
export { memoryLedger } from '../protocol/ledger/ledger.ts';
export type {
  Ledger,
  LedgerRecord,
  MarkRecord,
  PositionRecord,
  RecordKind,
  RecordOf,
  RegistrationRecord,
} from '../protocol/ledger/ledger.ts';
export { systemClock, type Clock } from '../protocol/lib/clock.ts';

export {
  LocalError,
  WireError,
  type LocalErrorCode,
  type WireErrorData,
  type WireErrorInput,
  type WireErrorName,
} from '../protocol/wire/errors.ts';
export { RemoteError } from '../protocol/wire/remote-error.ts';
