/**
 * Reads the SEP, its modules in `sep/specification/` and `sep/requirements.yaml` into plain data,
 * for the traceability tests and for `sync-requirements.ts`. This file alone decides what counts as
 * a requirement and how two texts are compared: a requirement is the first sentence after an
 * `<a id="…"></a>` in a module that has a BCP 14 word.
 */
import { globSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';

export const SEP_PATH = 'sep/0000-triggers.md';
export const REQUIREMENTS_PATH = 'sep/requirements.yaml';
export const CHECK_PREFIX = 'sep-0000-';

/** BCP 14 words; only the capital form has the meaning. */
export const KEYWORD = /\b(?:MUST|REQUIRED|SHALL|SHOULD|RECOMMENDED|MAY|OPTIONAL)\b/;
/** The same words without capitals, which a reader could mistake for requirements. */
export const AMBIGUOUS = /\b(?:must|shall|should|may)\b/i;

/** The folder of the modules; each names its level, option or module in a line near its top. */
const MODULES_PATH = 'sep/specification';
/** The modules in reading order, which is the order of the rows; the options follow by name. */
const MODULES = [
  'README',
  'basics',
  'trigger-types',
  'subscriptions',
  'log',
  'delivery',
  'stream',
  'callback',
  'annex-destinations',
  'durable',
  'degradation',
  'annex-handshake',
  'annex-messages',
];
/** The levels, then the options and modules that a peer can have on top of them. */
export const LEVELS = [
  'log',
  'stream',
  'callback',
  'durable',
  'conditionalReads',
  'history',
  'multiSelect',
  'dataRef',
  'listChanged',
  'pause',
  'skip',
  'reject',
  'limits',
  'serverIdentity',
  'signedUrls',
  'trace',
  'reservedTypes',
  'degradation',
  'handshake',
] as const;
export type Level = (typeof LEVELS)[number];

export type Who = 'server' | 'client' | 'receiver' | 'reader' | 'peer';

/** One run of prose: a list item, a paragraph or a table row, without fenced code. */
export interface Block {
  readonly line: number;
  /** The `## ` heading above it. */
  readonly part: string;
  readonly text: string;
}

export interface Requirement {
  readonly id: string;
  /** The file that has the sentence, from `sep/`. */
  readonly file: string;
  readonly line: number;
  /** Normalized, see {@link normalize}. */
  readonly text: string;
}

export interface Fence {
  readonly line: number;
  readonly language: string;
  readonly body: string;
  /** The last non-blank line before the fence. */
  readonly before: string;
}

export interface SepDocument {
  /** From the root of the repository. */
  readonly path: string;
  readonly source: string;
  readonly blocks: readonly Block[];
  readonly fences: readonly Fence[];
  readonly requirements: readonly Requirement[];
  /** Sentences of a module that have a keyword and no anchor of their own. */
  readonly unanchored: readonly Requirement[];
  /** Every fragment that a link can point at. */
  readonly targets: ReadonlySet<string>;
}

/** One row of `requirements.yaml`: a check or a reason why a black-box peer cannot be checked. */
export interface Row {
  readonly check?: string;
  readonly text: string;
  readonly url: string;
  readonly who: Who;
  readonly level: Level;
  readonly excluded?: string;
}

const ANCHOR = /<a id="([^"]+)"><\/a>/g;

/**
 * Markdown to comparable text: no anchors, links reduced to their text, no emphasis, no code marks,
 * single spaces.
 */
