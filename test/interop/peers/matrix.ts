/**
 * Tests with peers that others wrote, each of which is a row of the matrix in docs/interop.md. The
 * test that shows a row declares it: the peer's version is read from the installed package, and the
 * result from the run. `npm run interop` runs them and writes the matrix.
 *
 * A file declares its rows at the top level or in a `describe`, and starts nothing outside its
 * tests and the hooks of a `describe`, since the matrix is also checked without running anything.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'vitest';

const ROOT = join(import.meta.dirname, '../../..');
/** Names a file to which each test appends its result. */
const RESULTS = 'INTEROP_RESULTS';
/** Names a file to which each row is appended when its test is collected. */
const ROWS = 'INTEROP_ROWS';

/** The claim of a row, in the words of docs/interop.md. */
export interface PeerRow {
  /** Its npm package. */
  readonly peer: string;
  /** The peer's role. */
  readonly role: 'client' | 'server' | 'client and receiver' | 'receiver' | 'suite' | 'tool';
  /** The revision of MCP in use. Absent = it makes no difference. */
  readonly era?: '2025-11-25' | '2026-07-28';
  /**
   * How events arrived: callback, stream, pull, events webhook, events push, events poll,
   * resources, tools, read polling, …
   */
  readonly drain: string;
  /** The exercised features, in a few words. */
  readonly exercised: string;
}

/** A row with the version it is true of. */
export interface VersionedRow extends PeerRow {
  readonly version: string;
}

/** A row with its result. */
export interface RowResult extends VersionedRow {
  readonly passed: boolean;
  /**
   * Observations of the test beyond passing, such as the mode it chose or the number of checks. The
   * same in every run.
   */
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

/**
 * A test that is a row of the matrix. The value that `run` resolves with appears in the result
 * column.
 */
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
