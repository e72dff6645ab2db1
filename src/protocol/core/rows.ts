/**
 * Sorted lists of distinct row numbers, the values of the match index. Plain arrays take 4 to 8
 * bytes per row.
 */

/** Returns the index of `row`, or the index at which to insert it. */
function indexFor(rows: readonly number[], row: number): number {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (rows[middle]! < row) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function insertRow(rows: number[], row: number): void {
  // Row numbers are assigned in ascending order, so nearly every insertion is at the end.
  const last = rows.at(-1);
  if (last === undefined || last < row) {
    rows.push(row);
    return;
  }
  const at = indexFor(rows, row);
  if (rows[at] !== row) rows.splice(at, 0, row);
}

export function deleteRow(rows: number[], row: number): void {
  const at = indexFor(rows, row);
  if (rows[at] === row) rows.splice(at, 1);
}

/** Returns a new sorted list of all rows without duplicates. */
export function mergeRows(lists: readonly (readonly number[])[]): number[] {
  if (lists.length === 0) return [];
  if (lists.length === 1) return [...lists[0]!];
  const all = Float64Array.from(lists.flat()).sort();
  const merged: number[] = [];
  for (const row of all) if (merged.at(-1) !== row) merged.push(row);
  return merged;
}
