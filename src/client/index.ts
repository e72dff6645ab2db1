/** The client's public surface, named one by one. */
export { connect, Connection, type CallOptions, type ConnectOptions, type HttpTarget, type StdioTarget, type StreamOptions, type Target } from './connection.ts';
export { TriggersClient, triggersClient } from './client.ts';
export { TriggersSubscription } from './subscription.ts';
export type { Acknowledgeable, CallbackEndpoint, Guarantee, Item, Sink, SubscribeOptions, SubscriptionState, Tuning } from './options.ts';
export type { EpochItem, EventItem, GapItem, LostItem } from '../local/items.ts';
export { memoryLedger, type Ledger, type LedgerRecord, type PositionRecord, type RecordKind, type RecordOf, type RegistrationRecord } from '../local/ledger.ts';
export { fileLedger } from '../local/file-ledger.ts';
export { systemClock, type Clock } from '../local/clock.ts';
export type { BackoffOptions } from './backoff.ts';
export { LocalError, WireError, type LocalErrorCode, type WireErrorData, type WireErrorName } from '../wire/errors.ts';
export { RemoteError } from '../wire/remote-error.ts';
