/** One call of `events/*` for a selection. */
import type { Selection } from '../../../../../spec-schema/draft/schema.ts';
import { WireError } from '../../../../protocol/wire/errors.ts';
import type { Connection } from '../../../sdk/connection.ts';
import { eventsError } from './errors.ts';
import { members, type Raw } from './occurrence.ts';

/** Deployed servers refuse absent arguments, and none refuses an empty object. */
export const keyOf = ({
  name,
  arguments: given,
}: Selection): { readonly name: string; readonly arguments: object } => ({
  name,
  arguments: given ?? {},
});

/** Rejects as {@link Connection.call} does, with the errors of `events/*` in the terms of this library. */
export async function ask(
  connection: Connection,
  method: string,
  selection: Selection,
  params: object,
  signal: AbortSignal,
): Promise<Raw> {
  try {
    return members(await connection.call(method, { ...keyOf(selection), ...params }, { signal }));
  } catch (error) {
    signal.throwIfAborted();
    throw eventsError(error);
  }
}

/** A cursor that cannot be served is no error by SEP-3415; some servers refuse it all the same. */
export const isCursorRefused = (error: unknown, cursor: string | null): boolean =>
  cursor !== null &&
  error instanceof WireError &&
  error.is('InvalidParams') &&
  (error.data.path === '' || error.data.path === '/cursor');
