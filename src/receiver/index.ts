/** The receiver's public surface, named one by one. */
export { createReceiver, type Receiver, type ReceiverOptions, type Sink } from './receiver.ts';
export type { Applied, Apply, Problem, ReceiverItem, Verdict } from './applier.ts';
export type { Registration, Who } from './registry.ts';
export type { RefusalCode } from './refusal.ts';
export type { EpochItem, EventItem, GapItem, LostItem, TerminatedItem } from '../local/items.ts';
export { memoryLedger, type Ledger, type LedgerRecord, type PositionRecord, type RecordKind, type RecordOf, type RegistrationRecord } from '../local/ledger.ts';
export { fileLedger } from '../local/file-ledger.ts';
export { systemClock, type Clock } from '../local/clock.ts';
export type { DeliveryKeyLookup } from '../wire/delivery-jws.ts';
export { LocalError, type LocalErrorCode } from '../wire/errors.ts';
