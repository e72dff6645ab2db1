/**
 * The register of what SEP-3415 asks of a server: read from `register.yaml`, checked by
 * `register.test.ts`, printed in `docs/interop.md`.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

/** One row. Exactly one of `met`, `moot` and `open` is present. */
export interface RegisterRow {
  readonly id: string;
  /** The duty of a server, in this project's own wording. */
  readonly says: string;
  /** The file of the test that shows it, relative to the root of the repository. */
  readonly met?: string;
  /** The test's title, if it does not cite the row. */
  readonly title?: string;
  /** A remark on how it is met. */
  readonly note?: string;
  readonly moot?: string;
  readonly open?: string;
}

export const registerRows = (): RegisterRow[] =>
  parse(readFileSync(new URL('register.yaml', import.meta.url), 'utf8')) as RegisterRow[];

const KINDS = {
  R: 'MUST and SHOULD',
  A: 'SDK appendix',
  D: 'observable on the wire',
  O: 'optional, implemented',
  U: 'left open by the draft, decided by this server',
} as const;

const cell = (text: string): string => text.replaceAll('|', '\\|');

function standing({ met, note, moot, open }: RegisterRow): string {
  if (met !== undefined)
    return [`[met](../${met})`, note].filter((one) => one !== undefined).join('. ');
  return moot === undefined ? `**open**: ${open}` : `not applicable: ${moot}`;
}

/** The register as Markdown, for a document in `docs`. */
export function registerTable(): string {
  const rows = registerRows();
  const count = (kind: 'met' | 'moot' | 'open'): number =>
    rows.filter((row) => row[kind] !== undefined).length;
  return [
    `${rows.length} rows: ${count('met')} met and shown by a test, ${count('moot')} not applicable, ${count('open')} open.`,
    '',
    `Letters: ${Object.entries(KINDS)
      .map(([letter, kind]) => `${letter} = ${kind}`)
      .join(', ')}.`,
    '',
    '| row | duty of a server in SEP-3415 | this server |',
    '|---|---|---|',
    ...rows.map((row) => `| ${row.id} | ${cell(row.says)} | ${cell(standing(row))} |`),
  ].join('\n');
}
