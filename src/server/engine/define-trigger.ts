/**
 * `defineTrigger` declares a trigger type. Its schemas come from zod, from another library with
 * Standard JSON Schema, or are plain JSON Schema. The static types of arguments and data are kept.
 */
import type {
  Drain,
  JsonObject,
  MetaObject,
  Retention,
} from '../../../spec-schema/draft/schema.ts';
import type { DeclaredTrigger, InitialState, NewEvent } from './verbs.ts';
import { LocalError } from '../../protocol/wire/errors.ts';

/** A schema object that implements Standard JSON Schema, for example one of zod 4.2 or later. */
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
  /** Schema of a subscription's `arguments`; its root must be an object schema. */
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
   * A further condition that an event must meet. Called for every subscription whose arguments
   * match by `attributes`.
   */
  readonly match?: (args: Arguments, data: Data) => boolean;
  /**
   * Makes the type level-triggered: reads the present state for the arguments of a subscription,
   * which becomes the first event of its log; null = no state exists. See
   * {@link DeclaredTrigger.initial}.
   */
  readonly initial?: (
    args: Arguments,
  ) =>
    | (InitialState & { readonly data: Data })
    | null
    | Promise<(InitialState & { readonly data: Data }) | null>;
  /** Whether every event must name its `audience`. Default: only if the protocol says so. */
  readonly audience?: 'required' | 'optional';
  /**
   * Limits of a log: the age of its events, in milliseconds, and their number. Default: 7 days and
   * 10,000 events.
   */
  readonly retention?: Retention;
  /**
   * Lets clients subscribe with `since`, at most this many milliseconds back. Default: no `since`.
   */
  readonly history?: { readonly maxAgeMs: number };
  /** `source` if events are emitted in the order of the upstream. Default: `arrival`. */
  readonly ordering?: 'source' | 'arrival';
  /** The drains that clients may use; `pull` is required. Default: all three. */
  readonly drains?: readonly Drain[];
  readonly _meta?: MetaObject;
}

/** A trigger type with a function that makes its events with static types. */
export interface Trigger<Data> extends DeclaredTrigger {
  /**
   * Makes an event of this type, for `engine.emit`. Pass the upstream's `eventId` if it has one,
   * so that an event that it sends twice is appended once, and the `scope` in which it is unique.
   */
  event(occurrence: {
    readonly data: Data;
    readonly scope?: string;
    readonly audience?: readonly string[] | 'everybody';
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
    initial,
    audience,
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
      `Trigger "${name}": the root of "input" must be an object schema. Wrap the arguments in an object.`,
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
    // The engine calls both functions only with values that match the schemas, so the parameter
    // types are correct.
    ...(attributes === undefined
      ? {}
      : { attributes: attributes as NonNullable<DeclaredTrigger['attributes']> }),
    ...(match === undefined ? {} : { match: match as NonNullable<DeclaredTrigger['match']> }),
    ...(initial === undefined
      ? {}
      : { initial: initial as NonNullable<DeclaredTrigger['initial']> }),
    ...(audience === undefined ? {} : { audience }),
    event: ({ data, scope, audience, eventId, timestamp }) => ({
      name,
      data,
      ...(scope === undefined ? {} : { scope }),
      ...(audience === undefined ? {} : { audience }),
      ...(eventId === undefined ? {} : { eventId }),
      ...(timestamp === undefined ? {} : { timestamp }),
    }),
  };
}

/** The schema of values before defaults and transforms, as clients and `emit` pass them. */
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
      `Trigger "${name}": "${member}" cannot be written as JSON Schema 2020-12. Use only types that JSON has, without transforms.`,
      { cause },
    );
  }
}

function isSelfDescribing(schema: SchemaOf<unknown>): schema is SelfDescribing<unknown> {
  const standard: unknown = schema['~standard'];
  return typeof standard === 'object' && standard !== null && 'jsonSchema' in standard;
}
