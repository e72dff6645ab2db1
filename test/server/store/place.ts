/**
 * Directories for stores under test, removed when the test ends, and the files that make up one
 * store.
 */
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'vitest';

export const KEY = new Uint8Array(32).fill(7);
export const SUFFIXES = ['', '-wal', '-shm', '.instance', '.lock'] as const;

/** A path for a database in a directory of its own. */
export function place(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'triggers-store-'));
  t.onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 'store.db');
}

/**
 * Copies the files of one store over those of another; removes from the target what the source does
 * not have.
 */
export function copyStore(from: string, to: string, suffixes: readonly string[]): void {
  for (const suffix of suffixes) {
    rmSync(to + suffix, { force: true });
    if (existsSync(from + suffix)) copyFileSync(from + suffix, to + suffix);
  }
}
