/**
 * The params of each `events/*` method and their validation. Where SEP-3415 leaves a choice, the
 * schemas follow `sep/mapping-events.md`: absent `arguments` mean `{}`, `arguments: null` is
 * rejected, and any string is accepted as a cursor.
 */
import { invalidParams } from '../../../protocol/wire/errors.ts';
import { inspectJson } from '../../../protocol/wire/json.ts';
import { compileUserSchema, type UserValidator } from '../../../protocol/wire/user-schema.ts';
import type { JsonObject } from '../../../protocol/wire/schema.ts';
import type { DeliveryModeName, EventsMethod } from '../../../protocol/events/names.ts';
import type { ParamsOf } from '../../../protocol/events/types.ts';

const text = { type: 'string', minLength: 1, maxLength: 2048 };
const cursor = { type: ['string', 'null'] };
const selection = {
  name: { type: 'string', minLength: 1, maxLength: 256 },
  arguments: { type: 'object' },
};
const beginning = {
  cursor,
  maxAgeMs: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
};

const SCHEMAS: Readonly<Record<EventsMethod, JsonObject>> = {
  'events/list': { type: 'object', properties: { cursor } },
  'events/poll': {
    type: 'object',
    required: ['name'],
    properties: {
      ...selection,
      ...beginning,
      maxEvents: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
    },
  },
  'events/stream': {
    type: 'object',
    required: ['name'],
    properties: { ...selection, ...beginning },
  },
  'events/subscribe': {
    type: 'object',
    required: ['name', 'delivery'],
    properties: {
      ...selection,
      ...beginning,
      ttlMs: { type: ['number', 'null'] },
      delivery: {
        type: 'object',
        required: ['mode'],
        properties: { mode: { enum: ['poll', 'push', 'webhook'] satisfies DeliveryModeName[] } },
        // Other modes are unsupported; their error must name the mode and not a missing member.
        if: { required: ['mode'], properties: { mode: { const: 'webhook' } } },
        then: { required: ['url', 'secret'], properties: { url: text, secret: text } },
      },
    },
  },
  'events/unsubscribe': {
    type: 'object',
    required: ['name', 'delivery'],
    properties: {
      ...selection,
      delivery: { type: 'object', required: ['url'], properties: { url: text } },
    },
  },
};

const compiled = new Map<EventsMethod, UserValidator>();

/**
 * Validates the params of a request. Throws `WireError` `InvalidParams` with the path of the first
 * mismatch.
 */
export function parseEventsParams<M extends EventsMethod>(method: M, value: unknown): ParamsOf[M] {
  const params = value ?? {};
  const unfit = inspectJson(params);
  if (unfit !== null) throw invalidParams('', unfit);
  let validate = compiled.get(method);
  if (validate === undefined) compiled.set(method, (validate = compileUserSchema(SCHEMAS[method])));
  const checked = validate(params);
  if (!checked.ok) throw invalidParams(checked.path, checked.expected);
  return checked.value as ParamsOf[M];
}
