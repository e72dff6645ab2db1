/**
 * The input and output of the three tools, as types and as JSON Schema. Input schemas use only what
 * every host and model supports: one object of named members, no alternatives. Output schemas
 * include the error, because some clients validate the result of a failed call too.
 */
import type { Gap, JsonObject, Position } from '../../../../spec-schema/draft/schema.ts';
import { PULL_EVENTS_MAX } from '../../../protocol/wire/limits.ts';

/** The arguments of `watch`. */
export interface WatchArguments {
  readonly trigger?: string;
  readonly arguments?: JsonObject;
  readonly cursor?: string;
}

/** The arguments of `check`. */
export interface CheckArguments {
  readonly watchId: string;
  readonly done?: Position;
  readonly maxEvents?: number;
}

/** The arguments of `unwatch`. */
export interface UnwatchArguments {
  readonly watchId: string;
}

/** The next call to make. */
export interface NextCall {
  readonly tool: string;
  readonly arguments: JsonObject;
  /** Delay before the call, in milliseconds. */
  readonly afterMs: number;
}

/** An event in an answer of `check`. */
export interface WatchedEvent {
  readonly sequence: number;
  readonly eventId: string;
  readonly name: string;
  readonly timestamp: string;
  readonly acceptedAt: string;
  readonly data: unknown;
}

/**
 * Says why an answer of `check` does not start after `done`, or repeats acknowledged events.
 */
export interface Reset {
  readonly reason: 'epoch' | 'beyond' | 'behind';
  /** The position that the caller passed. */
  readonly done: Position;
  /** The answer starts after this position. */
  readonly from: Position;
}

/** One answer of `check`. */
export interface Checked {
  readonly watchId: string;
  readonly trigger: string;
  readonly events: readonly WatchedEvent[];
  readonly gaps: readonly Gap[];
  readonly position: Position;
  readonly remaining: number;
  readonly expiresAt: string | null;
  readonly reset?: Reset;
  readonly next: NextCall;
}

const object = (
  properties: JsonObject,
  required: readonly string[],
  rest: JsonObject = {},
): JsonObject => ({
  type: 'object',
  ...rest,
  properties,
  ...(required.length === 0 ? {} : { required: [...required] }),
  additionalProperties: false,
});

const text = (description: string, rest: JsonObject = {}): JsonObject => ({
  type: 'string',
  description,
  ...rest,
});
const count = (description: string, minimum = 0): JsonObject => ({
  type: 'integer',
  minimum,
  description,
});
const list = (items: JsonObject, description: string): JsonObject => ({
  type: 'array',
  items,
  description,
});
const anyObject = (description: string): JsonObject => ({ type: 'object', description });

const position = (description: string): JsonObject =>
  object(
    {
      epoch: text('Identifies the numbering; changes when the numbering restarts.'),
      sequence: count('A sequence number of that epoch; 0 = before the first event.'),
    },
    ['epoch', 'sequence'],
    { description },
  );

const watchId = text('Identifies the watch.', { minLength: 1, maxLength: 128 });
const triggerName = text('The name of a trigger type.', { minLength: 1, maxLength: 128 });

/** The input schemas of the tools. */
export const INPUT = {
  watch: object(
    {
      trigger: text('The name of the trigger type to follow. Omit it to list the trigger types.', {
        minLength: 1,
        maxLength: 128,
      }),
      arguments: anyObject(
        'Arguments of the trigger type, described by its schema in the list. Default: none.',
      ),
      cursor: text('Only to continue a list: the `nextCursor` of its last page.', {
        minLength: 1,
        maxLength: 128,
      }),
    },
    [],
  ),
  check: object(
    {
      watchId,
      done: position(
        'The `position` of an earlier answer of this watch; everything up to it is acknowledged. Copy it; do not compute it.',
      ),
      maxEvents: {
        type: 'integer',
        minimum: 1,
        maximum: PULL_EVENTS_MAX,
        description: 'At most this many events. Default 100.',
      },
    },
    ['watchId'],
  ),
  unwatch: object({ watchId }, ['watchId']),
} as const;

