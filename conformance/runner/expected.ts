/**
 * Known failures, read from a file with one row for each check. A listed check that passes is an
 * error, so that the row has to go when its defect is fixed.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { CheckResult } from './verdict.ts';

/** The reason of each known failure, by check id. */
export type Expected = ReadonlyMap<string, string>;

/** Reads rows of `check` and `because`. Throws when a row is incomplete or its check unknown. */
export function readExpected(path: string, known: ReadonlySet<string>): Expected {
  const rows = parse(readFileSync(path, 'utf8')) as
    readonly { readonly check?: string; readonly because?: string }[] | null;
  const expected = new Map<string, string>();
  for (const { check, because } of rows ?? []) {
    if (check === undefined || because === undefined)
      throw new Error(`${path}: a row has no "check" or no "because". Give it both.`);
    if (!known.has(check))
      throw new Error(`${path}: unknown check ${check}. Use an id of the requirements file.`);
    expected.set(check, because);
  }
  return expected;
}

/** How a result compares with the known failures. */
export type Standing = 'fine' | 'unexpected failure' | 'expected failure' | 'unexpectedly passing';

export function standing({ id, verdict }: CheckResult, expected: Expected): Standing {
  if (!expected.has(id)) return verdict === 'violated' ? 'unexpected failure' : 'fine';
  if (verdict === 'violated' || verdict === 'warned') return 'expected failure';
  return verdict === 'passed' ? 'unexpectedly passing' : 'fine';
}
