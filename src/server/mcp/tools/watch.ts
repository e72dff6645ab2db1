/** The tool that begins to follow something, finds what is followed already, and lists what there is (SEP: When a peer lacks the extension). */
import type {
  JsonObject,
  Selection,
  Subscription,
  TriggerType,
} from '../../../../spec-schema/draft/schema.ts';
import { invalidParams, notFound, WireError } from '../../../protocol/wire/errors.ts';
import { implicitSubscription, implicitSubscriptionKey } from '../implicit-subscription.ts';
import { answered, counted, inWords, type ToolAnswer, type ToolContext } from './answer.ts';
import type { NextCall, WatchArguments } from './schemas.ts';

export async function watch(
  context: ToolContext,
  { trigger, arguments: args, cursor }: WatchArguments,
): Promise<ToolAnswer> {
  if (trigger === undefined && args !== undefined)
    throw invalidParams('/trigger', 'the name of a trigger type, because there are arguments');
  if (trigger !== undefined && cursor !== undefined)
    throw invalidParams('/cursor', 'no cursor, because there is a trigger');
  return trigger === undefined
    ? list(context, cursor ?? '')
    : follow(context, { name: trigger, arguments: args ?? {} });
}

/** What follows one selection, for as long as it is checked, and nothing else, is a watch. */
export function selectionOf({
  key,
  select,
}: Pick<Subscription, 'key' | 'select'>): Selection | null {
  const [selection, ...more] = select;
  return selection !== undefined &&
    more.length === 0 &&
    key === implicitSubscriptionKey('watch', selection)
    ? selection
    : null;
}

/** The caller's own watch. For everything else, subscriptions of other kinds among it, there is no such watch. */
export async function own(
  { engine, caller }: ToolContext,
  watchId: string,
): Promise<{ readonly subscription: Subscription; readonly selection: Selection }> {
  const subscription = (await engine.get(caller, { subscriptionId: watchId })) as Subscription;
  const selection = selectionOf(subscription);
  if (selection === null) throw notFound({ kind: 'subscription' });
  return { subscription, selection };
}

/* -------------------------------------------------------------------------------------------- follow one */

async function follow(context: ToolContext, selection: Selection): Promise<ToolAnswer> {
  const { engine, caller, names, leaseMs, now } = context;
  const { subscription, created } = await implicitSubscription(
    engine,
    caller,
    'watch',
    selection,
    leaseMs,
    now,
  ).catch((error: unknown) => {
    throw ofTheTool(error);
  });
  const { subscriptionId: watchId } = subscription;
  // Reads nothing: whether the caller may read shows before it relies on the watch.
  const state = await engine.pull(caller, {
    subscriptionId: watchId,
    maxEvents: 0,
  });
  const shown = shownOf(subscription, selection, state);
  const next: NextCall = {
    tool: names.check,
    arguments: { watchId, done: shown.position },
    afterMs: state.hasMore ? 0 : state.nextPollMs,
  };
  return answered({ ...shown, created, next }, [
    created
      ? `Watching ${selection.name} from now on. watchId: ${watchId}`
      : `You watch ${selection.name} already; it goes on. watchId: ${watchId}. ${shown.remaining} waiting.`,
    `Next: call ${inWords(next)} to get the events, and again from time to time${until(shown.expiresAt)}. Call ${names.unwatch} when you no longer need it.`,
  ]);
}

const until = (expiresAt: string | null): string =>
  expiresAt === null ? '' : `: without a check the watch ends at ${expiresAt}`;

/** The engine complains of params of `triggers/subscribe`; the caller gave arguments of a tool. */
function ofTheTool(error: unknown): unknown {
  if (!(error instanceof WireError) || !error.is('InvalidParams')) return error;
  const path = error.data.path
    .replace(/^\/select\/0\/name/, '/trigger')
    .replace(/^\/select\/0/, '');
  return invalidParams(path, error.data.expected, { cause: error });
}

