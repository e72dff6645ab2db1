/**
 * The simulation's knowledge of the disk: a store between the engine and the real one that keeps a
 * second, plain copy of everything committed. The invariant checker compares what clients receive
 * with this copy, never with the engine's own state.
 */
import type { Retention, Subscription } from '../../src/protocol/core/types.ts';
import type {
  AcceptedEvent,
  Checkpoint,
  Opened,
  Store,
  Write,
} from '../../src/server/store/port.ts';

export interface ModelEntry {
  /** Offset of the accepted event; 0 = none. */
  readonly offset: number;
  readonly eventId: string;
  gap: string | null;
  /** The gap is older than the present epoch. */
  old?: boolean;
}

/** One subscription's log and its history. */
export interface ModelLog {
  readonly row: number;
  readonly subscriptionId: string;
  readonly createdOffset: number;
  /** The epoch it began with, which the result of its subscribe named. */
  readonly firstEpoch: string;
  state: Subscription;
  /** Entry by number, in the present epoch; trimming does not remove. */
  entries: Map<number, ModelEntry>;
  /** Events whose numbers were dropped when the epoch changed. */
  readonly before: ModelEntry[];
  /** The selections, and the commit since which each applies. */
  readonly followed: { readonly commit: number; readonly select: Subscription['select'] }[];
  /** The highest number that `trim` has dropped, in the present epoch. */
  trimmed: number;
  /** The highest attempt id whose claim was committed. */
  attempts: number;
  endedAt: number | null;
}

export type ModelEvent = AcceptedEvent & { readonly commit: number };

/** Called with each write as it reaches the disk. */
export interface ModelWatch {
  progress(log: ModelLog, before: Subscription, after: Subscription): void;
  trimmed(log: ModelLog, from: number, to: number, retentions: readonly Retention[]): void;
  rotated(log: ModelLog): void;
}

export class ReferenceModel {
  readonly logs = new Map<string, ModelLog>();
  readonly events = new Map<number, ModelEvent>();
  /** Subscriptions whose end their callback has to learn. */
  readonly owed = new Set<string>();
  readonly #rows = new Map<number, ModelLog>();
  readonly watch: ModelWatch;
  commits = 0;
  generation = 0;
  lastOffset = 0;
  nextRow = 1;
  checkpoint: Checkpoint = { offset: 0, row: 0 };

  constructor(watch: ModelWatch) {
    this.watch = watch;
  }

  /** The continuity of a store that is opened again without having been closed. */
  reopened(continuity: Opened['continuity']): Opened {
    this.generation += 1;
    return {
      continuity,
      generation: this.generation,
      lastOffset: this.lastOffset,
      nextRow: this.nextRow,
      checkpoint: this.checkpoint,
    };
  }

  apply(writes: readonly Write[]): void {
    this.commits += 1;
    const trims: [ModelLog, number, number, Retention][] = [];
    for (const write of writes) {
      // The acknowledged part is what goes before a renumbering.
      const renumbers =
        write.type === 'trim' &&
        writes.some((other) => other.type === 'renumber' && other.row === write.row);
      if (write.type === 'trim' && !renumbers)
        trims.push([
          this.#log(write.row),
          this.#log(write.row).trimmed,
          write.upTo,
          this.#log(write.row).state.retention,
        ]);
      this.#one(write);
    }
    // An acknowledgement or another retention may be in the same commit, before or after the trim.
    for (const [log, from, to, retention] of trims)
      if (log.endedAt === null)
        this.watch.trimmed(log, from + 1, to, [retention, log.state.retention]);
  }

  #one(write: Write): void {
    switch (write.type) {
      case 'event':
        this.events.set(write.event.offset, { ...write.event, commit: this.commits });
        this.lastOffset = Math.max(this.lastOffset, write.event.offset);
        return;
      case 'checkpoint':
        this.checkpoint = write.checkpoint;
        return;
      case 'create': {
        const { state, row, createdOffset } = write;
        const log: ModelLog = {
          row,
          createdOffset,
          subscriptionId: state.subscriptionId,
          firstEpoch: state.epoch,
          state,
          entries: new Map(),
          before: [],
          followed: [{ commit: this.commits, select: state.select }],
          trimmed: 0,
          attempts: 0,
          endedAt: null,
        };
        this.logs.set(state.subscriptionId, log);
        this.#rows.set(row, log);
        this.nextRow = Math.max(this.nextRow, row + 1);
        return;
      }
      case 'progress':
      case 'configure':
        this.#save(this.#log(write.row), write.state);
        return;
      case 'entry': {
        const { sequence, offset, gap } = write.entry;
        this.#log(write.row).entries.set(sequence, {
          offset,
          gap,
          eventId: this.events.get(offset)?.eventId ?? '',
        });
        return;
      }
      case 'gap':
        for (let sequence = write.from; sequence <= write.to; sequence += 1) {
          const entry = this.#log(write.row).entries.get(sequence);
          if (entry !== undefined) entry.gap = write.reason;
        }
        return;
      case 'trim': {
        const log = this.#log(write.row);
        log.trimmed = Math.max(log.trimmed, write.upTo);
        return;
      }
      case 'renumber': {
        const log = this.#log(write.row);
        const moved = new Map<number, ModelEntry>();
        for (const [sequence, entry] of log.entries) {
          if (sequence <= write.by) log.before.push(entry);
          else moved.set(sequence - write.by, { ...entry, old: true });
        }
        log.entries = moved;
        log.trimmed = Math.max(0, log.trimmed - write.by);
        return;
      }
      case 'end': {
        const log = this.#log(write.row);
        log.endedAt = this.commits;
        if (log.state.callback !== null && write.tombstone.reason !== 'unsubscribed')
          this.owed.add(log.subscriptionId);
        this.#rows.delete(write.row);
        return;
      }
      default:
    }
  }

  #save(log: ModelLog, state: Subscription): void {
    const before = log.state;
    log.state = state;
    if (before.select !== state.select)
      log.followed.push({ commit: this.commits, select: state.select });
    if (before.epoch !== state.epoch) this.watch.rotated(log);
    else this.watch.progress(log, before, state);
  }

  #log(row: number): ModelLog {
    const log = this.#rows.get(row);
    if (log === undefined) throw new Error(`a write to row ${row}, which does not exist`);
    return log;
  }
}

