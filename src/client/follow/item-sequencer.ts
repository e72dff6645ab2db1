/**
 * From what rungs yield to what the application gets: numbered, without what it has had, with every loss and every change of what can
 * be relied on, and remembered when it is done (SEP: When a peer lacks the extension).
 */
import type { Position, Selection } from '../../../spec-schema/draft/schema.ts';
import type { Ledger } from '../../protocol/ledger/ledger.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { direction, isSame, withNumbers } from './guarantee.ts';
import { place, showsLoss, type Numbered } from './numbers.ts';
import { isRungName, RUNGS } from './modes/index.ts';
import type { Seen } from './deduplicator.ts';
import { Tally, type Entry } from './ack-tracker.ts';
import type { FollowedEvent, FollowedGap, FollowGuarantee, FollowItem, RungChange, RungName, RungYield, ServerNumber } from './types.ts';

export interface TellerOptions {
  /** Of the items; undefined where one log has all selections. */
  readonly selectionOf: (rung: RungName) => Selection | undefined;
  readonly ledger: Ledger;
  readonly server: string;
  /** Name the selections in the ledger. */
  readonly keys: readonly string[];
  /** Names their subscription on the rung `triggers`. */
  readonly triggersKey: string;
  readonly ack: 'auto' | 'manual';
  readonly seen: Seen;
  /** What could be relied on before, by another teller. */
  readonly before: FollowGuarantee | undefined;
}

/** Why there is another guarantee. */
interface Why {
  /** The rung before was tried and did not work. */
  readonly wasRefused?: boolean;
  readonly error?: unknown;
}

type Yielded<T extends RungYield['type']> = Extract<RungYield, { type: T }>;
type Unhanded = Omit<FollowedEvent, 'ack' | 'rung' | 'selection'> | Omit<FollowedGap, 'ack' | 'rung' | 'selection'>;

export class Teller {
  readonly #o: TellerOptions;
  #tally!: Tally;
  /** A save that failed; told with the next item. */
  #unsaved: { readonly error: unknown } | undefined;
  #rung: RungName | undefined;
  #isSelfAcknowledging = false;
  /** What the rung itself guarantees, and what the application was told last. */
  #own: FollowGuarantee | undefined;
  #told: FollowGuarantee | undefined;
  /** The server's numbers are seen on this rung. */
  #isNumbered = false;
  #last: Numbered | undefined;
  /** For a while nobody was looking; told as soon as somebody is. */
  #isUnwatched: boolean;
  #count = 0;

  constructor(options: TellerOptions) {
    this.#o = options;
    this.#told = options.before;
    this.#isUnwatched = options.before !== undefined;
  }

