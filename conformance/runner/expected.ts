/**
 * Failures that are known. A file with one entry a check: listed and failing is fine; listed and passing is an error, so that the list shrinks when something is
 * mended.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { CheckResult } from './verdict.ts';

/** By check id, why it is known to fail. */
export type Expected = ReadonlyMap<string, string>;

/** Reads `- check: sep-0000-…` rows with a `because`. Throws an `Error` that says which row is wrong. */
export function readExpected(path: string, known: ReadonlySet<string>): Expected {
  const rows = parse(readFileSync(path, 'utf8')) as
    readonly { readonly check?: string; readonly because?: string }[] | null;
  const expected = new Map<string, string>();
  for (const { check, because } of rows ?? []) {
    if (check === undefined || because === undefined)
      throw new Error(`${path}: every row needs "check" and "because".`);
    if (!known.has(check)) throw new Error(`${path}: there is no check ${check}.`);
    expected.set(check, because);
  }
  return expected;
}

/** How a result stands against what was expected. */
export type Standing = 'fine' | 'unexpected failure' | 'expected failure' | 'unexpectedly passing';

export function standing({ id, verdict }: CheckResult, expected: Expected): Standing {
  if (!expected.has(id)) return verdict === 'violated' ? 'unexpected failure' : 'fine';
  if (verdict === 'violated' || verdict === 'warned') return 'expected failure';
  return verdict === 'passed' ? 'unexpectedly passing' : 'fine';
}
