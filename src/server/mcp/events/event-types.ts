/**
 * Trigger types as event types. `data` of an occurrence is an object, so a type whose payload can be anything else is not offered, and
 * asking for it is answered as if it were not there.
 */
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { invalidParams, notFound, WireError } from '../../../protocol/wire/errors.ts';
import {
  EXTENSION_ID,
  type ListTriggersResult,
  type TriggerType,
} from '../../../protocol/wire/schema.ts';
import { attached } from '../attached.ts';
import { DRAINS } from './errors.ts';
import type { DeliveryModeName } from '../../../protocol/events/names.ts';
import type { EventDescriptor, ListResult } from '../../../protocol/events/types.ts';

const MODES = Object.keys(DRAINS) as DeliveryModeName[];

export class EventTypes {
  readonly #engine: BindableEngine;
  /** By name, whether the type can be served; of types that somebody asked for and that exist. */
  #offered = new Map<string, boolean>();

  constructor(engine: BindableEngine) {
    this.#engine = engine;
    // A look-up that is under way goes on with what it began with.
    engine.onListChanged(() => {
      this.#offered = new Map();
    });
  }

  /** One page. */
  async list(caller: Caller, cursor: string | null | undefined): Promise<ListResult> {
    const { triggers, nextCursor } = await this.#page(caller, cursor ?? undefined);
    return {
      events: triggers.filter(isOffered).map(descriptor),
      ...(nextCursor === undefined ? {} : { nextCursor }),
    };
  }

  /** Throws `NotFound` for a type that is there and is not offered. Whether any other may be had is the engine's to say. */
  async refuseUnoffered(caller: Caller, name: string): Promise<void> {
    if ((this.#offered.get(name) ?? (await this.#lookUp(caller, name))) === false)
      throw notFound({ kind: 'trigger' });
  }

  async #lookUp(caller: Caller, name: string): Promise<boolean | undefined> {
    const offered = this.#offered;
    for (let cursor: string | undefined; ;) {
      const { triggers, nextCursor } = await this.#page(caller, cursor);
      const found = triggers.find((type) => type.name === name);
      if (found !== undefined) offered.set(name, isOffered(found));
      if (found !== undefined || nextCursor === undefined) return offered.get(name);
      cursor = nextCursor;
    }
  }

  async #page(caller: Caller, cursor: string | undefined): Promise<ListTriggersResult> {
    try {
      return (await this.#engine.list(
        caller,
        cursor === undefined ? {} : { cursor },
      )) as ListTriggersResult;
    } catch (error) {
      throw error instanceof WireError && error.is('InvalidParams')
        ? invalidParams('/cursor', 'a nextCursor that events/list returned')
        : error;
    }
  }
}

/** One for each engine, for all servers that it is attached to. */
export const eventTypesOf = attached((engine: BindableEngine) => new EventTypes(engine));

const isOffered = ({ payloadSchema }: TriggerType): boolean => payloadSchema['type'] === 'object';

function descriptor({
  name,
  title,
  description,
  drains,
  inputSchema,
  payloadSchema,
  retention,
  history,
  ordering,
  _meta,
}: TriggerType): EventDescriptor {
  return {
    name,
    description,
    inputSchema,
    payloadSchema,
    delivery: MODES.filter((mode) => drains.includes(DRAINS[mode])),
    _meta: {
      ..._meta,
      [EXTENSION_ID]: {
        ...(title === undefined ? {} : { title }),
        retention: { ...retention },
        ...(history === undefined ? {} : { history: { ...history } }),
        ordering,
      },
    },
  };
}
