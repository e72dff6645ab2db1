/**
 * Tests with peers that somebody else wrote, each of which is a row of the matrix in docs/interop.md. A row is declared by the test that earns it:
 * the peer's version is read from what is installed, and the result from the run. `npm run interop` runs them and writes the matrix.
 *
 * A file that declares rows does so at its top or in a `describe`, and starts nothing outside its tests and the hooks of a `describe`: the matrix is also
 * checked without running anything.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'vitest';

const ROOT = join(import.meta.dirname, '../../..');
/** Names a file: each test appends what came of it. */
const RESULTS = 'INTEROP_RESULTS';
/** Names a file: each row is appended when its test is collected. */
const ROWS = 'INTEROP_ROWS';

/** What is claimed; the words of docs/interop.md. */
export interface PeerRow {
  /** Its npm package. */
  readonly peer: string;
  /** What the peer is here. */
  readonly role: 'client' | 'server' | 'client and receiver' | 'receiver' | 'suite' | 'tool';
  /** The revision of MCP that was spoken. Absent = it makes no difference. */
  readonly era?: '2025-11-25' | '2026-07-28';
  /** How events came across: callback, stream, pull, events webhook, events push, events poll, resources, tools, read polling, … */
  readonly drain: string;
  /** What was exercised, in a few words. */
  readonly exercised: string;
}

/** A row with the version it is true of. */
export interface VersionedRow extends PeerRow {
  readonly version: string;
}

/** A row with what came of it. */
export interface RowResult extends VersionedRow {
  readonly passed: boolean;
  /** What the test saw, where that says more than that it passed: the rung it came to, how many checks there were. The same in every run. */
  readonly saw?: string;
}

/** The version of a package as it is installed. */
export function installedVersion(peer: string): string {
  return (
    JSON.parse(readFileSync(join(ROOT, 'node_modules', peer, 'package.json'), 'utf8')) as {
      version: string;
    }
  ).version;
}

const append = (variable: string, line: object): void => {
  const file = process.env[variable];
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(line)}\n`);
};

/** A test that is a row of the matrix. What `run` resolves with, stands in the column of the result. */
export function peerTest(
  row: PeerRow,
  run: (context: TestContext) => Promise<string | void>,
): void {
  const versioned: VersionedRow = { ...row, version: installedVersion(row.peer) };
  append(ROWS, versioned);
  const title = [`${row.peer} as ${row.role}`, row.era, row.drain]
    .filter((part) => part !== undefined)
    .join(', ');
  test(`${title}: ${row.exercised}`, async (context) => {
    let result: RowResult = { ...versioned, passed: false };
    try {
      const saw = await run(context);
      result = { ...versioned, passed: true, ...(saw === undefined ? {} : { saw }) };
    } finally {
      append(RESULTS, result);
    }
  });
}