  get guarantee(): FollowGuarantee | undefined { return this.#rung && this.#told; }

  async load(): Promise<void> {
    const { ledger, server, keys } = this.#o;
    const records = await Promise.all(keys.map((key) => ledger.load('mark', server, key)));
    const [record] = records;
    const rung = record && isRungName(record.rung) ? record.rung : undefined;
    if (records.some((one) => one !== undefined)) this.#isUnwatched = true;
    this.#tally = new Tally({ rung, mark: record?.mark ?? null, number: record?.number ?? null }, async (progress) => {
      for (const key of keys) await ledger.save({ kind: 'mark', server, key, rung: progress.rung!, mark: progress.mark, number: progress.number });
    });
  }

  /** Resolves when everything that the application has finished is saved. */
  async flush(): Promise<void> { await this.#tally?.flush(); }

  /* -------------------------------------------------- rungs ------------------------------------------------------------ */

  /** Another rung, or the same again. Resolves with the mark from which it goes on; undefined = from now. */
  async enter(rung: RungName, isSelfAcknowledging: boolean): Promise<string | undefined> {
    const { marks } = RUNGS[rung];
    const { rung: before, mark, number } = this.#tally.progress;
    const goesOn = isRungName(before) && RUNGS[before].marks === marks;
    this.#isSelfAcknowledging = isSelfAcknowledging;
    this.#o.seen.turn();
    if (this.#rung !== rung) {
      this.#rung = rung;
      this.#isNumbered = false;
      // Another way to the same events may count them in another log.
      this.#last = before === rung ? number ?? undefined : undefined;
    }
    if (before !== rung) this.#tally.skip({ rung, number: null, ...(goesOn ? {} : { mark: null }) });
    if (marks === 'position') return (await this.#o.ledger.load('position', this.#o.server, this.#o.triggersKey)) && '';
    return goesOn ? mark ?? undefined : undefined;
  }

  /** What the rung promises, if that is news. */
  *promise(offered: FollowGuarantee, { wasRefused = false, error }: Why = {}): Generator<RungChange> {
    this.#own = offered;
    const from = this.#told;
    const to = this.#isNumbered && offered.rung === from?.rung ? withNumbers(offered) : offered;
    if (isSame(from, to)) return;
    this.#told = to;
    const selection = this.#o.selectionOf(to.rung);
    yield {
      type: 'rung', ...(selection ? { selection } : {}), ...(from ? { from } : {}), to,
      reason: from === undefined ? 'chosen' : wasRefused ? 'refused' : direction(from, to),
      ...(error === undefined ? {} : { error }),
    };
  }

  /** The rung has stopped working. */
  left(): void { this.#isUnwatched = true; }

  /** The rung works. That nobody was looking before it, and that this cannot be made up for, is told. */
  *arrived(first: RungYield, mark: string | undefined): Generator<FollowItem> {
    const isTold = mark !== undefined || (first.type === 'gap' && first.reason === 'unwatched');
    if (this.#isUnwatched && !isTold) yield* this.#hand({ type: 'gap', reason: 'unwatched' });
    this.#isUnwatched = false;
  }

  /* -------------------------------------------------- items ------------------------------------------------------------ */

  /** Returns whether that was an event or a gap which the application had not had. */
  *take(one: RungYield): Generator<FollowItem, boolean> {
    switch (one.type) {
      case 'mark': this.#tally.skip({ mark: one.mark }); return false;
      case 'guarantee': yield* this.promise(one.guarantee); return false;
      case 'loss': yield one.item; return false;
      case 'gap': return yield* this.#gap(one);
      case 'event': return yield* this.#event(one);
    }
  }

  *#gap({ reason, numbers, shown = [], ...entry }: Yielded<'gap'>): Generator<FollowItem, boolean> {
    if (this.#last !== undefined && showsLoss(this.#last, shown)) return this.#skip(entryOf(entry));
    yield* this.#hand({ type: 'gap', reason, ...(numbers ? { numbers } : {}) }, entryOf(entry));
    return true;
  }

  *#event({ event, number, ...rest }: Yielded<'event'>): Generator<FollowItem, boolean> {
    const { seen } = this.#o;
    const rung = this.#rung!;
    const { isOccurrence } = RUNGS[rung];
    // Below `events/*` an identifier is that of a state, and a state may come back.
    const hasIdentity = isOccurrence || rung === 'triggers';
    const isKnown = isOccurrence ? seen.has(event) : hasIdentity && seen.hadBefore(event);
    if (isOccurrence) yield* this.#place(number, isKnown);
    const entry = entryOf({ ...rest, ...(isOccurrence && number ? { number: bare(number) } : {}) });
    if (isKnown) return this.#skip(entry);
    if (hasIdentity) seen.add(event);
    yield* this.#hand({ type: 'event', number: number ?? { by: 'client', count: ++this.#count }, event }, entry);
    return true;
  }

  /** What the application does not get is done with as soon as everything before it is. */
  #skip(entry: Entry): false {
    if (!this.#isSelfAcknowledging) this.#tally.skip(entry);
    return false;
  }

  /** What the number of an occurrence says about those before. */
  *#place(number: ServerNumber | undefined, isKnown: boolean): Generator<FollowItem> {
    if (this.#isNumbered !== (number !== undefined)) {
      this.#isNumbered = number !== undefined;
      yield* this.promise(this.#own!);
    }
    if (!number) return;
    const now = bare(number);
    const before = this.#last;
    const where = place(before, now);
    if (where === 'behind') {
      if (isKnown) return;
      throw new LocalError('peer_misbehaved', `The server broke the protocol: number ${now.sequence} came after ${before!.sequence} and had not been there.`, { reason: 'number' });
    }
    this.#last = now;
    if (where === 'replaced') yield { type: 'lost', reason: 'replaced', last: positionOf(before!) };
    if (typeof where !== 'object') return;
    if (where.kind === 'epoch') yield { type: 'epoch', previous: positionOf(before!), current: { epoch: now.epoch, sequence: 0 } };
    if (where.to >= where.from) yield* this.#hand({ type: 'gap', reason: 'missing', numbers: { subscriptionId: now.subscriptionId, epoch: now.epoch, from: where.from, to: where.to } });
  }

  /** One item: the application is done with it when it says so, or when it asks for the next. */
  *#hand(item: Unhanded, entry: Entry = {}): Generator<FollowItem> {
    if (this.#unsaved) throw this.#unsaved.error;
    const rung = this.#rung!;
    const selection = this.#o.selectionOf(rung);
    const ack = this.#isSelfAcknowledging ? async () => { await entry.done?.(); } : this.#tally.hand(entry);
    yield { ...item, rung, ...(selection ? { selection } : {}), ack } as FollowItem;
    if (this.#o.ack === 'auto' && !this.#isSelfAcknowledging) ack().catch((error: unknown) => { this.#unsaved = { error }; });
  }
}

const bare = ({ subscriptionId, epoch, sequence }: ServerNumber): Numbered => ({ subscriptionId, epoch, sequence });
const positionOf = ({ epoch, sequence }: Numbered): Position => ({ epoch, sequence });

function entryOf({ mark, number, done }: { readonly mark?: string; readonly number?: Numbered; readonly done?: () => void | Promise<void> }): Entry {
  return { ...(mark === undefined ? {} : { mark }), ...(number ? { number } : {}), ...(done ? { done } : {}) };
}
