/**
 * What a peer's JSON-RPC error becomes on this side: the `WireError` of the registry when code and `data` fit one, otherwise a
 * `RemoteError` that keeps the code.
 */
import { registryRow, WireError, type WireErrorData, type WireErrorName } from './errors.ts';
import { check, type WireTypes } from './validate.ts';

/** A JSON-RPC error of the peer that is none of this extension's, or not as the registry has it. */
export class RemoteError extends Error {
  override readonly name = 'RemoteError';
  /** As the peer sent it. */
  readonly code: number;
  /** As the peer sent it: nothing has checked it. */
  readonly data: unknown;

  /** `message` is the peer's own, at most 1024 characters, without control characters. */
  constructor(code: number, message: string, data: unknown) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

/** Candidates in the order in which they are tried: two share a code and differ in `data.kind`. */
const NAMES: readonly WireErrorName[] = [
  'InvalidParams',
  'Conflict',
  'NotFound',
  'Forbidden',
  'ResourceExhausted',
  'Unsupported',
  'CallbackEndpointError',
  'InternalError',
];

const MESSAGE_CHARS_MAX = 1024;

/** Never throws: a peer's error that makes no sense is still an error. */
export function fromErrorObject(
  code: number,
  message: unknown,
  data: unknown,
): WireError | RemoteError {
  const text = printable(message);
  for (const name of NAMES) {
    const row = registryRow(name);
    if (row.code !== code) continue;
    if (row.data === null)
      return new WireError(name, undefined as WireErrorData[typeof name], { message: text });
    const checked = check(row.data.slice(row.data.lastIndexOf('/') + 1) as keyof WireTypes, data);
    if (checked.ok)
      return new WireError(name, checked.value as WireErrorData[typeof name], { message: text });
  }
  return new RemoteError(code, text, data);
}

/** The peer's words, short and without control characters: they end up in terminals and logs. */
function printable(message: unknown): string {
  const text =
    typeof message === 'string' ? message.slice(0, MESSAGE_CHARS_MAX) : 'The peer gave no message.';
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, ' ');
}
