/**
 * The log of the client's tests on a server that can also lack it: capability and methods can be
 * added and removed.
 */
import { EXTENSION_ID } from '../../../spec-schema/draft/schema.ts';
import { settingsOf, type HonestLog } from '../peer.ts';
import type { Handler, RawServer } from './raw-server.ts';

const typeOf = (name: string, log: HonestLog) => ({
  name,
  description: 'ticks',
  inputSchema: { type: 'object' },
  payloadSchema: { type: 'object' },
  drains: log.drains,
  retention: { maxAgeMs: 1000, maxEvents: 10 },
  ordering: 'arrival',
});

/** From now on the server has the extension, with these types. */
export function putOn(
  server: RawServer,
  log: HonestLog,
  names: readonly string[] = ['timer'],
): void {
  const settings = settingsOf(log.drains);
  server.capabilities = {
    ...server.capabilities,
    extensions: {
      ...(server.capabilities['extensions'] as object | undefined),
      [EXTENSION_ID]: settings,
    },
  };
  const handlers = Object.keys(log.methods).map((method): [string, Handler] => [
    method,
    ({ id, params, signal, notify }) =>
      log.answer(method, params, {
        signal,
        send: async (delivery) =>
          notify('notifications/triggers/delivery', { ...(delivery as object), requestId: id }),
      }),
  ]);
  Object.assign(server.handlers, Object.fromEntries(handlers), {
    'triggers/list': () => ({
      triggers: names.map((name) => typeOf(name, log)),
      etag: 'list-1',
      ttlMs: 1000,
      cacheScope: 'private',
    }),
  });
}

/** From now on the server does not have the extension. */
export function takeOff(server: RawServer, prefix: 'triggers/' | 'events/'): void {
  const extensions = Object.entries(server.capabilities['extensions'] ?? {}).filter(
    ([id]) => !id.endsWith(`/${prefix.slice(0, -1)}`),
  );
  const { events, ...rest } = server.capabilities;
  server.capabilities = {
    ...rest,
    ...(prefix === 'events/' || events === undefined ? {} : { events }),
    extensions: Object.fromEntries(extensions),
  };
  for (const method of Object.keys(server.handlers))
    if (method.startsWith(prefix)) delete server.handlers[method];
}