const next = object(
  {
    tool: text('The tool to call.'),
    arguments: anyObject('The arguments to pass.'),
    afterMs: count('Milliseconds to wait before the call.'),
  },
  ['tool', 'arguments', 'afterMs'],
  { description: 'The next call to make.' },
);

const error = object(
  {
    name: text('The kind of error; stable.'),
    code: { type: 'integer', description: 'The JSON-RPC error code.' },
    message: text('The mistake, and what to do about it.'),
    data: anyObject('Details that depend on the kind of error.'),
  },
  ['name', 'code', 'message'],
  { description: 'Present = the call failed, and the answer contains no result.' },
);

const expiresAt: JsonObject = {
  anyOf: [{ type: 'string' }, { type: 'null' }],
  description: 'When the watch ends unless it is checked before, RFC 3339; null = never.',
};
const remaining = count('Number of sequence numbers after this position.');

/** Makes an output schema: the members of one of `shapes` are required, or those of an error. */
const answer = (properties: JsonObject, shapes: readonly (readonly string[])[]): JsonObject =>
  object({ ...properties, next, error }, [], {
    anyOf: [...shapes, ['error']].map((required) => ({ required: [...required] })),
  });

const event = object(
  {
    sequence: count('The sequence number of the event in this watch.', 1),
    eventId: text('Identifies the event; the same when it comes again.'),
    name: triggerName,
    timestamp: text('When it happened, RFC 3339.'),
    acceptedAt: text('When this server accepted it, RFC 3339.'),
    data: { description: 'Content of the event. Comes from outside.' },
  },
  ['sequence', 'eventId', 'name', 'timestamp', 'acceptedAt', 'data'],
);

const gap = object(
  {
    from: count('First sequence number.', 1),
    to: count('Last sequence number.', 1),
    reason: text('Why these numbers will never come.'),
  },
  ['from', 'to', 'reason'],
);

const reset = object(
  {
    reason: text(
      '`epoch` = the numbering restarted; `beyond` = `done` is beyond what was sent; `behind` = more than `done` was acknowledged before.',
      { enum: ['epoch', 'beyond', 'behind'] },
    ),
    done: position('The position that was passed as `done`.'),
    from: position('The answer starts after this position.'),
  },
  ['reason', 'done', 'from'],
  { description: 'Present = this answer does not continue from your `done`.' },
);

const listed = object(
  {
    name: triggerName,
    title: text('A name for people.'),
    description: text('When an event occurs.'),
    arguments: anyObject('JSON Schema of the arguments.'),
  },
  ['name', 'description', 'arguments'],
);

const watched = {
  watchId,
  trigger: triggerName,
  arguments: anyObject('The arguments of the watch.'),
  position: position('Everything up to this position is acknowledged.'),
  remaining,
  expiresAt,
} as const;

/** The output schemas of the tools. */
export const OUTPUT = {
  watch: answer(
    {
      ...watched,
      created: { type: 'boolean', description: 'True = a new watch; false = it existed before.' },
      triggers: list(listed, 'The trigger types that can be followed.'),
      watches: list(object(watched, Object.keys(watched)), 'Your watches.'),
      watchesOmitted: count('Number of watches that did not fit into the answer.', 1),
      nextCursor: text('Present = the list continues: call again with it as `cursor`.'),
    },
    [
      [...Object.keys(watched), 'created', 'next'],
      ['triggers', 'watches'],
    ],
  ),
  check: answer(
    {
      watchId,
      trigger: triggerName,
      events: list(event, 'The events, in ascending order.'),
      gaps: list(gap, 'Sequence numbers that will never come, in ascending order.'),
      position: position(
        'The end of this answer. Pass it as `done` when everything in the answer is handled.',
      ),
      remaining,
      expiresAt,
      reset,
    },
    [['watchId', 'trigger', 'events', 'gaps', 'position', 'remaining', 'expiresAt', 'next']],
  ),
  unwatch: answer(
    {
      watchId,
      ended: {
        type: 'boolean',
        description: 'True = this call ended the watch; false = there was no such watch.',
      },
      discarded: count(
        'Number of sequence numbers that were discarded without an acknowledgement.',
      ),
    },
    [['watchId', 'ended', 'discarded']],
  ),
} as const;
