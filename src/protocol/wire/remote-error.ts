/**
 * Converts a peer's JSON-RPC error: to the `WireError` whose code and `data` match, otherwise to a
 * `RemoteError` with the peer's code.
 */
import { registryRow, WireError, type WireErrorData, type WireErrorName } from './errors.ts';
import { check, type WireTypes } from './validate.ts';

/** A JSON-RPC error of the peer that does not match the registry of this extension. */
export class RemoteError extends Error {
  override readonly name = 'RemoteError';
  /** The code that the peer sent. */
  readonly code: number;
  /** The data that the peer sent, not validated. */
  readonly data: unknown;

  /** `message` comes from the peer: at most 1024 characters, without control characters. */
  constructor(code: number, message: string, data: unknown) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

/** Candidates, in order: two share a code and differ in `data.kind`. */
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

/** Never throws: a malformed error becomes a `RemoteError`. */
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

/**
 * The peer's message, shortened and without control characters, because it may reach terminals and
 * logs.
 */
function printable(message: unknown): string {
  const text =
    typeof message === 'string' ? message.slice(0, MESSAGE_CHARS_MAX) : 'The peer gave no message.';
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, ' ');
}
