/**
 * The tools `watch` and `unwatch`. `watch` starts a watch or finds it again, or lists trigger types
 * and watches; `unwatch` ends a watch.
 */
import type {
  JsonObject,
  Selection,
  Subscription,
  TriggerType,
} from '../../../../spec-schema/draft/schema.ts';
import { invalidParams, notFound, WireError } from '../../../protocol/wire/errors.ts';
import { implicitSubscription, implicitSubscriptionKey } from '../implicit-subscription.ts';
import { toolAnswer, plural, callText, type ToolAnswer, type ToolContext } from './answer.ts';
import type { NextCall, UnwatchArguments, WatchArguments } from './schemas.ts';

export async function watch(
  context: ToolContext,
  { trigger, arguments: args, cursor }: WatchArguments,
): Promise<ToolAnswer> {
  if (trigger === undefined && args !== undefined)
    throw invalidParams('/trigger', 'the name of a trigger type, because arguments are given');
  if (trigger !== undefined && cursor !== undefined)
    throw invalidParams('/cursor', 'no cursor, because a trigger is given');
  return trigger === undefined
    ? list(context, cursor ?? '')
    : follow(context, { name: trigger, arguments: args ?? {} });
}

/** The selection of a watch; null = the subscription was not made by the tool `watch`. */
function selectionOf({ key, select }: Pick<Subscription, 'key' | 'select'>): Selection | null {
  const [selection, ...more] = select;
  return selection !== undefined &&
    more.length === 0 &&
    key === implicitSubscriptionKey('watch', selection)
    ? selection
    : null;
}

/**
 * The caller's watch with this id. Rejects with `NotFound` if it does not exist, or if the id is
 * that of a subscription which the tool `watch` did not create.
 */
export async function ownWatch(
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
  const { engine, caller, names, implicitTtlMs, now } = context;
  const { subscription, created } = await implicitSubscription(
    engine,
    caller,
    'watch',
    selection,
    implicitTtlMs,
    now,
  ).catch((error: unknown) => {
    throw toolArgumentError(error);
  });
  const { subscriptionId: watchId } = subscription;
  // A pull of 0 events checks the permission to read, so that the caller can rely on the watch.
  const state = await engine.pull(caller, {
    subscriptionId: watchId,
    maxEvents: 0,
  });
  const shown = watchState(subscription, selection, state);
  const next: NextCall = {
    tool: names.check,
    arguments: { watchId, done: shown.position },
    afterMs: state.hasMore ? 0 : state.nextPollMs,
  };
  return toolAnswer({ ...shown, created, next }, [
    created
      ? `Watching ${selection.name} from now on. watchId: ${watchId}`
      : `You already watch ${selection.name}. watchId: ${watchId}. ${shown.remaining} waiting.`,
    `Next: call ${callText(next)} to get the events, and again from time to time${until(shown.expiresAt ?? null)}. Call ${names.unwatch} when you no longer need the watch.`,
  ]);
}

const until = (expiresAt: string | null): string =>
  expiresAt === null ? '' : `; without a check the watch ends at ${expiresAt}`;

/** Converts an error about params of `triggers/subscribe` into one about the tool's arguments. */
function toolArgumentError(error: unknown): unknown {
  if (!(error instanceof WireError) || !error.is('InvalidParams')) return error;
  const path = error.data.path
    .replace(/^\/select\/0\/name/, '/trigger')
    .replace(/^\/select\/0/, '');
  return invalidParams(path, error.data.expected, { cause: error });
}

function watchState(
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
  const types = (await triggerTypes(context)).filter(({ name }) => name > after).map(triggerEntry);
  const triggers = takeFitting(types, answerBytes, 1);
  const nextCursor = triggers.length < types.length ? triggers.at(-1)?.name : undefined;
  const all = await watches(context);
  const shown = takeFitting(all, answerBytes, 0);
  const omitted = all.length - shown.length;
  return toolAnswer(
    {
      triggers,
      watches: shown,
      ...(omitted === 0 ? {} : { watchesOmitted: omitted }),
      ...(nextCursor === undefined ? {} : { nextCursor }),
    },
    [
      triggers.length === 0
        ? 'There are no trigger types to follow.'
        : `You can follow ${plural(triggers.length, 'trigger type')}:`,
      ...triggers.map(
        ({ name, description, arguments: schema }) =>
          `- ${name}: ${description} Arguments: ${JSON.stringify(schema)}`,
      ),
      ...(nextCursor === undefined
        ? []
        : [
            `There are more: call ${callText({ tool: names.watch, arguments: { cursor: nextCursor } })}.`,
          ]),
      all.length === 0
        ? 'You have no watches.'
        : `You have ${plural(all.length, 'watch').replace(/watchs$/, 'watches')}:`,
      ...shown.map(
        ({ watchId, trigger, arguments: args, remaining }) =>
          `- ${watchId}: ${trigger} ${JSON.stringify(args)}, ${remaining} waiting`,
      ),
      ...(omitted === 0
        ? []
        : [
            `${omitted} more did not fit into this answer. Call ${names.watch} with the trigger and arguments of a watch to find it.`,
          ]),
      ...(triggers.length === 0
        ? []
        : [`Next: call ${names.watch} with the trigger and arguments that you want to follow.`]),
    ],
  );
}

const triggerEntry = ({ name, title, description, inputSchema }: TriggerType) => ({
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
    return selection === null ? [] : [watchState(subscription, selection, subscription)];
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

/** The first items whose JSON fits into `maxBytes` together, but at least `least` items. */
function takeFitting<Item extends JsonObject>(
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

/* ---------------------------------------------------------------------------------------------- unwatch */

/** Ends a watch. Ending it twice succeeds (SEP: Ending). */
export async function unwatch(
  context: ToolContext,
  { watchId }: UnwatchArguments,
): Promise<ToolAnswer> {
  const { engine, caller } = context;
  try {
    const {
      subscription: { head, acked },
      selection,
    } = await ownWatch(context, watchId);
    await engine.unsubscribe(caller, { subscriptionId: watchId });
    const discarded = head - acked;
    return toolAnswer({ watchId, ended: true, discarded }, [
      `Ended the watch of ${selection.name}. ${discarded === 0 ? 'No events were waiting.' : `${plural(discarded, 'unacknowledged event')} ${discarded === 1 ? 'was' : 'were'} discarded.`}`,
    ]);
  } catch (error) {
    if (!(error instanceof WireError) || !error.is('NotFound')) throw error;
    return toolAnswer({ watchId, ended: false, discarded: 0 }, [
      'This watch does not exist or has ended already; nothing was changed.',
    ]);
  }
}
