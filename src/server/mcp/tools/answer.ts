/**
 * The results of the tools, and their error texts. Each error text tells a model what was wrong and
 * what to do next.
 */
import type { JsonObject, TerminationReason } from '../../../../spec-schema/draft/schema.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import type { WireError, WireErrorData } from '../../../protocol/wire/errors.ts';
import type { NextCall } from './schemas.ts';

/** The tools, independent of their names on a server. */
export type ToolKind = 'watch' | 'check' | 'unwatch';

/** The name of each tool on a server. */
export type ToolNames = Readonly<Record<ToolKind, string>>;

/** The context of a call. */
export interface ToolContext {
  readonly engine: BindableEngine;
  readonly caller: Caller;
  readonly names: ToolNames;
  /** The lifetime to request for a watch, in milliseconds. */
  readonly implicitTtlMs: number;
  /** The most bytes of events in an answer, and of entries in a list, as JSON. */
  readonly answerBytes: number;
  /** Epoch milliseconds. */
  readonly now: number;
}

/**
 * The result of a call, as data and as text. The text is complete by itself: some clients pass only
 * the text to the model.
 */
export interface ToolAnswer {
  readonly structured: object;
  readonly text: string;
  readonly isError: boolean;
}

export const toolAnswer = (structured: object, lines: readonly string[]): ToolAnswer => ({
  structured,
  text: lines.join('\n'),
  isError: false,
});

/** Formats a call so that a model can copy it. */
export const callText = ({ tool, arguments: args }: Pick<NextCall, 'tool' | 'arguments'>): string =>
  `${tool} with ${JSON.stringify(args)}`;

/** `1 event`, `2 events`. */
export const plural = (count: number, noun: string): string =>
  `${count} ${noun}${count === 1 ? '' : 's'}`;

interface ErrorText {
  readonly message: string;
  /** The tool to call next. Absent = correct this call. */
  readonly call?: ToolKind;
}

type ErrorTexts = {
  readonly [Name in keyof WireErrorData]: (
    data: WireErrorData[Name],
    names: ToolNames,
  ) => ErrorText;
};

const END_REASONS: Readonly<Record<TerminationReason, string>> = {
  unsubscribed: 'it was ended by a client',
  expired: 'it was not checked in time',
  revoked: 'you are no longer permitted to follow this',
  trigger_removed: 'the server no longer offers its trigger type',
  schema_changed: 'its trigger type has changed',
  failed: 'the server could not continue it',
};

/**
 * The text of each error. The messages of `WireError` name methods that a client with only tools
 * cannot call.
 */
const ERROR_TEXTS: ErrorTexts = {
  InvalidParams: ({ path, expected }) => ({
    message: `Invalid arguments${path === '' ? '' : ` at ${path}`}: expected ${expected}. Correct this and call again.`,
  }),
  NotFound: ({ kind, reason, final }, { watch }) => {
    if (kind === 'trigger')
      return {
        message: `Trigger type not found. Call ${watch} without arguments to list the trigger types.`,
        call: 'watch',
      };
    if (reason === undefined)
      return {
        message: `Watch not found. Call ${watch} without arguments to list your watches, or with a trigger to start one.`,
        call: 'watch',
      };
    const lost = final === undefined ? 0 : final.head - final.acked;
    const loss =
      lost === 0
        ? 'Everything in it had been acknowledged.'
        : `${plural(lost, 'unacknowledged event')} ${lost === 1 ? 'is' : 'are'} lost.`;
    return {
      message: `This watch has ended: ${END_REASONS[reason]}. ${loss} Call ${watch} to start a new one; it misses the events in between.`,
      call: 'watch',
    };
  },
  Forbidden: ({ kind }, { watch }) =>
    kind === 'permission'
      ? {
          message: `You are not permitted to follow this. Call ${watch} without arguments to list what you can follow, or ask the server's operator for access.`,
          call: 'watch',
        }
      : {
          message:
            "The server could not identify you, or does not serve you. Ask the server's operator for access.",
        },
  Conflict: () => ({
    message: 'The watch was changed by another call at the same time. Call again.',
  }),
  ResourceExhausted: ({ limit, max, retryAfterMs }, { unwatch }) => ({
    message:
      limit === 'subscriptions'
        ? `You have reached the limit of watches and subscriptions${max === undefined ? '' : `: ${max}`}. End one with ${unwatch}, then call again.`
        : `A limit was reached: ${limit}. Call again ${retryAfterMs === undefined ? 'later' : `in ${retryAfterMs} ms`}.`,
  }),
  Unsupported: ({ feature }) => ({
    message: `This server does not support: ${feature}. Follow another trigger type, or ask the server's operator.`,
  }),
  CallbackEndpointError: ({ category }) => ({
    message: `The callback of this subscription failed: ${category}. Ask the server's operator to repair it.`,
  }),
  InternalError: () => ({ message: 'The server had an internal error. Call again later.' }),
};

/** Converts an error into the result of a call. */
export function errorAnswer(error: WireError, names: ToolNames): ToolAnswer {
  const textOf = ERROR_TEXTS[error.name] as (data: unknown, names: ToolNames) => ErrorText;
  const { message, call } = textOf(error.data, names);
  const next: NextCall | undefined =
    call === undefined ? undefined : { tool: names[call], arguments: {}, afterMs: 0 };
  const { code, data } = error.toErrorObject();
  const structured: JsonObject = {
    error: { name: error.name, code, message, ...(data === undefined ? {} : { data }) },
    ...(next === undefined ? {} : { next }),
  };
  return { structured, text: message, isError: true };
}
