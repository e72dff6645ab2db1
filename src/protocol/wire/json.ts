/**
 * What JSON a peer may send and what we may send: UTF-8 without errors, bounded size and depth, well-formed strings, finite
 * numbers (I-JSON, RFC 7493). Of a member that is written twice the last one counts, as in every JavaScript parser;
 * nothing is decided on a body before its signature over the raw bytes has been checked, so two readers cannot be played
 * against each other by somebody who does not hold the secret.
 */
import { LocalError } from './errors.ts';
import { JSON_DEPTH_MAX } from './limits.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Parses bytes from a peer. Throws `LocalError` `json_refused`. */
export function parseJson(
  bytes: Uint8Array,
  options: { readonly maxBytes: number; readonly maxDepth?: number },
): unknown {
  if (bytes.byteLength > options.maxBytes)
    throw refused('size', `at most ${options.maxBytes} bytes`);
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch (cause) {
    throw refused('utf8', 'UTF-8', cause);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own message quotes the input, so it is not kept as the cause.
    throw refused('syntax', 'one JSON value');
  }
  const complaint = inspectJson(value, options.maxDepth);
  if (complaint) throw refused('value', complaint);
  return value;
}

/**
 * Why a value cannot travel as JSON, or null. Walks without recursion, because `JSON.stringify` overflows the stack on
 * depths that `JSON.parse` accepts. Members that are `undefined` are allowed: they are not sent.
 */
export function inspectJson(value: unknown, maxDepth = JSON_DEPTH_MAX): string | null {
  const complaint = inspectLeaf(value);
  if (complaint !== null || !isContainer(value)) return complaint;
  let level: object[] = [value];
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > maxDepth) return `at most ${maxDepth} levels of nesting`;
    const below: object[] = [];
    for (const container of level) {
      for (const [name, child] of Object.entries(container) as [string, unknown][]) {
        const unfit = inspectLeaf(name) ?? (child === undefined ? null : inspectLeaf(child));
        if (unfit !== null) return unfit;
        if (isContainer(child)) below.push(child);
      }
    }
    level = below;
  }
  return null;
}

const isContainer = (value: unknown): value is object =>
  typeof value === 'object' && value !== null;

/** The complaint about a value that has no members; containers pass. */
function inspectLeaf(value: unknown): string | null {
  switch (typeof value) {
    case 'string':
      return isWellFormed(value) ? null : 'strings without lone surrogates';
    case 'number':
      return Number.isFinite(value) ? null : 'finite numbers';
    case 'boolean':
    case 'object':
      return null;
    default:
      return 'JSON data, not code';
  }
}

/** ES2024: in every Node that is supported, not yet in the library of types that the package is compiled with. */
const isWellFormed = (text: string): boolean =>
  (text as string & { isWellFormed(): boolean }).isWellFormed();

/** `JSON.stringify` that refuses what would be silently changed or would overflow. Throws `LocalError` `json_refused`. */
export function writeJson(value: unknown): string {
  const complaint = inspectJson(value);
  if (complaint) throw refused('value', complaint);
  return JSON.stringify(value);
}

const refused = (reason: string, expected: string, cause?: unknown) =>
  new LocalError('json_refused', `JSON refused: expected ${expected}.`, { reason, cause });
