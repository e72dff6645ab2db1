/**
 * Converts a peer's JSON-RPC error into the `WireError` whose code and `data` match, or else into a
 * `RemoteError`.
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

/** The names to try, in order. Two of them share a code and differ in `data.kind`. */
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

/** Converts the members of a JSON-RPC error object. Never throws. */
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
 * Shortens the peer's message and replaces its control characters by spaces, because it may reach
 * terminals and logs.
 */
function printable(message: unknown): string {
  const text =
    typeof message === 'string' ? message.slice(0, MESSAGE_CHARS_MAX) : 'The peer sent no message.';
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, ' ');
}
