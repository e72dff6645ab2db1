/**
 * A ledger in one small JSON file. Every save writes a new file, flushes it and renames it over the
 * old one, so that a crash leaves either the old ledger or the new one. Saves that arrive during a
 * write share the next write.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LocalError } from '../wire/errors.ts';
import {
  recordName,
  type Ledger,
  type LedgerRecord,
  type RecordKind,
  type RecordOf,
} from './ledger.ts';

const VERSION = 2;
const OWNER_ONLY = 0o600;

/**
 * Keeps a ledger in the file at `path`; the first save creates the file (mode 0600, because it may
 * contain callback secrets). Every call rejects with `LocalError` `ledger_corrupt` if the file is not
 * a ledger. Only one process at a time may use a file.
 */
export function fileLedger(path: string): Ledger {
  const file = new LedgerFile(path);
  return {
    async load<K extends RecordKind>(kind: K, server: string, key: string) {
      return (await file.records()).get(recordName(kind, server, key)) as RecordOf<K> | undefined;
    },
    async save(record) {
      (await file.records()).set(recordName(record.kind, record.server, record.key), record);
      await file.flush();
    },
    async remove(kind, server, key) {
      if ((await file.records()).delete(recordName(kind, server, key))) await file.flush();
    },
  };
}

class LedgerFile {
  readonly #path: string;
  #records: Promise<Map<string, LedgerRecord>> | undefined;
  /** The current write, and the next one, which starts after it. */
  #writing: Promise<void> | undefined;
  #queued: Promise<void> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  records(): Promise<Map<string, LedgerRecord>> {
    // A file that cannot be read at the moment is read again at the next call.
    this.#records ??= read(this.#path).catch((error: unknown) => {
      this.#records = undefined;
      throw error;
    });
    return this.#records;
  }

  /**
   * Resolves when a write that began after this call is complete, and so contains the caller's
   * record.
   */
  flush(): Promise<void> {
    if (!this.#writing) return this.#start();
    this.#queued ??= this.#writing.then(ignore, ignore).then(() => {
      this.#queued = undefined;
      return this.#start();
    });
    return this.#queued;
  }

  #start(): Promise<void> {
    const writing = this.#write().finally(() => {
      if (this.#writing === writing) this.#writing = undefined;
    });
    this.#writing = writing;
    return writing;
  }

  async #write(): Promise<void> {
    const records = [...(await this.records()).values()];
    const text = `${JSON.stringify({ version: VERSION, records }, null, 1)}\n`;
    await replaceFile(this.#path, text);
  }
}

const ignore = (): void => undefined;

async function read(path: string): Promise<Map<string, LedgerRecord>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw error;
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    // The parser's message quotes the file, which contains secrets, and is therefore not the cause.
    throw corrupt(path, 'it is not JSON');
  }
  const { version, records } = Object(content) as { version?: unknown; records?: unknown };
  if (version !== VERSION || !Array.isArray(records))
    throw corrupt(path, `it is not a ledger of version ${VERSION}`);
  const found = new Map<string, LedgerRecord>();
  for (const [index, record] of records.entries()) {
    if (!isRecord(record)) throw corrupt(path, `record ${index} is not complete`);
    found.set(recordName(record.kind, record.server, record.key), record);
  }
  return found;
}

const isText = (value: unknown): boolean => typeof value === 'string' && value !== '';
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isNullOr = (test: (value: unknown) => boolean) => (value: unknown) =>
  value === null || test(value);

/** Whether the value is the `number` of a {@link MarkRecord}. */
function isMarkNumber(value: unknown): boolean {
  const { subscriptionId, epoch, sequence } = Object(value) as Record<string, unknown>;
  return isText(subscriptionId) && isText(epoch) && isCount(sequence);
}

/** Whether the value is an `EarlierSecret` of a registration. */
function isEarlierSecret(value: unknown): boolean {
  const { secret, until } = Object(value) as Record<string, unknown>;
  return isText(secret) && isNullOr(isCount)(until);
}

/** The members of each kind of record, each with its test. */
const SHAPES: Readonly<Record<RecordKind, Readonly<Record<string, (value: unknown) => boolean>>>> =
  {
    position: {
      server: isText,
      key: isText,
      subscriptionId: isText,
      epoch: isText,
      sequence: isCount,
      past: (value) => Array.isArray(value) && value.every(isText),
    },
    registration: {
      server: isText,
      key: isText,
      url: isText,
      expiresAt: isCount,
      secret: isText,
      earlierSecrets: (value) => Array.isArray(value) && value.every(isEarlierSecret),
    },
    mark: {
      server: isText,
      key: isText,
      mode: isText,
      mark: isNullOr((value) => typeof value === 'string'),
      number: isNullOr(isMarkNumber),
    },
  };

function isRecord(value: unknown): value is LedgerRecord {
  const record = Object(value) as Record<string, unknown>;
  const kind = String(record['kind']);
  if (!Object.hasOwn(SHAPES, kind)) return false;
  return Object.entries(SHAPES[kind as RecordKind]).every(([member, fits]) => fits(record[member]));
}

async function replaceFile(path: string, text: string): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const handle = await open(temporary, 'wx', OWNER_ONLY);
    try {
      await handle.writeFile(text, 'utf8');
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  // The rename is durable only after the folder is synced.
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const corrupt = (path: string, problem: string) =>
  new LocalError(
    'ledger_corrupt',
    `The ledger ${path} cannot be used: ${problem}. Restore it from a backup, or move it away: without a ledger the client continues after the last acknowledged position.`,
  );
