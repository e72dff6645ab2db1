/** What a tool answers, and how a refusal reads for a model: what was wrong, and which call puts it right. */
import type { JsonObject, TerminationReason } from '../../../../spec-schema/draft/schema.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import type { WireError, WireErrorData } from '../../../protocol/wire/errors.ts';
import type { NextCall } from './schemas.ts';

/** The tools by what they do. */
export type ToolKind = 'watch' | 'check' | 'unwatch';

/** What they are called on this server. */
export type ToolNames = Readonly<Record<ToolKind, string>>;

/** What a call has besides its arguments. */
export interface ToolContext {
  readonly engine: BindableEngine;
  readonly caller: Caller;
  readonly names: ToolNames;
  /** How long a watch lives without a check, in milliseconds. */
  readonly leaseMs: number;
  /** Room for the events of an answer, or for a list, in bytes of JSON. */
  readonly answerBytes: number;
  /** Epoch milliseconds. */
  readonly now: number;
}

/** The answer, once for programs and once in words that stand for themselves: some clients hand only the words on. */
export interface ToolAnswer {
  readonly structured: object;
  readonly text: string;
  readonly isError: boolean;
}

export const answered = (structured: object, lines: readonly string[]): ToolAnswer => ({
  structured,
  text: lines.join('\n'),
  isError: false,
});

/** A call in words, so that it can be copied. */
export const inWords = ({ tool, arguments: args }: Pick<NextCall, 'tool' | 'arguments'>): string =>
  `${tool} with ${JSON.stringify(args)}`;

/** `1 event`, `2 events`. */
export const counted = (count: number, noun: string): string =>
  `${count} ${noun}${count === 1 ? '' : 's'}`;

interface Words {
  readonly message: string;
  /** The call that helps. Absent = correct this one. */
  readonly call?: ToolKind;
}

type Put = {
  readonly [Name in keyof WireErrorData]: (data: WireErrorData[Name], names: ToolNames) => Words;
};

const ENDED: Readonly<Record<TerminationReason, string>> = {
  unsubscribed: 'it was ended on request',
  expired: 'it was not checked in time',
  revoked: 'you may not follow this any more',
  trigger_removed: 'the server does not offer its trigger type any more',
  schema_changed: 'its trigger type has changed',
  failed: 'the server could not go on with it',
};

/** What to say of each error, where the words of the protocol's own methods would lead astray. */
const WORDS: Put = {
  InvalidParams: ({ path, expected }) => ({
    message: `Invalid arguments${path === '' ? '' : ` at ${path}`}: expected ${expected}. Correct this and call again.`,
  }),
  NotFound: ({ kind, reason, final }, { watch }) => {
    if (kind === 'trigger')
      return {
        message: `There is no such trigger type. Call ${watch} without arguments to see what there is.`,
        call: 'watch',
      };
    if (reason === undefined)
      return {
        message: `There is no such watch. Call ${watch} without arguments to see your watches, or with a trigger to begin one.`,
        call: 'watch',
      };
    const lost = final === undefined ? 0 : final.head - final.acked;
    const loss =
      lost === 0
        ? 'Everything in it had been acknowledged.'
        : `${counted(lost, 'event')} that had not been acknowledged ${lost === 1 ? 'is' : 'are'} lost.`;
    return {
      message: `This watch has ended: ${ENDED[reason]}. ${loss} Call ${watch} to begin a new one; it does not see what happened in between.`,
      call: 'watch',
    };
  },
  Forbidden: ({ kind }, { watch }) =>
    kind === 'trigger'
      ? {
          message: `You may not follow this. Call ${watch} without arguments to see what you may follow, or ask the server's operator for access.`,
          call: 'watch',
        }
      : {
          message:
            "The server could not tell who is asking, or does not serve this user. Ask the server's operator for access.",
        },
  Conflict: () => ({ message: 'The watch was changed by somebody else just now. Call again.' }),
  ResourceExhausted: ({ limit, max, retryAfterMs }, { unwatch }) => ({
    message:
      limit === 'subscriptions'
        ? `There are as many watches and subscriptions as you may have${max === undefined ? '' : `: ${max}`}. End one with ${unwatch}, then call again.`
        : `A limit is reached: ${limit}. Call again ${retryAfterMs === undefined ? 'later' : `in ${retryAfterMs} ms`}.`,
  }),
  Unsupported: ({ feature }) => ({ message: `Not supported here: ${feature}.` }),
  CallbackEndpointError: ({ reason }) => ({
    message: `The callback of this subscription does not work: ${reason}.`,
  }),
  InternalError: () => ({ message: 'Internal error of the server. Call again later.' }),
};

/** A refusal as an answer. */
export function refused(error: WireError, names: ToolNames): ToolAnswer {
  const put = WORDS[error.name] as (data: unknown, names: ToolNames) => Words;
  const { message, call } = put(error.data, names);
  const next: NextCall | undefined =
    call === undefined ? undefined : { tool: names[call], arguments: {}, afterMs: 0 };
  const { code, data } = error.toErrorObject();
  const structured: JsonObject = {
    error: { name: error.name, code, message, ...(data === undefined ? {} : { data }) },
    ...(next === undefined ? {} : { next }),
  };
  return { structured, text: message, isError: true };
}
