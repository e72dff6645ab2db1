/** Servers whose list of trigger types does not follow its changes. */
import type { BrokenServer, Json } from '../proxy.ts';
import { onError, onResult } from '../fault-builders.ts';

/** Ends subscriptions for another reason than this one. */
const ends = (reason: string, instead: string): BrokenServer['fault'] =>
  onError((error) =>
    error.data?.reason === reason ? { ...error, data: { ...error.data, reason: instead } } : error,
  );

export const catalogChanges: readonly BrokenServer[] = [
  {
    check: 'list-only-usable',
    wrong: 'lists every type that it ever listed to anybody',
    fault: onResult(['list'], (result, { memory }) => {
      const types: Record<string, Json> = (memory['types'] ??= {});
      for (const type of result.triggers ?? []) types[type.name] = type;
      return result.triggers === undefined ? result : { ...result, triggers: Object.values(types) };
    }),
  },
  {
    check: 'list-etag',
    wrong: 'never changes the ETag of the list',
    fault: onResult(['list'], (result) => ({ ...result, etag: 'types' })),
  },
  {
    check: 'list-changed-send',
    wrong: 'sends no list_changed',
    fault: {
      notification: (message) =>
        message.method === 'notifications/triggers/list_changed' ? null : message,
    },
  },
  {
    check: 'type-breaking',
    wrong: 'calls a removed type a changed one',
    fault: ends('trigger_removed', 'schema_changed'),
  },
  {
    check: 'type-breaking',
    wrong: 'keeps the subscriptions of a removed type',
    fault: {
      error: (error, { method }) =>
        method === 'triggers/get' && error.data?.reason === 'trigger_removed'
          ? { result: { resultType: 'complete' } }
          : { error },
    },
  },
  {
    check: 'type-breaking',
    wrong: 'calls a changed type a removed one',
    fault: ends('schema_changed', 'trigger_removed'),
  },
];
