/**
 * What JSON a peer may send and what we may send: UTF-8 without errors, bounded size and depth, well-formed strings, finite
 * numbers (I-JSON, RFC 7493). Of a member that is written twice the last one counts, as in every JavaScript parser;
 * nothing is decided on a body before its signature over the raw bytes has been checked, so two readers cannot be played
 * against each other by somebody who does not hold the secret.
 */
import { LocalError } from './errors.ts';
import { JSON_DEPTH_MAX } from './limits.ts';

/** In Unicode mode a surrogate matches only when it is not half of a pair. */
const LONE_SURROGATE = /\p{Surrogate}/u;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Parses bytes from a peer. Throws `LocalError` `json_refused`. */
export function parseJson(bytes: Uint8Array, options: { readonly maxBytes: number; readonly maxDepth?: number }): unknown {
  if (bytes.byteLength > options.maxBytes) throw refused('size', `at most ${options.maxBytes} bytes`);
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
  const stack: { readonly value: unknown; readonly depth: number }[] = [{ value, depth: 0 }];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const { value: node, depth } = next;
    switch (typeof node) {
      case 'string':
        if (LONE_SURROGATE.test(node)) return 'strings without lone surrogates';
        break;
      case 'number':
        if (!Number.isFinite(node)) return 'finite numbers';
        break;
      case 'object': {
        if (node === null) break;
        if (depth >= maxDepth) return `at most ${maxDepth} levels of nesting`;
        for (const [key, child] of Object.entries(node)) {
          if (LONE_SURROGATE.test(key)) return 'strings without lone surrogates';
          if (child !== undefined) stack.push({ value: child, depth: depth + 1 });
        }
        break;
      }
      case 'boolean':
        break;
      default:
        return 'JSON data, not code';
    }
  }
  return null;
}

/** `JSON.stringify` that refuses what would be silently changed or would overflow. Throws `LocalError` `json_refused`. */
export function writeJson(value: unknown): string {
  const complaint = inspectJson(value);
  if (complaint) throw refused('value', complaint);
  return JSON.stringify(value);
}

const refused = (reason: string, expected: string, cause?: unknown) =>
  new LocalError('json_refused', `JSON refused: expected ${expected}.`, { reason, cause });
