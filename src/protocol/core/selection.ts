/**
 * Finds the subscriptions that an event matches. An argument matches an equal value, so matching is a
 * lookup: each combination of a trigger name and argument names (a shape) has a table from argument
 * values to rows. The cost per event depends on the number of shapes and values, not on the number
 * of subscriptions.
 */
import { canonicalText } from './canonical.ts';
import { deleteRow, insertRow, mergeRows } from './rows.ts';
import type { Selection } from './types.ts';

/**
 * Most table keys of one selection. A selection with more is compared with each event instead of
 * looked up: 10 arguments of 10 values would be 10^10 keys.
 */
const KEYS_MAX = 64;

/**
 * The rows under one key of one shape. Refers to its shape, so that a row can be removed without
 * knowing its selection.
 */
interface Bucket {
  readonly shape: Shape;
  readonly key: string;
  readonly rows: number[];
}

/** A row whose selection has too many keys for the table. */
interface WideRow {
  readonly row: number;
  readonly owner: string;
  /** The accepted values of each argument of the shape. */
  readonly accepted: readonly ReadonlySet<string>[];
}

/** A trigger name and a set of argument names. */
interface Shape {
  readonly name: string;
  /** Ascending. */
  readonly args: readonly string[];
  readonly table: Map<string, Bucket>;
  wide: WideRow[];
}

/**
 * Returns the canonical texts of a value: one for each member of an array, since any of them can
 * match (SEP: The subscription).
 */
function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? [...new Set(value.map(canonicalText))] : [canonicalText(value)];
}

/** Cannot occur within a value, because canonical JSON escapes line feeds. */
const SEPARATOR = '\n';

/** Every combination of one text from each list, joined. */
function* keysOf(lists: readonly (readonly string[])[], at = 0, prefix = ''): Generator<string> {
  if (at === lists.length) {
    yield prefix;
    return;
  }
  for (const text of lists[at]!)
    yield* keysOf(lists, at + 1, at === 0 ? text : prefix + SEPARATOR + text);
}

function combinations(lists: readonly (readonly string[])[]): number {
  return lists.reduce((product, list) => product * list.length, 1);
}

/** How `MatchIndex.match` treats an event. */
export interface MatchOptions {
  /** Whether an absent value matches nothing (default), or every argument. */
  readonly absent?: 'nothing' | 'anything';
  /** Only rows of these owners match; default: all rows. */
  readonly owners?: readonly string[] | undefined;
}

/** An index from selections to row numbers. */
export class MatchIndex {
  readonly #shapes = new Map<string, Shape[]>();
  /**
   * The buckets of each row. A single bucket is stored without an array, because nearly all rows
   * have one.
   */
  readonly #places = new Map<number, Bucket | readonly Bucket[]>();
  readonly #wideRows = new Map<number, Shape[]>();
  /** The rows of each owner; a single one without an array, because most owners have one. */
  readonly #rowsOf = new Map<string, number | number[]>();