export function normalize(markdown: string): string {
  return markdown
    .replace(ANCHOR, '')
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/\*\*|`/g, '')
    .replace(/\s+/g, ' ')
    .trim();
}

function sentences(text: string): string[] {
  return text.split(/(?<=[.!?])\s+(?=[A-Z"(])/).filter((sentence) => sentence !== '');
}

/** The fragment GitHub and the MCP site give a heading. */
export function slug(heading: string): string {
  return normalize(heading)
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replace(/ /g, '-');
}

/** Parses one document. Only a module has requirements. */
export function parseSep(source: string, path = `${MODULES_PATH}/x.md`): SepDocument {
  const isModule = path.startsWith(`${MODULES_PATH}/`);
  const file = path.replace(/^sep\//, '');
  const blocks: Block[] = [];
  const fences: Fence[] = [];
  const targets = new Set<string>();
  let part = '';
  let open: { line: number; language: string; body: string[]; before: string } | null = null;
  let pending: { line: number; text: string } | null = null;
  let before = '';

  const flush = (): void => {
    if (pending !== null) blocks.push({ line: pending.line, part, text: pending.text });
    pending = null;
  };

  for (const [index, line] of source.split('\n').entries()) {
    const fence = /^```(\S*)$/.exec(line);
    if (open !== null) {
      if (fence === null) open.body.push(line);
      else {
        fences.push({
          line: open.line,
          language: open.language,
          body: open.body.map((row) => `${row}\n`).join(''),
          before: open.before,
        });
        open = null;
      }
      continue;
    }
    if (fence !== null) {
      flush();
      open = { line: index + 1, language: fence[1] ?? '', body: [], before };
      continue;
    }
    const heading = /^(#+) (.*)$/.exec(line);
    if (heading !== null) {
      flush();
      if (heading[1] === '##') part = heading[2] ?? '';
      targets.add(slug(heading[2] ?? ''));
    } else if (line.trim() === '') flush();
    else if (/^(?:- |\d+\. |\|)/.test(line)) {
      flush();
      pending = { line: index + 1, text: line };
    } else if (pending === null) pending = { line: index + 1, text: line };
    else pending = { line: pending.line, text: `${pending.text} ${line.trim()}` };
    if (line.trim() !== '') before = line;
  }
  flush();

  const requirements: Requirement[] = [];
  const unanchored: Requirement[] = [];
  for (const block of blocks) {
    for (const match of block.text.matchAll(ANCHOR)) targets.add(match[1] ?? '');
    if (!isModule || block.text.startsWith('The key words ')) continue;
    const pieces = block.text.split(/(?=<a id=)/);
    for (const piece of pieces) {
      const id = /^<a id="([^"]+)"><\/a>/.exec(piece)?.[1];
      const list = sentences(normalize(piece.replace(/^(?:- |\d+\. )/, '')));
      for (const [index, text] of list.entries()) {
        if (id !== undefined && index === 0)
          requirements.push({ id, file, line: block.line, text });
        else if (KEYWORD.test(text)) unanchored.push({ id: '', file, line: block.line, text });
      }
    }
  }
  return { path, source, blocks, fences, requirements, unanchored, targets };
}

/** The SEP itself, without the modules. */
export const readSep = (): SepDocument => parseSep(readFileSync(SEP_PATH, 'utf8'), SEP_PATH);

/** The modules in reading order. Throws for a file that is not in it. */
export function readModules(): SepDocument[] {
  const options = globSync('options/*.md', { cwd: MODULES_PATH }).sort();
  const files = [...MODULES.map((name) => `${name}.md`), ...options];
  const unknown = globSync('**/*.md', { cwd: MODULES_PATH }).filter(
    (file) => !files.includes(file),
  );
  if (unknown.length > 0)
    throw new Error(`Add ${unknown.join(', ')} to the reading order in sep-document.ts.`);
  return files.map((file) => {
    const path = `${MODULES_PATH}/${file}`;
    return parseSep(readFileSync(path, 'utf8'), path);
  });
}

export function readRows(): Row[] {
  const file: unknown = parse(readFileSync(REQUIREMENTS_PATH, 'utf8'));
  if (
    typeof file !== 'object' ||
    file === null ||
    !('requirements' in file) ||
    !Array.isArray(file.requirements)
  ) {
    throw new Error(`${REQUIREMENTS_PATH} has no list "requirements".`);
  }
  return file.requirements as Row[];
}

/** The id of a row, from its link. */
export function rowId(row: Row): string {
  return row.url.replace(/^.*#/, '');
}

/** The level of every identifier in the modules: the one that its module names. */
export function moduleLevels(): Map<string, Level> {
  const levels = new Map<string, Level>();
  for (const { path, source, requirements } of readModules()) {
    const name = /^(?:Level|Option|Module) `([A-Za-z]+)`\./m.exec(source)?.[1];
    const level = LEVELS.find((known) => known === name);
    if (level === undefined && requirements.length > 0)
      throw new Error(
        `${path} names no level. Add a line such as "Level \`log\`." below its heading.`,
      );
    for (const { id } of requirements) if (level !== undefined) levels.set(id, level);
  }
  return levels;
}
