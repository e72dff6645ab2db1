/**
 * What this side remembers across restarts: how far each subscription has been taken, and what was registered for
 * callbacks. With it a restarted client continues where it was and recognises what it already has (SEP: Positions).
 */
import type { Cursor } from '../core/apply.ts';

/** How far one subscription has been taken. */
export interface PositionRecord extends Cursor {
  readonly kind: 'position';
  /** The MCP server: its resource URI over HTTP, the command on a pipe. */
  readonly server: string;
  /** The subscription's `key`. */
  readonly key: string;
}

/** A registered callback. `url` and `secret` are secrets: a ledger file is as confidential as a private key. */
export interface RegistrationRecord {
  readonly kind: 'registration';
  /** The MCP server's resource URI: the `aud` of the token inside `url`. */
  readonly server: string;
  /** The subscription's `key`. */
  readonly key: string;
  readonly url: string;
  /** When the token inside `url` stops opening, in epoch milliseconds. */
  readonly expiresAt: number;
  readonly secret: string;
  /** Still verifies after a rotation, until `previousUntil`; null = until the new secret has verified something. */
  readonly previousSecret: string | null;
  readonly previousUntil: number | null;
}

/** How far something has been followed on a server without the extension: by a cursor of the server's, or the hash of a state. */
export interface MarkRecord {
  readonly kind: 'mark';
  readonly server: string;
  /** A hash of the selection. */
  readonly key: string;
  /** By which mode of the client's ladder. */
  readonly mode: string;
  /** What that mode goes on from; null = it can only begin with what happens from now on. */
  readonly mark: string | null;
  /** The last number of the server's, where it sends numbers. */
  readonly number: {
    readonly subscriptionId: string;
    readonly epoch: string;
    readonly sequence: number;
  } | null;
}

/** What a ledger holds. */
export type LedgerRecord = PositionRecord | RegistrationRecord | MarkRecord;
/** Says which record it is; with `server` and `key` it names one. */
export type RecordKind = LedgerRecord['kind'];
/** The record of a kind. */
export type RecordOf<K extends RecordKind> = Extract<LedgerRecord, { kind: K }>;

/**
 * A small durable map, to be implemented over whatever the application has. One process at a time owns what is behind it. What
 * it throws reaches the caller as it is.
 */
export interface Ledger {
  /** The record as it was saved last; undefined = there is none. */
  load<K extends RecordKind>(
    kind: K,
    server: string,
    key: string,
  ): Promise<RecordOf<K> | undefined>;
  /** Resolves when the record would survive a crash. */
  save(record: LedgerRecord): Promise<void>;
  /** Removing what is not there is no error. */
  remove(kind: RecordKind, server: string, key: string): Promise<void>;
}

/** One name for (kind, server, key) that cannot collide. */
export const recordName = (kind: RecordKind, server: string, key: string): string =>
  JSON.stringify([kind, server, key]);

/** Remembers as long as the process lives. */
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
