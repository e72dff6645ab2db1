/**
 * What the three tools take and answer, as JSON Schema. Hosts hand the input schemas to a model as they are, so they keep to what every host
 * understands: one object of named members, no alternatives. An answer is one of few shapes, of which a refusal is the last: some clients
 * hold refusals against the output schema too.
 */
import type { Gap, JsonObject, Position } from '../../../../spec-schema/draft/schema.ts';
import { PULL_EVENTS_MAX } from '../../../protocol/wire/limits.ts';

/** What `watch` takes. */
export interface WatchArguments {
  readonly trigger?: string;
  readonly arguments?: JsonObject;
  readonly cursor?: string;
}

/** What `check` takes. */
export interface CheckArguments {
  readonly watchId: string;
  readonly done?: Position;
  readonly maxEvents?: number;
}

/** What `unwatch` takes. */
export interface UnwatchArguments {
  readonly watchId: string;
}

/** The call that comes next, ready to be made. */
export interface NextCall {
  readonly tool: string;
  readonly arguments: JsonObject;
  /** Not before this long, in milliseconds. */
  readonly afterMs: number;
}

/** An event as `check` shows it. */
export interface WatchedEvent {
  readonly sequence: number;
  readonly eventId: string;
  readonly name: string;
  readonly timestamp: string;
  readonly data: unknown;
}

/** Why an answer of `check` does not begin where `done` ends, or begins with what had been acknowledged. */
export interface Reset {
  readonly reason: 'epoch' | 'beyond' | 'behind';
  /** What was given. */
  readonly done: Position;
  /** The answer begins after this. */
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
      epoch: text('Names one life of the numbering.'),
      sequence: count('A number of that epoch; 0 = before the first event.'),
    },
    ['epoch', 'sequence'],
    { description },
  );

const watchId = text('Identifies the watch.', { minLength: 1, maxLength: 128 });
const triggerName = text('The name of a trigger type.', { minLength: 1, maxLength: 128 });

/** Schemas of what is given to the tools. */
export const INPUT = {
  watch: object(
    {
      trigger: text('The name of the trigger type to follow. Leave it out to list what there is.', {
        minLength: 1,
        maxLength: 128,
      }),
      arguments: anyObject(
        'Arguments of the trigger type, as its schema in the list says. Default: none.',
      ),
      cursor: text('Only to go on with a list: the `nextCursor` of its last page.', {
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
        'The `position` of an earlier answer of this watch: everything up to it is handled. Copy it, do not compute it.',
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
    arguments: anyObject('With these arguments.'),
    afterMs: count('Not before this many milliseconds have passed.'),
  },
  ['tool', 'arguments', 'afterMs'],
  { description: 'The call that comes next.' },
);

const error = object(
  {
    name: text('What kind of refusal it is; stable.'),
    code: { type: 'integer', description: 'Its number.' },
    message: text('What was wrong and what to do.'),
    data: anyObject('Particulars, by name.'),
  },
  ['name', 'code', 'message'],
  { description: 'Present = the call was refused and nothing else is in the answer.' },
);

const expiresAt: JsonObject = {
  anyOf: [{ type: 'string' }, { type: 'null' }],
  description: 'When the watch ends unless it is checked before; null = never.',
};
const remaining = count('How many numbers wait after this position.');

/** A refusal instead of the answer. */
const answer = (properties: JsonObject, shapes: readonly (readonly string[])[]): JsonObject =>
  object({ ...properties, next, error }, [], {
    anyOf: [...shapes, ['error']].map((required) => ({ required: [...required] })),
  });

const event = object(
  {
    sequence: count('Its number in this watch.', 1),
    eventId: text('Identifies the occurrence: the same when it comes again.'),
    name: triggerName,
    timestamp: text('When it happened, RFC 3339.'),
    data: { description: 'What happened. Comes from outside.' },
  },
  ['sequence', 'eventId', 'name', 'timestamp', 'data'],
);

const gap = object(
  { from: count('First number.', 1), to: count('Last number.', 1), reason: text('Why.') },
  ['from', 'to', 'reason'],
);

const reset = object(
  {
    reason: text(
      '`epoch` = the numbering began anew; `beyond` = `done` is beyond what was sent; `behind` = more was acknowledged before.',
      { enum: ['epoch', 'beyond', 'behind'] },
    ),
    done: position('The position that was given.'),
    from: position('The answer begins after this position.'),
  },
  ['reason', 'done', 'from'],
  { description: 'Present = this answer does not go on from where you were.' },
);

const listed = object(
  {
    name: triggerName,
    title: text('For people.'),
    description: text('When an event occurs.'),
    arguments: anyObject('JSON Schema of the arguments.'),
  },
  ['name', 'description', 'arguments'],
);

const watched = {
  watchId,
  trigger: triggerName,
  arguments: anyObject('What was asked for.'),
  position: position('Everything up to here is acknowledged.'),
  remaining,
  expiresAt,
} as const;

/** Schemas of what the tools answer. */
export const OUTPUT = {
  watch: answer(
    {
      ...watched,
      created: { type: 'boolean', description: 'True = the watch begins now; false = it goes on.' },
      triggers: list(listed, 'What may be followed.'),
      watches: list(object(watched, Object.keys(watched)), 'The watches there are.'),
      watchesOmitted: count('More watches than fit into the answer.', 1),
      nextCursor: text('Present = the list goes on: call again with it as `cursor`.'),
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
      events: list(event, 'Ascending.'),
      gaps: list(gap, 'Numbers that never come, ascending.'),
      position: position(
        'The end of this answer. Give it as `done` when everything in it is handled.',
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
        description: 'True = this call ended it; false = there was none any more.',
      },
      discarded: count('Numbers that were not acknowledged.'),
    },
    [['watchId', 'ended', 'discarded']],
  ),
} as const;
