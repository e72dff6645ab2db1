/**
 * The library for callback endpoints: an object that issues signed URLs, with a fetch handler that
 * verifies the deliveries to them and passes on each event once, in order. Works alone, or for a
 * client that subscribes with `callback: receiver`.
 *
 * ```ts
 * const receiver = createReceiver({
 *   endpoint: 'https://hooks.example.com/triggers',
 *   issuer: 'https://hooks.example.com',
 *   signingKey,
 *   ledger: fileLedger('ledger.json'),
 *   apply: async (item) => { if (item.type === 'event') await store(item.event); },
 * });
 * app.post('/triggers', (c) => receiver.fetch(c.req.raw));
 * ```
 *
 * @packageDocumentation
 */
export { createReceiver, type Receiver, type ReceiverOptions } from './receiver.ts';
export type { Applied, Apply, ApplyResult, Problem, PullMissed, ReceiverItem } from './applier.ts';
export type { Registration, SubscriptionRef } from './registry.ts';
export { createServerKeys, type ServerKeysOptions } from './server-keys.ts';
export type { RejectedRequestCode } from './request.ts';
export type { Sink, WebhookMessage, WebhookResult, WebhookSink } from '../protocol/lib/sinks.ts';
export type {
  ElsewhereItem,
  EpochItem,
  EventItem,
  GapItem,
  LostItem,
  TerminatedItem,
} from '../protocol/ledger/items.ts';
export type { DeliveryKeyFound, DeliveryKeyLookup } from '../protocol/wire/delivery-jws.ts';

export { fileLedger } from '../protocol/ledger/file-ledger.ts';
export { memoryLedger } from '../protocol/ledger/ledger.ts';
export type {
  EarlierSecret,
  Ledger,
  LedgerRecord,
  MarkRecord,
  PositionRecord,
  RecordKind,
  RecordOf,
  RegistrationRecord,
} from '../protocol/ledger/ledger.ts';
export { systemClock, type Clock } from '../protocol/lib/clock.ts';

export { LocalError, type LocalErrorCode } from '../protocol/wire/errors.ts';
