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
  moduleLevels,
  readModules,
  readRows,
  rowId,
} from './sep-document.ts';
import {
  base64,
  ed25519,
  hmac,
  secretBytes,
  segment,
  sha256,
  TRUSTED_KEY,
} from '../../spec-schema/tools/vector-families/keys.ts';
import type { WireTypes } from '../../src/protocol/wire/wire-types.ts';
import type { Level, Requirement, Row, Who } from './sep-document.ts';

const HEADER = `# One row per normative sentence of specification/, in the row format of the MCP conformance repository.
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

const read = (path: string): string => readFileSync(path, 'utf8');
const example = <T>(path: string): T => JSON.parse(read(`spec-schema/draft/examples/${path}`)) as T;

/** The request of the example delivery, with signatures that verify with the secrets shown beside it. */
function httpExample(): string {
  const note = example<WireTypes['DeliveryNotification']>('DeliveryNotification/sep-callback.json');
  const { callback } = example<WireTypes['SubscribeRequest']>(
    'SubscribeRequest/sep-callback.json',
  ).params;
  const header = example<WireTypes['DeliverySignatureHeader']>(
    'DeliverySignatureHeader/sep-header.json',
  );
  const body = JSON.stringify(note);
  const { subscriptionId, epoch, afterSequence, events, gaps = [] } = note.params;
  const last = Math.max(...events.map(({ sequence }) => sequence), ...gaps.map(({ to }) => to));
  const ranges = gaps.map(({ from, to }) => `${from}-${to}`).join(',');
  const id = `msg_${sha256([subscriptionId, epoch, afterSequence, last, ranges].join('\n')).slice(0, 32)}`;
  const hash = hmac(secretBytes(callback!.secret), `${id}.${header.iat}.${body}`);
  const encoded = segment(header);
  return [
    'POST /mcp/7f3a HTTP/1.1',
    'Host: hooks.example.com',
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'User-Agent: mcp-triggers',
    `MCP-Subscription-Id: ${subscriptionId}`,
    `webhook-id: ${id}`,
    `webhook-timestamp: ${header.iat}`,
    `webhook-signature: v1,${base64(hash)}`,
    `MCP-Delivery-Signature: ${encoded}..${ed25519(TRUSTED_KEY, `${encoded}.`, body)}`,
    '',
  ].join('\n');
}

const fillHttpExample = (source: string): string =>
  source.replace(
    /(<!-- http-example -->\n```http\n)[^`]*?(```)/,
    (_all, head: string, tail: string) => `${head}${httpExample()}${tail}`,
  );

/** The place of the sentence, from `sep/`. */
export const urlOf = ({ file, id }: Requirement): string => `${file}#${id}`;

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
    url: urlOf(requirement),
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
    const fresh = newRow(requirement, levels);
    if (row === undefined) return fresh;
    return { ...row, text: fresh.text, url: fresh.url, level: fresh.level };
  });
}

function main(): void {
  for (const { path, source } of readModules()) {
    const filled = fillHttpExample(fillExamples(source, read));
    if (filled !== source) writeFileSync(path, filled);
  }
  const requirements = readModules().flatMap((module) => module.requirements);
  const rows = updateRows(requirements, readRows(), moduleLevels());
  const list = stringify(rows, { lineWidth: 0 }).replace(/^/gm, '  ').trimEnd();
  writeFileSync(
    REQUIREMENTS_PATH,
    `${HEADER}sep: 0000\nspec_url: specification/README.md\nrequirements:\n${list}\n`,
  );
  console.log(
    `${rows.length} requirements, ${rows.filter((row) => row.check !== undefined).length} with a check`,
  );
}

if (import.meta.main) main();