function shownOf(
  { subscriptionId, expiresAt }: Subscription,
  { name, arguments: args = {} }: Selection,
  { epoch, head, acked }: Pick<Subscription, 'epoch' | 'head' | 'acked'>,
) {
  return {
    watchId: subscriptionId,
    trigger: name,
    arguments: args,
    position: { epoch, sequence: acked },
    remaining: head - acked,
    expiresAt,
  };
}

/* ------------------------------------------------------------------------------------------------- list */

async function list(context: ToolContext, after: string): Promise<ToolAnswer> {
  const { answerBytes, names } = context;
  const types = (await triggerTypes(context)).filter(({ name }) => name > after).map(listedOf);
  const triggers = fitting(types, answerBytes, 1);
  const nextCursor = triggers.length < types.length ? triggers.at(-1)?.name : undefined;
  const all = await watches(context);
  const shown = fitting(all, answerBytes, 0);
  const omitted = all.length - shown.length;
  return answered(
    {
      triggers,
      watches: shown,
      ...(omitted === 0 ? {} : { watchesOmitted: omitted }),
      ...(nextCursor === undefined ? {} : { nextCursor }),
    },
    [
      triggers.length === 0
        ? 'There is nothing to follow.'
        : `You may follow ${counted(triggers.length, 'trigger type')}:`,
      ...triggers.map(
        ({ name, description, arguments: schema }) =>
          `- ${name}: ${description} Arguments: ${JSON.stringify(schema)}`,
      ),
      ...(nextCursor === undefined
        ? []
        : [
            `There are more: call ${inWords({ tool: names.watch, arguments: { cursor: nextCursor } })}.`,
          ]),
      all.length === 0
        ? 'You have no watches.'
        : `You have ${counted(all.length, 'watch').replace(/watchs$/, 'watches')}:`,
      ...shown.map(
        ({ watchId, trigger, arguments: args, remaining }) =>
          `- ${watchId}: ${trigger} ${JSON.stringify(args)}, ${remaining} waiting`,
      ),
      ...(omitted === 0
        ? []
        : [
            `${omitted} more do not fit here. Call ${names.watch} with the trigger and arguments of one to find it.`,
          ]),
      ...(triggers.length === 0
        ? []
        : [`Next: call ${names.watch} with the trigger and arguments that you want to follow.`]),
    ],
  );
}

const listedOf = ({ name, title, description, inputSchema }: TriggerType) => ({
  name,
  ...(title === undefined ? {} : { title }),
  description,
  arguments: inputSchema,
});

async function triggerTypes({ engine, caller }: ToolContext): Promise<TriggerType[]> {
  return everyPage(async (cursor) => {
    const page = await engine.list(caller, cursor);
    return 'triggers' in page
      ? { items: page.triggers, nextCursor: page.nextCursor }
      : { items: [], nextCursor: undefined };
  });
}

async function watches({ engine, caller }: ToolContext) {
  const all = await everyPage(async (cursor) => {
    const { subscriptions, nextCursor } = await engine.subscriptions(caller, cursor);
    return { items: subscriptions, nextCursor };
  });
  return all.flatMap((subscription) => {
    const selection = selectionOf(subscription);
    return selection === null ? [] : [shownOf(subscription, selection, subscription)];
  });
}

async function everyPage<Item>(
  read: (from: {
    readonly cursor?: string;
  }) => Promise<{ readonly items: readonly Item[]; readonly nextCursor: string | undefined }>,
): Promise<Item[]> {
  const all: Item[] = [];
  for (let cursor: string | undefined, more = true; more;) {
    const { items, nextCursor } = await read(cursor === undefined ? {} : { cursor });
    all.push(...items);
    cursor = nextCursor;
    more = nextCursor !== undefined;
  }
  return all;
}

/** The first of these that fit, but not fewer than `least`. */
function fitting<Item extends JsonObject>(
  items: readonly Item[],
  maxBytes: number,
  least: number,
): readonly Item[] {
  let bytes = 0;
  const tooMany = items.findIndex((item, at) => {
    bytes += Buffer.byteLength(JSON.stringify(item));
    return at >= least && bytes > maxBytes;
  });
  return tooMany === -1 ? items : items.slice(0, tooMany);
}
