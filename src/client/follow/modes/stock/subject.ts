/**
 * What is looked at on a server that has no trigger type for it: a resource, or one of the three lists. A table says how each is
 * read, how a server announces that it has changed, and what it must have declared for that (SEP: Reserved names).
 */
import type { RawCapabilities } from '../../../sdk/handshake-observer.ts';
import type { FollowTarget } from '../../types.ts';

/** Names of capabilities, methods and members are one word each for the three lists. */
type ListKind = 'tools' | 'prompts' | 'resources';

/** The filter of `subscriptions/listen`, and of its acknowledgement. */
export interface ListenFilter {
  readonly resourceSubscriptions?: readonly string[];
  readonly toolsListChanged?: boolean;
  readonly promptsListChanged?: boolean;
  readonly resourcesListChanged?: boolean;
}

export interface Subject {
  /** The name of its events. */
  readonly name: string;
  readonly kind: ListKind;
  /** Undefined = the list of its kind. */
  readonly uri: string | undefined;
  /** Of `capabilities[kind]`: what a server that announces changes has declared. */
  readonly announcedBy: 'subscribe' | 'listChanged';
  /** The notification that announces one. */
  readonly notification: string;
  /** Asks `subscriptions/listen` for it. */
  readonly filter: ListenFilter;
}

const list = (kind: ListKind): Subject => ({
  name: `mcp.${kind}.list_changed`,
  kind,
  uri: undefined,
  announcedBy: 'listChanged',
  notification: `notifications/${kind}/list_changed`,
  filter: { [`${kind}ListChanged`]: true },
});

const resource = (uri: string): Subject => ({
  name: RESOURCE_UPDATED,
  kind: 'resources',
  uri,
  announcedBy: 'subscribe',
  notification: 'notifications/resources/updated',
  filter: { resourceSubscriptions: [uri] },
});

const RESOURCE_UPDATED = 'mcp.resource.updated';
const LISTS: ReadonlyMap<string, Subject> = new Map(
  [list('tools'), list('prompts'), list('resources')].map((subject) => [subject.name, subject]),
);

/** What can be looked at for this wish; null = nothing that is a resource or a list. */
export function subjectOf({ selection, otherwise }: FollowTarget): Subject | null {
  const listed = LISTS.get(selection.name);
  if (listed) return listed;
  const uri =
    selection.name === RESOURCE_UPDATED
      ? (selection.arguments?.['uri'] ?? otherwise?.resource)
      : otherwise?.resource;
  return typeof uri === 'string' ? resource(uri) : null;
}

/** Whether a server that declares this can be asked for it. */
export const isReadable = (
  subject: Pick<Subject, 'kind'>,
  capabilities: RawCapabilities,
): boolean => settingsOf(subject, capabilities) !== undefined;

/** Whether it says that it announces changes. */
export const isAnnounced = (subject: Subject, capabilities: RawCapabilities): boolean =>
  settingsOf(subject, capabilities)?.[subject.announcedBy] === true;

/** Whether the filter that the server has acknowledged has it. */
export function isHonored({ kind, uri }: Subject, honored: ListenFilter): boolean {
  if (uri === undefined) return honored[`${kind}ListChanged`] === true;
  return (
    Array.isArray(honored.resourceSubscriptions) && honored.resourceSubscriptions.includes(uri)
  );
}

/** Whether a notification announces it. One of a resource may name a part of the one that was asked for. */
export function isAnnouncedBy(
  { notification, uri }: Subject,
  method: string,
  params: unknown,
): boolean {
  if (method !== notification) return false;
  const changed = (Object(params) as { uri?: unknown }).uri;
  return uri === undefined || (typeof changed === 'string' && changed.startsWith(uri));
}

function settingsOf(
  { kind }: Pick<Subject, 'kind'>,
  capabilities: RawCapabilities,
): Readonly<Record<string, unknown>> | undefined {
  const settings = Object.hasOwn(capabilities, kind) ? capabilities[kind] : undefined;
  return typeof settings === 'object' && settings !== null
    ? (settings as Readonly<Record<string, unknown>>)
    : undefined;
}
