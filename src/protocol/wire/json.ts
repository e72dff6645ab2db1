/**
 * Parses and writes JSON within limits: valid UTF-8, bounded size and depth, well-formed strings,
 * finite numbers (I-JSON, RFC 7493). Of duplicate members the last one counts, as in every
 * JavaScript parser. Other parsers differ, but nobody can exploit that without the secret: a body is
 * used only after the signature over its bytes is verified.
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
    // The parser's message quotes the input and is therefore not the cause.
    throw refused('syntax', 'one JSON value');
  }
  const complaint = inspectJson(value, options.maxDepth);
  if (complaint) throw refused('value', complaint);
  return value;
}

/**
 * Returns a noun phrase for what the value would have to be; null if it can be sent as JSON. Does not
 * recurse, because `JSON.parse` accepts depths at which recursion overflows the stack. Members that
 * are `undefined` are allowed, because they are not sent.
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

/** Inspects a value without its members. */
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
      return 'JSON data: no undefined, function, symbol or bigint';
  }
}

/**
 * `isWellFormed` of ES2024 exists in every supported Node, but not in the type library of this
 * package.
 */
const isWellFormed = (text: string): boolean =>
  (text as string & { isWellFormed(): boolean }).isWellFormed();

/**
 * Serializes a value with `JSON.stringify`. Throws `LocalError` `json_refused` for values that
 * `JSON.stringify` would change silently or that are nested too deeply for it.
 */
export function writeJson(value: unknown): string {
  const complaint = inspectJson(value);
  if (complaint) throw refused('value', complaint);
  return JSON.stringify(value);
}

const refused = (reason: string, expected: string, cause?: unknown) =>
  new LocalError('json_refused', `JSON is not valid: expected ${expected}.`, { reason, cause });
