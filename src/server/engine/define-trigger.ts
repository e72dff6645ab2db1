/**
 * `defineTrigger`: declares a trigger type with schemas of zod, of another library with Standard
 * JSON Schema, or with plain JSON Schema, and keeps the static types of arguments and data.
 */
import type { Drain, JsonObject, Meta, Retention } from '../../../spec-schema/draft/schema.ts';
import type { DeclaredTrigger, NewEvent } from './verbs.ts';
import { LocalError } from '../../protocol/wire/errors.ts';

/** A schema object with Standard JSON Schema, for example of zod 4.2 or later. */
export interface SelfDescribing<Value> {
  readonly '~standard': {
    /** Static type of the accepted values. */
    readonly types?: { readonly input: Value } | undefined;
    readonly jsonSchema: {
      /** The schema of the accepted values; throws if JSON Schema cannot express it. */
      readonly input: (options: { readonly target: 'draft-2020-12' }) => Record<string, unknown>;
    };
  };
}

/** A schema object, or a plain JSON Schema 2020-12, which has no static type. */
export type SchemaOf<Value> = SelfDescribing<Value> | JsonObject;

/** Argument of {@link defineTrigger}. */
export interface TriggerDefinition<Arguments extends object, Data> {
  /**
   * Unique per server. Letters, digits, `_`, `.`, `/`, `-`; the prefix `mcp.` is reserved for
   * protocol-level types.
   */
  readonly name: string;
  /** A short title for people. */
  readonly title?: string;
  /** For people and models: when an event occurs and what it contains. */
  readonly description: string;
  /** Schema of a subscription's `arguments`; an object at its root. */
  readonly input: SchemaOf<Arguments>;
  /** Schema of an event's `data`. */
  readonly payload: SchemaOf<Data>;
  /**
   * For each argument, the event value or values that it is compared with. These comparisons are
   * indexed, so an event costs no time for subscriptions that do not match. Default: the top-level
   * member of `data` with the argument's name.
   */
  readonly attributes?: { readonly [Name in keyof Arguments & string]?: (data: Data) => unknown };
  /**
   * A predicate for arguments that are not compared for equality. Called for every subscription
   * whose attributes match.
   */
  readonly match?: (args: Arguments, data: Data) => boolean;
  /**
   * Limits of a log, in milliseconds and as a number of events. Default: 7 days and 10,000 events.
   */
  readonly retention?: Retention;
  /** Allows `since`, at most this many milliseconds back. */
  readonly history?: { readonly maxAgeMs: number };
  /** `source` if events are emitted in the order of the upstream. Default: `arrival`. */
  readonly ordering?: 'source' | 'arrival';
  /** The drains that clients may use. Default: all. */
  readonly drains?: readonly Drain[];
  readonly _meta?: Meta;
}

/** A trigger type that creates its own events, with static types. */
export interface Trigger<Data> extends DeclaredTrigger {
  /**
   * An event of this type, for `engine.emit`. Pass `eventId` whenever the upstream has one, so that
   * a redelivery appends nothing.
   */
  event(occurrence: {
    readonly data: Data;
    readonly eventId?: string;
    readonly timestamp?: number | string;
  }): NewEvent;
}

/**
 * Declares a trigger type (SEP: Trigger types).
 *
 * @example
 * ```ts
 * const orderPaid = defineTrigger({
 *   name: 'order.paid',
 *   description: 'An order was paid in full.',
 *   input: z.object({ shop: z.string().optional() }),
 *   payload: z.object({ shop: z.string(), order: z.string(), cents: z.number().int() }),
 * });
 * await engine.emit(orderPaid.event({ eventId: 'pay_1', data: { shop: 'kiosk', order: 'o-17', cents: 1250 } }));
 * ```
 * @throws LocalError `schema_refused` if JSON Schema 2020-12 cannot express a schema, or `input` is
 * not an object schema.
 */
export function defineTrigger<Arguments extends object = Record<string, unknown>, Data = unknown>(
  definition: TriggerDefinition<Arguments, Data>,
): Trigger<Data> {
  const {
    name,
    title,
    description,
    input,
    payload,
    attributes,
    match,
    retention,
    history,
    ordering,
    drains,
    _meta,
  } = definition;
  const inputSchema = jsonSchemaOf(input, name, 'input');
  if (inputSchema['type'] !== 'object') {
    throw new LocalError(
      'schema_refused',
      `Trigger "${name}": the root of "input" must be an object schema.`,
    );
  }
  return {
    type: {
      name,
      description,
      inputSchema,
      payloadSchema: jsonSchemaOf(payload, name, 'payload'),
      ...(title === undefined ? {} : { title }),
      ...(drains === undefined ? {} : { drains: [...drains] }),
      ...(retention === undefined ? {} : { retention }),
      ...(history === undefined ? {} : { history }),
      ...(ordering === undefined ? {} : { ordering }),
      ...(_meta === undefined ? {} : { _meta }),
    },
    // The engine calls both functions with values that passed the schemas, so their parameter types
    // hold.
    ...(attributes === undefined
      ? {}
      : { attributes: attributes as NonNullable<DeclaredTrigger['attributes']> }),
    ...(match === undefined ? {} : { match: match as NonNullable<DeclaredTrigger['match']> }),
    event: ({ data, eventId, timestamp }) => ({
      name,
      data,
      ...(eventId === undefined ? {} : { eventId }),
      ...(timestamp === undefined ? {} : { timestamp }),
    }),
  };
}

/** Clients send the input side of a schema: before defaults and transforms. */
function jsonSchemaOf(
  schema: SchemaOf<unknown>,
  name: string,
  member: 'input' | 'payload',
): JsonObject {
  if (!isSelfDescribing(schema)) return schema;
  try {
    const { $schema: _dialect, ...rest } = schema['~standard'].jsonSchema.input({
      target: 'draft-2020-12',
    });
    return rest;
  } catch (cause) {
    throw new LocalError(
      'schema_refused',
      `Trigger "${name}": "${member}" cannot be written as JSON Schema 2020-12.`,
      { cause },
    );
  }
}

function isSelfDescribing(schema: SchemaOf<unknown>): schema is SelfDescribing<unknown> {
  const standard: unknown = schema['~standard'];
  return typeof standard === 'object' && standard !== null && 'jsonSchema' in standard;
}
