/**
 * The entries of feeds in `resources/list` and `resources/templates/list`: the caller's logs, and a
 * template for each trigger type that the caller sees. The descriptions address models.
 */
import type { Subscription, TriggerType } from '../../../../spec-schema/draft/schema.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { implicitSubscriptionKey } from '../implicit-subscription.ts';
import {
  feedTemplate,
  feedUri,
  feedVariables,
  subscriptionUri,
  SUBSCRIPTION_TEMPLATE,
} from './uri.ts';
import type { VisibleTypes } from './visible-types.ts';

export const MIME_TYPE = 'application/json';

interface Entry {
  readonly name: string;
  readonly title?: string;
  readonly description: string;
  readonly mimeType: string;
}

/** One entry of `resources/list`. */
export interface ResourceEntry extends Entry {
  readonly uri: string;
}

/** One entry of `resources/templates/list`. */
export interface TemplateEntry extends Entry {
  readonly uriTemplate: string;
}

const HOW_TO_FOLLOW =
  'Read it without "after" to get the events that you have not acknowledged, oldest first. Their numbers have no holes: "gaps" lists the numbers that will never come. ' +
  'When you have handled the events, read the URI in "next": that acknowledges them and returns the following ones. ' +
  'Subscribe to the URI without "after" to be notified when there is something to read.';

/** A template for each trigger type that the caller sees, and one for the caller's subscriptions. */
export async function listTemplates(types: VisibleTypes, caller: Caller): Promise<TemplateEntry[]> {
  const seen = [...(await types.list(caller)).values()].map((type): TemplateEntry => ({
    name: type.name,
    ...(type.title === undefined ? {} : { title: type.title }),
    uriTemplate: feedTemplate(type),
    description: `A feed of events. ${type.description} ${variablesOf(type)}${HOW_TO_FOLLOW}`,
    mimeType: MIME_TYPE,
  }));
  return [
    ...seen,
    {
      name: 'triggers.subscription',
      title: 'Subscription',
      uriTemplate: SUBSCRIPTION_TEMPLATE,
      description: `The events of one of your subscriptions, by its subscriptionId. ${HOW_TO_FOLLOW}`,
      mimeType: MIME_TYPE,
    },
  ];
}

function variablesOf(type: TriggerType): string {
  const variables = feedVariables(type).map(
    ({ variable, written }) => `"${variable}" (${written === 'text' ? 'plain text' : 'JSON text'})`,
  );
  return variables.length === 0
    ? ''
    : `Variables, described by the inputSchema of the trigger type: ${variables.join(', ')}; omit those that you do not need. `;
}

/** One page of the caller's logs: feeds under their own URIs, all other logs as subscriptions. */
export async function listResources(
  engine: BindableEngine,
  types: VisibleTypes,
  caller: Caller,
  cursor: string | undefined,
): Promise<{ readonly resources: ResourceEntry[]; readonly nextCursor?: string }> {
  const { subscriptions, nextCursor } = await engine.subscriptions(
    caller,
    cursor === undefined ? {} : { cursor },
  );
  const seen = await types.of(caller);
  return {
    resources: subscriptions.map((one) => entryOf(one, seen)),
    ...(nextCursor === undefined ? {} : { nextCursor }),
  };
}

function entryOf(
  subscription: Subscription,
  types: ReadonlyMap<string, TriggerType>,
): ResourceEntry {
  const {
    subscriptionId,
    key,
    select: [first, ...others],
    head,
    acked,
    paused,
    callback,
  } = subscription;
  const names = [first, ...others].map((selection) => selection?.name).join(', ');
  const delivery = callback === undefined ? '' : `, callback ${paused ? 'paused' : callback.state}`;
  const state = `${head - acked} unread${delivery}.`;
  const type =
    first !== undefined && key === implicitSubscriptionKey('feed', first)
      ? types.get(first.name)
      : undefined;
  const uri = type === undefined ? null : feedUri(type, first?.arguments ?? {}, null);
  if (type === undefined || uri === null) {
    return {
      uri: subscriptionUri(subscriptionId, null),
      name: `subscription ${key}`,
      description: `Events of ${names}: ${state}`,
      mimeType: MIME_TYPE,
    };
  }
  return {
    uri,
    name: `feed ${type.name}`,
    ...(type.title === undefined ? {} : { title: type.title }),
    description: `Events of ${names}: ${state}`,
    mimeType: MIME_TYPE,
  };
}
