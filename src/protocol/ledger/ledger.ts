/**
 * The ledger: what a client or receiver remembers across restarts, that is the applied position of
 * each subscription and the registered callbacks. With it, a restarted client continues where it
 * stopped and recognizes duplicates (SEP: Positions).
 */
import type { Cursor } from '../core/apply.ts';

/** The applied position of one subscription. */
export interface PositionRecord extends Cursor {
  readonly kind: 'position';
  /** The MCP server: its resource URI over HTTP, its command over stdio. */
  readonly server: string;
  /** The subscription's `key`. */
  readonly key: string;
}

/**
 * A registered callback. `url` and `secret` are secrets: a ledger file is as confidential as a
 * private key.
 */
export interface RegistrationRecord {
  readonly kind: 'registration';
  /** The MCP server's resource URI: the `aud` of the token inside `url`. */
  readonly server: string;
  /** The subscription's `key`. */
  readonly key: string;
  readonly url: string;
  /** Expiry of the token inside `url`, in epoch milliseconds. */
  readonly expiresAt: number;
  readonly secret: string;
  /** The secrets before it that also verify, newest first. */
  readonly earlierSecrets: readonly EarlierSecret[];
}

/** A secret of a registration before its last rotation. */
export interface EarlierSecret {
  readonly secret: string;
  /** Until when it verifies, in epoch milliseconds. Null = no later one has verified a delivery. */
  readonly until: number | null;
}

/**
 * The position of a track on a server without the extension: a cursor of the server, or the hash of
 * a state.
 */
export interface MarkRecord {
  readonly kind: 'mark';
  readonly server: string;
  /** A hash of the selection. */
  readonly key: string;
  /** The mode that wrote the mark. */
  readonly mode: string;
  /** The point at which the mode continues; null = it can only start from now. */
  readonly mark: string | null;
  /** The last sequence number, if the server sends them. */
  readonly number: {
    readonly subscriptionId: string;
    readonly epoch: string;
    readonly sequence: number;
  } | null;
}

/** A record of a ledger. */
export type LedgerRecord = PositionRecord | RegistrationRecord | MarkRecord;
/** The kind of a record. Kind, `server` and `key` identify a record. */
export type RecordKind = LedgerRecord['kind'];
/** The record type of a kind. */
export type RecordOf<K extends RecordKind> = Extract<LedgerRecord, { kind: K }>;

/**
 * A small durable map that an application can implement over its own storage. Only one process at a
 * time may use the storage. Errors reach the caller unchanged.
 */
export interface Ledger {
  /** The last saved record; undefined if it does not exist. */
  load<K extends RecordKind>(
    kind: K,
    server: string,
    key: string,
  ): Promise<RecordOf<K> | undefined>;
  /** Resolves when the record is durable. */
  save(record: LedgerRecord): Promise<void>;
  /** Does nothing if there is no such record. */
  remove(kind: RecordKind, server: string, key: string): Promise<void>;
}

/** Returns a unique name for (kind, server, key). */
export const recordName = (kind: RecordKind, server: string, key: string): string =>
  JSON.stringify([kind, server, key]);

/** Creates a ledger in memory, which is lost when the process ends. */
export function memoryLedger(): Ledger {
  const records = new Map<string, LedgerRecord>();
  return {
    async load<K extends RecordKind>(kind: K, server: string, key: string) {
      return records.get(recordName(kind, server, key)) as RecordOf<K> | undefined;
    },
    async save(record) {
      records.set(recordName(record.kind, record.server, record.key), record);
    },
    async remove(kind, server, key) {
      records.delete(recordName(kind, server, key));
    },
  };
}