  /** The number of rows. */
  get size(): number {
    let both = 0;
    for (const row of this.#wideRows.keys()) if (this.#places.has(row)) both += 1;
    return this.#places.size + this.#wideRows.size - both;
  }

  /** Adds a row of an owner, or replaces its selections. */
  add(row: number, select: readonly Selection[], owner = ''): void {
    this.remove(row, owner);
    const rows = this.#rowsOf.get(owner);
    if (rows === undefined) this.#rowsOf.set(owner, row);
    else if (typeof rows === 'number') this.#rowsOf.set(owner, mergeRows([[rows, row]]));
    else insertRow(rows, row);
    const buckets = new Set<Bucket>();
    for (const selection of select) {
      const args = Object.keys(selection.arguments).sort();
      const shape = this.#shapeOf(selection.name, args);
      const lists = args.map((arg) => textsOf(selection.arguments[arg]));
      if (combinations(lists) <= KEYS_MAX)
        for (const key of keysOf(lists)) buckets.add(bucketOf(shape, key));
      else this.#addWide(shape, { row, owner, accepted: lists.map((list) => new Set(list)) });
      this.#dropIfEmpty(shape, buckets);
    }
    for (const bucket of buckets) insertRow(bucket.rows, row);
    if (buckets.size > 0)
      this.#places.set(row, buckets.size === 1 ? [...buckets][0]! : [...buckets]);
  }

  /** Removes a row of an owner; does nothing if the row is unknown. */
  remove(row: number, owner = ''): void {
    const place = this.#places.get(row);
    this.#places.delete(row);
    for (const bucket of place === undefined ? [] : 'key' in place ? [place] : place) {
      deleteRow(bucket.rows, row);
      if (bucket.rows.length === 0) bucket.shape.table.delete(bucket.key);
      this.#dropIfEmpty(bucket.shape);
    }
    for (const shape of this.#wideRows.get(row) ?? []) {
      shape.wide = shape.wide.filter((wide) => wide.row !== row);
      this.#dropIfEmpty(shape);
    }
    this.#wideRows.delete(row);
    this.#removeOwner(row, owner);
  }

  /**
   * Returns the rows with a matching selection, ascending, without duplicates. `attributesOf` returns
   * the event's value for an argument's name; undefined = absent, which matches nothing, not even
   * null, unless the options say otherwise. With `owners`, the cost depends on their rows, not on
   * the number of rows that match.
   */
  match(
    name: string,
    attributesOf: (argument: string) => unknown,
    { absent = 'nothing', owners }: MatchOptions = {},
  ): number[] {
    const found: (readonly number[])[] = [];
    const buckets = new Set<Bucket>();
    const chosen = owners === undefined ? undefined : new Set(owners);
    for (const shape of this.#shapes.get(name) ?? []) {
      const values = shape.args.map(attributesOf);
      if (absent === 'nothing' && values.includes(undefined)) continue;
      const lists = values.map((value) => (value === undefined ? null : textsOf(value)));
      for (const bucket of lookUp(shape, lists))
        if (chosen === undefined) found.push(bucket.rows);
        else buckets.add(bucket);
      for (const { row, owner, accepted } of shape.wide) {
        if (chosen?.has(owner) === false) continue;
        if (accepted.every((texts, at) => lists[at]?.some((text) => texts.has(text)) ?? true))
          found.push([row]);
      }
    }
    for (const owner of chosen ?? [])
      found.push([this.#rowsOf.get(owner) ?? []].flat().filter((row) => this.#isIn(row, buckets)));
    return mergeRows(found);
  }

  #isIn(row: number, buckets: ReadonlySet<Bucket>): boolean {
    const place = this.#places.get(row);
    if (place === undefined) return false;
    return 'key' in place ? buckets.has(place) : place.some((bucket) => buckets.has(bucket));
  }

  #removeOwner(row: number, owner: string): void {
    const rows = this.#rowsOf.get(owner);
    if (rows === row) this.#rowsOf.delete(owner);
    if (rows === undefined || typeof rows === 'number') return;
    deleteRow(rows, row);
    if (rows.length === 0) this.#rowsOf.delete(owner);
  }

  #shapeOf(name: string, args: readonly string[]): Shape {
    let shapes = this.#shapes.get(name);
    if (shapes === undefined) this.#shapes.set(name, (shapes = []));
    let shape = shapes.find(
      (one) => one.args.length === args.length && one.args.every((arg, at) => arg === args[at]),
    );
    if (shape === undefined) shapes.push((shape = { name, args, table: new Map(), wide: [] }));
    return shape;
  }

  #addWide(shape: Shape, wide: WideRow): void {
    const { row } = wide;
    shape.wide.push(wide);
    this.#wideRows.set(row, [...(this.#wideRows.get(row) ?? []), shape]);
  }

  /** Deletes an unused shape: clients determine shapes, so unused ones would accumulate. */
  #dropIfEmpty(shape: Shape, pending?: ReadonlySet<Bucket>): void {
    if (
      shape.table.size > 0 ||
      shape.wide.length > 0 ||
      (pending !== undefined && [...pending].some((bucket) => bucket.shape === shape))
    )
      return;
    const rest = (this.#shapes.get(shape.name) ?? []).filter((one) => one !== shape);
    if (rest.length > 0) this.#shapes.set(shape.name, rest);
    else this.#shapes.delete(shape.name);
  }
}

function bucketOf(shape: Shape, key: string): Bucket {
  let bucket = shape.table.get(key);
  if (bucket === undefined) shape.table.set(key, (bucket = { shape, key, rows: [] }));
  return bucket;
}

/**
 * Yields the buckets that match the event; null in `lists` = every value matches. Looks up each key
 * of the event, or scans the table when a value is null or an event with arrays has more keys than
 * the table.
 */
function* lookUp(shape: Shape, lists: readonly (readonly string[] | null)[]): Generator<Bucket> {
  const isComplete = (all: typeof lists): all is readonly (readonly string[])[] =>
    !all.includes(null);
  if (isComplete(lists) && combinations(lists) <= shape.table.size) {
    for (const key of keysOf(lists)) {
      const bucket = shape.table.get(key);
      if (bucket !== undefined) yield bucket;
    }
    return;
  }
  const accepted = lists.map((list) => (list === null ? null : new Set(list)));
  for (const bucket of shape.table.values()) {
    const texts = accepted.length === 0 ? [] : bucket.key.split(SEPARATOR);
    if (texts.every((text, at) => accepted[at]?.has(text) ?? true)) yield bucket;
  }
}
