/** Reads the data of an event that is too large for a delivery (SEP: Data by reference). */
import type { DataRef, TriggerEvent } from '../../spec-schema/draft/schema.ts';
import { LocalError } from '../protocol/wire/errors.ts';
import { parseJson } from '../protocol/wire/json.ts';
import { STORED_EVENT_BYTES } from '../protocol/wire/limits.ts';
import type { Connection } from './sdk/connection.ts';
import { readResource, type McpCallOptions } from './sdk/mcp-calls.ts';
import { misbehaved } from './sdk/peer-error.ts';

/** The parts of an event that lead to its data: `item.event` of a subscription or of `follow`. */
export type DataHolder = Pick<TriggerEvent, 'data' | 'dataRef'>;

/**
 * The data of an event: its own, or what its reference leads to. Rejects with `not_supported`,
 * reason `too_large`, for more bytes than are allowed; with `peer_misbehaved`, reason `data`, if
 * the resource is not one JSON text of `bytes` bytes; and as every call does.
 */
export async function dataOf(
  connection: Connection,
  { data, dataRef }: DataHolder,
  {
    maxBytes = STORED_EVENT_BYTES,
    ...options
  }: McpCallOptions & { readonly maxBytes?: number | undefined },
): Promise<unknown> {
  if (dataRef === undefined) return data;
  const { uri, bytes } = dataRef;
  if (bytes > maxBytes)
    throw new LocalError(
      'not_supported',
      `The data of the event have ${bytes} bytes, more than the ${maxBytes} that are read. Raise maxBytes.`,
      { reason: 'too_large' },
    );
  const { contents } = await readResource(connection, uri, options);
  return parsed(contents, dataRef);
}

function parsed(contents: readonly object[], { uri, bytes }: DataRef): unknown {
  const [content, ...more] = contents as readonly { uri?: unknown; text?: unknown }[];
  const text = content?.text;
  if (more.length > 0 || typeof text !== 'string' || content?.uri !== uri)
    throw misbehaved('data', 'the data of an event are not one text');
  const encoded = Buffer.from(text, 'utf8');
  if (encoded.byteLength !== bytes)
    throw misbehaved(
      'data',
      `the data of an event have ${encoded.byteLength} bytes instead of ${bytes}`,
    );
  try {
    return parseJson(encoded, { maxBytes: bytes });
  } catch (cause) {
    throw misbehaved('data', 'the data of an event are not JSON', cause);
  }
}