/** Faults of the disk, decided for each call. */
export interface DiskFaults {
  /** Turns of the event loop before and after a call takes effect. */
  delay(): number;
  /** The reason why this commit is rejected, or null. */
  refusal(writes: readonly Write[]): Error | null;
}

/**
 * The store of one process, over a real one that stays open across processes. After `die` no call
 * is ever answered.
 */
export class MortalStore implements Store {
  readonly durability = 'durable';
  readonly #inner: Store;
  readonly #model: ReferenceModel;
  readonly #faults: DiskFaults;
  readonly #opened: Opened;
  #dead = false;

  constructor(inner: Store, model: ReferenceModel, faults: DiskFaults, opened: Opened) {
    this.#inner = inner;
    this.#model = model;
    this.#faults = faults;
    this.#opened = opened;
  }

  die(): void {
    this.#dead = true;
  }

  async open(): Promise<Opened> {
    return this.#opened;
  }
  async close(): Promise<void> {
    this.#dead = true;
  }

  async commit(writes: readonly Write[]): Promise<void> {
    await this.#pause();
    const refusal = this.#faults.refusal(writes);
    if (refusal !== null) throw refusal;
    await this.#inner.commit(writes);
    this.#model.apply(writes);
    await this.#pause();
  }

  async *index() {
    await this.#pause();
    yield* this.#inner.index();
  }

  async #ask<T>(question: () => Promise<T>): Promise<T> {
    await this.#pause();
    const answer = await question();
    await this.#pause();
    return answer;
  }

  async #pause(): Promise<void> {
    for (let turns = this.#faults.delay(); turns > 0; turns -= 1)
      await new Promise((resolve) => setImmediate(resolve));
    // A process that died receives no answer.
    if (this.#dead) await new Promise<never>(() => undefined);
  }

  load(...args: Parameters<Store['load']>) {
    return this.#ask(() => this.#inner.load(...args));
  }
  rowOf(...args: Parameters<Store['rowOf']>) {
    return this.#ask(() => this.#inner.rowOf(...args));
  }
  rowOfKey(...args: Parameters<Store['rowOfKey']>) {
    return this.#ask(() => this.#inner.rowOfKey(...args));
  }
  rowsOf(...args: Parameters<Store['rowsOf']>) {
    return this.#ask(() => this.#inner.rowsOf(...args));
  }
  countOf(...args: Parameters<Store['countOf']>) {
    return this.#ask(() => this.#inner.countOf(...args));
  }
  due(...args: Parameters<Store['due']>) {
    return this.#ask(() => this.#inner.due(...args));
  }
  nextDueAt() {
    return this.#ask(() => this.#inner.nextDueAt());
  }
  backlog(...args: Parameters<Store['backlog']>) {
    return this.#ask(() => this.#inner.backlog(...args));
  }
  read(...args: Parameters<Store['read']>) {
    return this.#ask(() => this.#inner.read(...args));
  }
  agedOut(...args: Parameters<Store['agedOut']>) {
    return this.#ask(() => this.#inner.agedOut(...args));
  }
  oversize(...args: Parameters<Store['oversize']>) {
    return this.#ask(() => this.#inner.oversize(...args));
  }
  bytesOf(...args: Parameters<Store['bytesOf']>) {
    return this.#ask(() => this.#inner.bytesOf(...args));
  }
  data(...args: Parameters<Store['data']>) {
    return this.#ask(() => this.#inner.data(...args));
  }
  acceptedAt(...args: Parameters<Store['acceptedAt']>) {
    return this.#ask(() => this.#inner.acceptedAt(...args));
  }
  accepted(...args: Parameters<Store['accepted']>) {
    return this.#ask(() => this.#inner.accepted(...args));
  }
  history(...args: Parameters<Store['history']>) {
    return this.#ask(() => this.#inner.history(...args));
  }
  known(...args: Parameters<Store['known']>) {
    return this.#ask(() => this.#inner.known(...args));
  }
  tombstone(...args: Parameters<Store['tombstone']>) {
    return this.#ask(() => this.#inner.tombstone(...args));
  }
  dueNotices(...args: Parameters<Store['dueNotices']>) {
    return this.#ask(() => this.#inner.dueNotices(...args));
  }
  nextNoticeAt(...args: Parameters<Store['nextNoticeAt']>) {
    return this.#ask(() => this.#inner.nextNoticeAt(...args));
  }
  verification(...args: Parameters<Store['verification']>) {
    return this.#ask(() => this.#inner.verification(...args));
  }
  stats() {
    return this.#ask(() => this.#inner.stats());
  }
}
