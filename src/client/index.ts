/**
 * For applications and agents that follow triggers: connect to a server, subscribe, iterate. Whatever drain the server offers,
 * the iterator yields events in order and every loss as an item of its own.
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
export { connect } from './connection.ts';
export type { CallOptions, Connection, ConnectOptions, HttpTarget, InterruptionListener, NotificationListener, StdioTarget, StreamOptions, Target } from './connection.ts';
export type { RawCapabilities } from './greeting.ts';
export type { ServerStreamState } from './server-stream.ts';
export { triggersClient, type TriggersClient } from './client.ts';
export type { AbortOptions } from './calls.ts';
export type { TriggersSubscription } from './subscription.ts';
export type {
  Acknowledgeable, CallbackEndpoint, Guarantee, Item, Sink, SubscribeOptions, SubscriptionState, Tuning, WebhookMessage, WebhookSink, WebhookVerdict,
} from './options.ts';
export type { Following } from './ladder/follow.ts';
export type {
  FollowedEvent, FollowedGap, FollowGuarantee, FollowItem, FollowOptions, FollowState, FollowStatus, FollowTuning, ItemNumber, Otherwise, RungChange, RungName,
  ServerNumber, TriggersRungOptions,
} from './ladder/types.ts';
export type { BackoffOptions } from './backoff.ts';
export type { EpochItem, EventItem, GapItem, LostItem } from '../local/items.ts';

export { fileLedger } from '../local/file-ledger.ts';
export { memoryLedger } from '../local/ledger.ts';
export type { Ledger, LedgerRecord, MarkRecord, PositionRecord, RecordKind, RecordOf, RegistrationRecord } from '../local/ledger.ts';
export { systemClock, type Clock } from '../local/clock.ts';

export { LocalError, WireError, type LocalErrorCode, type WireErrorData, type WireErrorName } from '../wire/errors.ts';
export { RemoteError } from '../wire/remote-error.ts';
