/**
 * Turns a trigger type as a programmer writes it, with schemas of zod or of any library that speaks Standard JSON Schema or
 * as plain JSON Schema, into what the engine takes, and keeps the types of arguments and data on the way.
 */
import type { Drain, JsonObject, Meta, Retention } from '../../../spec-schema/draft/schema.ts';
import type { DeclaredTrigger, NewEvent } from './verbs.ts';
import { LocalError } from '../../protocol/wire/errors.ts';

/** A schema object that can describe itself as JSON Schema 2020-12 (Standard JSON Schema): zod 4.2 or later, among others. */
export interface SelfDescribing<Value> {
  readonly '~standard': {
    /** The static type of what the schema accepts. */
    readonly types?: { readonly input: Value } | undefined;
    readonly jsonSchema: {
      /** The schema of what it accepts; throws if JSON Schema cannot say it. */
      readonly input: (options: { readonly target: 'draft-2020-12' }) => Record<string, unknown>;
    };
  };
}

/** A schema object or a plain JSON Schema 2020-12; the latter says nothing of the static type. */
export type SchemaOf<Value> = SelfDescribing<Value> | JsonObject;

/** What {@link defineTrigger} takes. */
export interface TriggerDefinition<Arguments extends object, Data> {
  /** Unique per server. Letters, digits, `_`, `.`, `/`, `-`; the prefix `mcp.` is reserved for protocol-level types. */
  readonly name: string;
  /** For people, short. */
  readonly title?: string;
  /** For people and models: when an event occurs and what it says. */
  readonly description: string;
  /** Schema of a subscription's `arguments`; an object at its root. */
  readonly input: SchemaOf<Arguments>;
  /** Schema of an event's `data`. */
  readonly payload: SchemaOf<Data>;
  /**
   * Per argument, the value or values of an event that it may equal. These are indexed, so that a server with many subscriptions
   * looks only at the matching ones. Default: the top-level member of `data` with the argument's name.
   */
  readonly attributes?: { readonly [Name in keyof Arguments & string]?: (data: Data) => unknown };
  /** For arguments that are no equality: called for every subscription whose attributes matched. */
  readonly match?: (args: Arguments, data: Data) => boolean;
  /** How long logs keep events of this type; milliseconds and a count. Default: 7 days and 10,000 events. */
  readonly retention?: Retention;
  /** Present = `since` is honoured, at most this many milliseconds back. */
  readonly history?: { readonly maxAgeMs: number };
  /** `source` if events are emitted in the upstream's own order, otherwise `arrival`, the default. */
  readonly ordering?: 'source' | 'arrival';
  /** How clients may drain it. Default: all ways the server offers. */
  readonly drains?: readonly Drain[];
  readonly _meta?: Meta;
}

/** A declared trigger type that also makes its own events, typed. */
export interface Trigger<Data> extends DeclaredTrigger {
  /**
   * An event of this type, for `engine.emit`. Give `eventId` whenever the upstream has one: a redelivery then appends nothing.
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
 * @throws LocalError `schema_refused` if a schema cannot be written as JSON Schema 2020-12, or `input` is not an object schema.
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
    // The engine calls both with arguments and data that passed the schemas above, which is what these types say.
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

/** What a client may send is the input side of a schema: defaults are optional there, transforms have not happened yet. */
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
