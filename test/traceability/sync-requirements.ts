/**
 * Updates `sep/requirements.yaml` and the code blocks of the SEP after an edit, so that nobody
 * copies text by hand: sentences go from the SEP to the rows, example files go into the SEP. The
 * decisions about a row (check or excluded, whom it binds, its level) stay. Run `npx node
 * test/traceability/sync-requirements.ts`; the tests only compare.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { stringify } from 'yaml';
import {
  CHECK_PREFIX,
  REQUIREMENTS_PATH,
  SEP_PATH,
  moduleLevels,
  parseSep,
  readRows,
  rowId,
} from './sep-document.ts';
import type { Level, Requirement, Row, Who } from './sep-document.ts';

const HEADER = `# One row per normative sentence of 0000-triggers.md, in the row format of the MCP conformance repository.
# check: the conformance check of this sentence, named sep-0000-<id>; excluded: why a black-box peer cannot be checked.
# text: the sentence without markdown. who: whom it binds; reader = client and receiver, peer = everybody. 0000 is a placeholder until a SEP number is assigned.
# level: the level of the specification, or the option or module, that the sentence belongs to.
# Texts are kept by test/traceability/sync-requirements.ts; check, excluded, who and level are decided by hand.
`;

/** Pastes every example file below its comment. */
export function fillExamples(source: string, read: (path: string) => string): string {
  return source.replace(
    /(<!-- example: (\S+) -->\n```json\n)[^`]*?(```)/g,
    (_all, head: string, path: string, tail: string) =>
      `${head}${read(`spec-schema/draft/examples/${path}`)}${tail}`,
  );
}

/** A first guess from the subject of the sentence. */
function whoIs(text: string): Who {
  if (/^(?:A|Such a) receiver/.test(text)) return 'receiver';
  if (/^(?:A|The) client/.test(text)) return 'client';
  if (/^(?:A reader|After an epoch change a reader)/.test(text)) return 'reader';
  if (/^(?:A peer|Both sides)/.test(text)) return 'peer';
  return 'server';
}

/**
 * A new row: a pure permission cannot fail, everything else starts as a check. Its level is that of
 * the module which has the identifier.
 */
function newRow(requirement: Requirement, levels: ReadonlyMap<string, Level>): Row {
  const base = {
    text: requirement.text,
    url: `#${requirement.id}`,
    who: whoIs(requirement.text),
    level: levels.get(requirement.id) ?? 'log',
  };
  if (/\bMAY\b/.test(requirement.text) && !/\b(?:MUST|SHOULD)\b/.test(requirement.text)) {
    return { ...base, excluded: 'A permission: a peer conforms whether it uses it or not.' };
  }
  return { check: `${CHECK_PREFIX}${requirement.id}`, ...base };
}

export function updateRows(
  requirements: readonly Requirement[],
  rows: readonly Row[],
  levels: ReadonlyMap<string, Level>,
): Row[] {
  const known = new Map(rows.map((row) => [rowId(row), row]));
  return requirements.map((requirement) => {
    const row = known.get(requirement.id);
    return row === undefined ? newRow(requirement, levels) : { ...row, text: requirement.text };
  });
}

function main(): void {
  const source = fillExamples(readFileSync(SEP_PATH, 'utf8'), (path) => readFileSync(path, 'utf8'));
  writeFileSync(SEP_PATH, source);
  const rows = updateRows(parseSep(source).requirements, readRows(), moduleLevels());
  const list = stringify(rows, { lineWidth: 0 }).replace(/^/gm, '  ').trimEnd();
  writeFileSync(
    REQUIREMENTS_PATH,
    `${HEADER}sep: 0000\nspec_url: 0000-triggers.md\nrequirements:\n${list}\n`,
  );
  console.log(
    `${rows.length} requirements, ${rows.filter((row) => row.check !== undefined).length} with a check`,
  );
}

if (import.meta.main) main();
