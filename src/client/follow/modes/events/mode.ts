/**
 * The modes of `events/*` (SEP-3415): whether a server offers a delivery mode for a trigger type
 * (SEP: When a peer lacks the extension).
 */
import {
  EVENTS_CAPABILITY,
  EVENTS_EXTENSION_ID,
  type DeliveryModeName,
} from '../../../../protocol/events/names.ts';
import { notFound } from '../../../../protocol/wire/errors.ts';
import type { Connection } from '../../../sdk/connection.ts';
import { misbehaved } from '../../../sdk/peer-error.ts';
import { allPages, cachedList } from '../../catalog.ts';
import { withoutCursor } from '../../guarantee.ts';
import type { FollowTarget, Mode, ModeContext, ModeYield, Offer } from '../../types.ts';
import { eventsError } from './errors.ts';
import { listenForListChanges } from './list-changes.ts';
import { cursorOf, members } from './messages.ts';

/**
 * The mode for one delivery mode. `make` makes its run for a target; `isPossible` says whether this
 * client can use it.
 */
export function eventsMode(
  mode: DeliveryModeName,
  make: (target: FollowTarget) => Pick<Offer, 'run' | 'release'>,
  isPossible: (target: FollowTarget) => boolean = () => true,
): Mode {
  const name = `events.${mode}` as const;
  return {
    name,
    async offer(connection, target, signal) {
      // Only a server that declares `events/*` is asked (SEP-3415).
      if (!hasEvents(connection) || !isPossible(target)) return null;
      const modes = (await modesByName(connection, signal)).get(target.selection.name);
      if (!modes) throw notFound({ kind: 'trigger' });
      // The server may show a cursor or a number later, which strengthens the guarantee.
      if (!modes.has(mode)) return null;
      const { run, ...rest } = make(target);
      return {
        guarantee: withoutCursor(name),
        ...rest,
        run: (context) => whileListening(run, context),
      };
    },
  };
}

/** Runs the mode, and listens for changes of the list if the server announces them. */
async function* whileListening(
  run: Offer['run'],
  context: ModeContext,
): AsyncGenerator<ModeYield, void> {
  const { connection, clock, signal } = context;
  const isAnnounced =
    connection.isModern && settingsOf(connection).some(({ listChanged }) => listChanged === true);
  const leave = isAnnounced ? listenForListChanges(connection, clock) : () => undefined;
  // An application that asks for no further item does not run the `finally`.
  signal.addEventListener('abort', leave, { once: true });
  try {
    yield* run(context);
  } finally {
    signal.removeEventListener('abort', leave);
    leave();
  }
}

/** Whether the server declares `events/*`, as an extension or as a capability. */
const hasEvents = (connection: Pick<Connection, 'serverCapabilities'>): boolean =>
  settingsOf(connection).length > 0;

function settingsOf({
  serverCapabilities,
}: Pick<Connection, 'serverCapabilities'>): readonly Readonly<Record<string, unknown>>[] {
  const extensions = members(own(serverCapabilities, 'extensions'));
  return [own(extensions, EVENTS_EXTENSION_ID), own(serverCapabilities, EVENTS_CAPABILITY)]
    .filter((settings) => typeof settings === 'object' && settings !== null)
    .map(members);
}

function modesByName(
  connection: Connection,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, ReadonlySet<unknown>>> {
  return cachedList(
    connection,
    'events/list',
    async () => {
      const found = new Map<string, ReadonlySet<unknown>>();
      await allPages(async (cursor) => {
        const { events, nextCursor } = members(
          await connection
            .call('events/list', cursor === undefined ? {} : { cursor })
            .catch((error: unknown) => {
              throw eventsError(error);
            }),
        );
        if (!Array.isArray(events))
          throw misbehaved('list', 'the result of events/list has no "events" array');
        for (const { name, delivery } of events.map(members)) {
          if (typeof name === 'string')
            found.set(name, new Set(Array.isArray(delivery) ? delivery : []));
        }
        return cursorOf(nextCursor) ?? undefined;
      });
      return found;
    },
    signal,
  );
}

const own = (value: object, name: string): unknown =>
  Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
