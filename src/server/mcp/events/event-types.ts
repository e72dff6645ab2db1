/**
 * Trigger types as event types. The `data` of an occurrence must be an object, so trigger types
 * with any other payload are not offered and requests for them get `NotFound`.
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

class EventTypes {
  readonly #engine: BindableEngine;
  /** Whether a type is offered, by name. Contains only existing types that a request has named. */
  #offered = new Map<string, boolean>();

  constructor(engine: BindableEngine) {
    this.#engine = engine;
    // A new map, because a look-up in progress still writes to the old one.
    engine.onListChanged(() => {
      this.#offered = new Map();
    });
  }

  /** One page of `events/list`. */
  async list(caller: Caller, cursor: string | null | undefined): Promise<ListResult> {
    const { triggers, nextCursor } = await this.#page(caller, cursor ?? undefined);
    return {
      events: triggers.filter(isOffered).map(descriptor),
      ...(nextCursor === undefined ? {} : { nextCursor }),
    };
  }

  /**
   * Rejects with `NotFound` for a type that exists and is not offered. All other cases are checked
   * by the engine.
   */
  async assertOffered(caller: Caller, name: string): Promise<void> {
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

/** The event types of an engine, shared by all servers that it is attached to. */
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
    delivery: MODES.filter((mode) => drains?.includes(DRAINS[mode]) ?? true),
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
