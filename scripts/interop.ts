/**
 * Runs the tests with third-party peers. Writes their results to the matrix of docs/interop.md, and
 * the register of SEP-3415 below it. `--register` writes only the register. `--check` writes
 * nothing and runs no test: it fails if the register is stale, or if the rows of the matrix differ
 * from the rows that the tests declare with the installed versions.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { argumentsOf } from './arguments.ts';
import { registerTable } from '../test/server/mcp/events/register.ts';
import type { RowResult, VersionedRow } from '../test/interop/peers/matrix.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const DOCUMENT = join(ROOT, 'docs/interop.md');
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs');
const TESTS = 'test/interop/**/*.test.ts';
const DECLARES_ROWS = /\bpeerTest\(/;
const COLUMNS = ['peer', 'version', 'as', 'revision', 'drain', 'exercised', 'result'] as const;

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

/** A row of the table without its result. */
const identity = ({ peer, version, role, era, drain, exercised }: VersionedRow): string =>
  [`\`${peer}\``, version, role, era ?? 'any', drain, exercised].map(cell).join(' | ');

const resultText = (result: RowResult | undefined): string =>
  result === undefined
    ? 'did not run'
    : !result.passed
      ? '**failed**'
      : result.saw === undefined
        ? 'passed'
        : `passed: ${result.saw}`;

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Returns the table. It has every declared row, even if the test of that row did not finish. */
export function matrix(rows: readonly VersionedRow[], results: readonly RowResult[]): string {
  const found = new Map(results.map((result) => [identity(result), result]));
  const lines = rows
    .map(identity)
    .sort(byText)
    .map((row) => `| ${row} | ${cell(resultText(found.get(row)))} |`);
  return [`| ${COLUMNS.join(' | ')} |`, `|${'---|'.repeat(COLUMNS.length)}`, ...lines].join('\n');
}

/** Lists the differences between the table of a document and the declared rows. Ignores results. */
export function stale(document: string, rows: readonly VersionedRow[]): string[] {
  const declared = rows.map(identity);
  const written = part(document, 'matrix')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map(withoutResult);
  return [
    ...declared.filter((row) => !written.includes(row)).map((row) => `missing row: ${row}`),
    ...written.filter((row) => !declared.includes(row)).map((row) => `row without a test: ${row}`),
    ...declared
      .filter((row, index) => declared.indexOf(row) !== index)
      .map((row) => `row declared by two tests: ${row}`),
    ...written
      .filter((row, index) => written.indexOf(row) !== index)
      .map((row) => `row written twice: ${row}`),
  ];
}

/** Whether the register in a document differs from the register of the tests. */
export const hasStaleRegister = (document: string): boolean =>
  part(document, 'register').trim() !== registerTable();

const withoutResult = (line: string): string => line.slice('| '.length, line.lastIndexOf(' | '));

function borders(document: string, name: string): readonly [number, number] {
  const [start, end] = [`<!-- ${name} -->\n`, `\n<!-- /${name} -->`];
  const [from, to] = [document.indexOf(start) + start.length, document.indexOf(end)];
  if (from < start.length || to < from)
    throw new Error(
      `docs/interop.md has no markers for "${name}". Restore the lines <!-- ${name} --> and <!-- /${name} -->.`,
    );
  return [from, to];
}

const part = (document: string, name: string): string => document.slice(...borders(document, name));

function replaced(document: string, name: string, text: string): string {
  const [from, to] = borders(document, name);
  // Some renderers recognize a table only with blank lines around it.
  return `${document.slice(0, from)}\n${text}\n${document.slice(to)}`;
}

/** The environment without the variables of vitest: one of its tests may call this script. */
const outsideOfVitest = (): NodeJS.ProcessEnv =>
  Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(VITEST|VITEST_.*|TEST)$/.test(name)),
  );

/**
 * Runs the tests with an output file for their results. Resolves with the lines of that file and
 * the exit code.
 */
async function runTests<T>(
  variable: 'INTEROP_RESULTS' | 'INTEROP_ROWS',
  options: readonly string[],
  stdio: 'inherit' | 'ignore',
): Promise<{ lines: T[]; code: number }> {
  const folder = await mkdtemp(join(tmpdir(), 'mcp-triggers-interop-'));
  try {
    const file = join(folder, 'lines');
    await writeFile(file, '');
    const child = spawn(process.execPath, [VITEST, ...options], {
      cwd: ROOT,
      stdio,
      env: { ...outsideOfVitest(), [variable]: file },
    });
    const [code] = (await once(child, 'exit')) as [number | null];
    const lines = (await readFile(file, 'utf8'))
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as T);
    return { lines, code: code ?? 1 };
  } finally {
    await rm(folder, { recursive: true });
  }
}

const testFiles = (): string[] =>
  globSync(TESTS, { cwd: ROOT })
    .filter((file) => DECLARES_ROWS.test(readFileSync(join(ROOT, file), 'utf8')))
    .sort();

/** The rows that the tests declare. Loads the test files and runs no test. */
export async function declaredRows(): Promise<VersionedRow[]> {
  const files = testFiles();
  const { lines, code } = await runTests<VersionedRow>(
    'INTEROP_ROWS',
    ['run', '--testNamePattern=a^', ...files],
    'ignore',
  );
  if (code !== 0)
    throw new Error(
      `A test file with peers cannot be loaded. Run these files one by one to find the cause: ${files.join(', ')}.`,
    );
  return lines;
}

async function check(): Promise<number> {
  const document = await readFile(DOCUMENT, 'utf8');
  const wrong = [
    ...stale(document, await declaredRows()),
    ...(hasStaleRegister(document)
      ? ['the register is stale; run: npm run interop -- --register']
      : []),
  ];
  if (wrong.length > 0)
    process.stderr.write(`docs/interop.md is stale. Run: npm run interop\n${wrong.join('\n')}\n`);
  return wrong.length > 0 ? 1 : 0;
}

/**
 * Replaces parts of the document. Reads the document here, because somebody may have edited it
 * during the run.
 */
async function write(parts: Readonly<Record<string, string>>): Promise<void> {
  const before = await readFile(DOCUMENT, 'utf8');
  await writeFile(
    DOCUMENT,
    Object.entries(parts).reduce(
      (document, [name, text]) => replaced(document, name, text),
      before,
    ),
  );
}

const USAGE = `Usage: npm run interop [-- --register | --check]

Runs the tests with third-party peers, which takes minutes, and writes their results to docs/interop.md.

Options:
  --register  run no test; write only the register of SEP-3415
  --check     run no test and write nothing; exit code 1 if docs/interop.md is stale`;

async function main(): Promise<number> {
  const { values } = argumentsOf(USAGE, {
    options: { check: { type: 'boolean' }, register: { type: 'boolean' } },
  });
  if (values.check === true) return check();
  if (values.register === true) {
    await write({ register: registerTable() });
    return 0;
  }
  const rows = await declaredRows();
  const { lines, code } = await runTests<RowResult>(
    'INTEROP_RESULTS',
    ['run', ...testFiles()],
    'inherit',
  );
  await write({ matrix: matrix(rows, lines), register: registerTable() });
  return code;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main();
