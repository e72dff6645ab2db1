/**
 * The rungs of `events/*` (SEP-3415) as one table: whether a server offers a mode for a type, and what the mode guarantees
 * (SEP: When a peer lacks the extension).
 */
import { notFound } from '../../../../protocol/wire/errors.ts';
import type { Connection } from '../../../sdk/connection.ts';
import { allPages, listed } from '../../catalog.ts';
import type { FollowGuarantee, Offer, Mode, ModeName, FollowTarget } from '../../types.ts';
import { eventsError, misbehaved } from './errors.ts';
import {
  EVENTS_CAPABILITY,
  EVENTS_EXTENSION_ID,
  type DeliveryModeName,
} from '../../../../protocol/events/names.ts';
import { cursorOf, members } from './occurrence.ts';
import { poll } from './poll.ts';
import { push } from './push.ts';
import { canCallBack, webhook } from './webhook.ts';

interface Row {
  readonly isPossible: (target: FollowTarget) => boolean;
  readonly make: (target: FollowTarget) => Pick<Offer, 'run' | 'release'>;
}

const MODES: Readonly<Record<DeliveryModeName, Row>> = {
  webhook: { isPossible: canCallBack, make: webhook },
  push: { isPossible: () => true, make: (target) => ({ run: (context) => push(target, context) }) },
  poll: { isPossible: () => true, make: (target) => ({ run: (context) => poll(target, context) }) },
};

/** One mode. */
export function eventsMode(mode: DeliveryModeName): Mode {
  const { isPossible, make } = MODES[mode];
  return {
    name: `events.${mode}`,
    async offer(connection, target, signal) {
      // A server that does not declare it is never asked (SEP-3415).
      if (!hasEvents(connection) || !isPossible(target)) return null;
      const modes = (await modesByName(connection, signal)).get(target.selection.name);
      if (!modes) throw notFound({ kind: 'trigger' });
      return modes.has(mode) ? { guarantee: unproven(`events.${mode}`), ...make(target) } : null;
    },
  };
}

/** In either place. */
export function hasEvents({ serverCapabilities }: Pick<Connection, 'serverCapabilities'>): boolean {
  const extensions = members(own(serverCapabilities, 'extensions'));
  return [own(extensions, EVENTS_EXTENSION_ID), own(serverCapabilities, EVENTS_CAPABILITY)].some(
    (settings) => typeof settings === 'object' && settings !== null,
  );
}

/** Until a cursor, or a number, shows that more can be relied on. */
const unproven = (mode: ModeName): FollowGuarantee => ({
  mode,
  order: 'sent',
  loss: 'undetected',
  gaps: 'none',
  numbers: 'client',
});

function modesByName(
  connection: Connection,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, ReadonlySet<unknown>>> {
  return listed(
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
        if (!Array.isArray(events)) throw misbehaved('list', 'events/list has no list of events');
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
