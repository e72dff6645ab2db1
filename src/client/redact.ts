/**
 * A server knows the secrets of its client, and what it says ends up in logs: words of a server are shown without them
 * (SEP: Errors).
 */
import { inspectJson } from '../protocol/wire/json.ts';

const SHAPES: readonly (readonly [RegExp, string])[] = [
  [/whsec_[\w+/-]{8,}={0,2}/g, 'whsec_[secret]'],
  [/([?&]cb=)[\w.%~-]+/g, '$1[token]'],
  [/\b(Bearer|DPoP)\s+[\w.~+/=-]+/gi, '$1 [token]'],
];

/** What is shorter could be part of any word. */
const TOKEN_CHARS_MIN = 8;

/** The text without what looks like a secret, and without `token` wherever it stands. */
export function redact(text: string, token: string | undefined): string {
  const known =
    token === undefined || token.length < TOKEN_CHARS_MIN
      ? text
      : text.replaceAll(token, '[token]');
  return SHAPES.reduce((shown, [shape, mark]) => shown.replace(shape, mark), known);
}

/** The same for the `data` of an error. What is too deep to be shown at all is left out. */
export function redactData(data: unknown, token: string | undefined): unknown {
  if (data === undefined || inspectJson(data) !== null) return undefined;
  const text = JSON.stringify(data);
  const shown = redact(text, token);
  return shown === text ? data : JSON.parse(shown);
}
