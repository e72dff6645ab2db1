/** The register of what SEP-3415 asks of a server: read from `register.yaml`, checked by `register.test.ts`, shown in `docs/interop.md`. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

/** One row. Exactly one of `met`, `moot` and `open` is there. */
export interface RegisterRow {
  readonly id: string;
  /** What is asked of a server, in words of ours. */
  readonly says: string;
  /** The file of the test that shows it, from the root of the repository. */
  readonly met?: string;
  /** The test's title, where it does not cite the row. */
  readonly title?: string;
  /** What is to be known of how it is met. */
  readonly note?: string;
  readonly moot?: string;
  readonly open?: string;
}

export const registerRows = (): RegisterRow[] =>
  parse(readFileSync(new URL('register.yaml', import.meta.url), 'utf8')) as RegisterRow[];

const KINDS = {
  R: 'MUST and SHOULD',
  A: 'SDK appendix',
  D: 'seen on the wire',
  O: 'optional, done here',
  U: 'left open there, decided here',
} as const;

const cell = (text: string): string => text.replaceAll('|', '\\|');

function standing({ met, note, moot, open }: RegisterRow): string {
  if (met !== undefined)
    return [`[met](../${met})`, note].filter((one) => one !== undefined).join('. ');
  return moot === undefined ? `**open**: ${open}` : `no occasion: ${moot}`;
}

/** The register as Markdown, for a document in `docs`. */
export function registerTable(): string {
  const rows = registerRows();
  const count = (kind: 'met' | 'moot' | 'open'): number =>
    rows.filter((row) => row[kind] !== undefined).length;
  return [
    `${rows.length} rows: ${count('met')} met and shown by a test, ${count('moot')} without occasion, ${count('open')} open.`,
    '',
    `Letters: ${Object.entries(KINDS)
      .map(([letter, kind]) => `${letter} = ${kind}`)
      .join(', ')}.`,
    '',
    '| row | what SEP-3415 asks of a server | here |',
    '|---|---|---|',
    ...rows.map((row) => `| ${row.id} | ${cell(row.says)} | ${cell(standing(row))} |`),
  ].join('\n');
}
