/**
 * For callback endpoints: one fetch handler that mints signed URLs, verifies what arrives at them, and hands each event on once,
 * in order. Stands alone, or behind a client that subscribes with `callback: receiver`.
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
export { createReceiver, type Receiver, type ReceiverOptions, type Sink } from './receiver.ts';
export type { Applied, Apply, Problem, ReceiverItem, Verdict } from './applier.ts';
export type { Registration, Who } from './registry.ts';
export type { RefusalCode } from './refusal.ts';
export type { WebhookMessage, WebhookSink, WebhookVerdict } from './webhook.ts';
export type { EpochItem, EventItem, GapItem, LostItem, TerminatedItem } from '../local/items.ts';
export type { DeliveryKeyFound, DeliveryKeyLookup } from '../wire/delivery-jws.ts';

export { fileLedger } from '../local/file-ledger.ts';
export { memoryLedger } from '../local/ledger.ts';
export type { Ledger, LedgerRecord, MarkRecord, PositionRecord, RecordKind, RecordOf, RegistrationRecord } from '../local/ledger.ts';
export { systemClock, type Clock } from '../local/clock.ts';

export { LocalError, type LocalErrorCode } from '../wire/errors.ts';
