/** Ascending lists of distinct row numbers, the values of the match index. Plain number arrays: 4 to 8 bytes a row. */

/** Where `row` is, or where it belongs. */
function placeOf(rows: readonly number[], row: number): number {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (rows[middle]! < row) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function insertRow(rows: number[], row: number): void {
  // Rows are handed out ascending, so nearly every insertion is at the end.
  const last = rows.at(-1);
  if (last === undefined || last < row) {
    rows.push(row);
    return;
  }
  const at = placeOf(rows, row);
  if (rows[at] !== row) rows.splice(at, 0, row);
}

export function deleteRow(rows: number[], row: number): void {
  const at = placeOf(rows, row);
  if (rows[at] === row) rows.splice(at, 1);
}

/** One new ascending list of all rows, each once. */
export function mergeRows(lists: readonly (readonly number[])[]): number[] {
  if (lists.length === 0) return [];
  if (lists.length === 1) return [...lists[0]!];
  const all = Float64Array.from(lists.flat()).sort();
  const merged: number[] = [];
  for (const row of all) if (merged.at(-1) !== row) merged.push(row);
  return merged;
}
