/**
 * Which subscriptions an event belongs to. Arguments are equalities, so matching is looking up: per trigger name and set of
 * argument names (a shape) one table from the arguments' values to rows. The cost of an event depends on how many shapes and
 * values it has, not on how many subscriptions there are.
 */
import { canonicalText } from './canonical.ts';
import { deleteRow, insertRow, mergeRows } from './rows.ts';
import type { Selection } from './types.ts';

/**
 * More values than this in one selection and its row is compared instead of looked up: 10 arguments of 10 values are 10^10 keys.
 */
const KEYS_MAX = 64;

/** Rows under one key of one shape. It knows where it hangs, so that a row can be removed without its selection. */
interface Bucket {
  readonly shape: Shape;
  readonly key: string;
  readonly rows: number[];
}

interface WideRow {
  readonly row: number;
  /** Per argument of the shape, the values any of which will do. */
  readonly accepted: readonly ReadonlySet<string>[];
}

interface Shape {
  readonly name: string;
  /** Ascending. */
  readonly args: readonly string[];
  readonly table: Map<string, Bucket>;
  wide: WideRow[];
}

/** The texts a value stands for: an array stands for each of its members (SEP: The subscription object). */
function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? [...new Set(value.map(canonicalText))] : [canonicalText(value)];
}

/** Canonical JSON holds no control character, so a line break cannot occur within a value. */
const SEPARATOR = '\n';

/** Every way to take one text from each list, joined. */
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

export class MatchIndex {
  readonly #shapes = new Map<string, Shape[]>();
  /** Where each row is entered; a lone bucket without an array around it, since that is what nearly all rows have. */
  readonly #places = new Map<number, Bucket | readonly Bucket[]>();
  readonly #wideRows = new Map<number, Shape[]>();

  /** Rows that can match anything. */
  get size(): number {
    let both = 0;
    for (const row of this.#wideRows.keys()) if (this.#places.has(row)) both += 1;
    return this.#places.size + this.#wideRows.size - both;
  }

  /** Enters a row, in place of whatever it was entered with before. */
  add(row: number, select: readonly Selection[]): void {
    this.remove(row);
    const buckets = new Set<Bucket>();
    for (const selection of select) {
      const args = Object.keys(selection.arguments).sort();
      const shape = this.#shapeOf(selection.name, args);
      const lists = args.map((arg) => textsOf(selection.arguments[arg]));
      if (combinations(lists) <= KEYS_MAX)
        for (const key of keysOf(lists)) buckets.add(bucketOf(shape, key));
      else this.#addWide(shape, row, lists);
      this.#dropIfEmpty(shape, buckets);
    }
    for (const bucket of buckets) insertRow(bucket.rows, row);
    if (buckets.size > 0)
      this.#places.set(row, buckets.size === 1 ? [...buckets][0]! : [...buckets]);
  }

  /** Forgets a row; an unknown one is no mistake. */
  remove(row: number): void {
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
  }

  /**
   * Rows whose selection fits, ascending, each once. `attributesOf` gives the event's value for an argument's name; undefined =
   * it has none, which equals nothing, not even null.
   */
  match(name: string, attributesOf: (argument: string) => unknown): number[] {
    const found: (readonly number[])[] = [];
    for (const shape of this.#shapes.get(name) ?? []) {
      const values = shape.args.map(attributesOf);
      if (values.includes(undefined)) continue;
      const lists = values.map(textsOf);
      for (const bucket of lookUp(shape, lists)) found.push(bucket.rows);
      for (const { row, accepted } of shape.wide) {
        if (accepted.every((texts, at) => lists[at]!.some((text) => texts.has(text))))
          found.push([row]);
      }
    }
    return mergeRows(found);
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

  #addWide(shape: Shape, row: number, lists: readonly (readonly string[])[]): void {
    shape.wide.push({ row, accepted: lists.map((list) => new Set(list)) });
    this.#wideRows.set(row, [...(this.#wideRows.get(row) ?? []), shape]);
  }

  /** Shapes are made of what clients send; one that nobody uses any more must not stay for ever. */
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

/** By key while the event has fewer keys than the table; else, for an event full of arrays, the other way round. */
function* lookUp(shape: Shape, lists: readonly (readonly string[])[]): Generator<Bucket> {
  if (combinations(lists) <= shape.table.size) {
    for (const key of keysOf(lists)) {
      const bucket = shape.table.get(key);
      if (bucket !== undefined) yield bucket;
    }
    return;
  }
  const accepted = lists.map((list) => new Set(list));
  for (const bucket of shape.table.values()) {
    const texts = accepted.length === 0 ? [] : bucket.key.split(SEPARATOR);
    if (texts.every((text, at) => accepted[at]!.has(text))) yield bucket;
  }
}
