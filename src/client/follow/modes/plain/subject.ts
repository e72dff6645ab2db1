/**
 * A subject is what the client reads on a server that does not have the trigger type of a
 * selection: a resource, or one of the three lists. It comes with the notification that announces a
 * change, and the capability that a server declares for that (SEP: Reserved types).
 */
import type { RawCapabilities } from '../../../sdk/handshake-observer.ts';
import type { FollowTarget } from '../../types.ts';

/** The word for a list in the names of its capability, methods and members. */
type ListKind = 'tools' | 'prompts' | 'resources';

/** The filter of `subscriptions/listen`, and of its acknowledgement. */
export interface ListenFilter {
  readonly resourceSubscriptions?: readonly string[];
  readonly toolsListChanged?: boolean;
  readonly promptsListChanged?: boolean;
  readonly resourcesListChanged?: boolean;
}

export interface Subject {
  /** The name of the events. */
  readonly name: string;
  readonly kind: ListKind;
  /** Undefined = the list of its kind. */
  readonly uri: string | undefined;
  /** The member of `capabilities[kind]` that a server which announces changes declares. */
  readonly announcedBy: 'subscribe' | 'listChanged';
  /** The notification that announces a change. */
  readonly notification: string;
  /** The filter that requests this notification from `subscriptions/listen`. */
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

/** The subject for a target; null = neither a resource nor a list. */
export function subjectOf({ selection, otherwise }: FollowTarget): Subject | null {
  const listed = LISTS.get(selection.name);
  if (listed) return listed;
  const uri =
    selection.name === RESOURCE_UPDATED
      ? (selection.arguments?.['uri'] ?? otherwise?.resource)
      : otherwise?.resource;
  return typeof uri === 'string' ? resource(uri) : null;
}

/** Whether a server with these capabilities has subjects of this kind. */
export const isReadable = (
  subject: Pick<Subject, 'kind'>,
  capabilities: RawCapabilities,
): boolean => settingsOf(subject, capabilities) !== undefined;

/** Whether the server declares that it announces changes. */
export const isAnnounced = (subject: Subject, capabilities: RawCapabilities): boolean =>
  settingsOf(subject, capabilities)?.[subject.announcedBy] === true;

/** Whether the filter that the server has acknowledged covers the subject. */
export function isHonored({ kind, uri }: Subject, honored: ListenFilter): boolean {
  if (uri === undefined) return honored[`${kind}ListChanged`] === true;
  return (
    Array.isArray(honored.resourceSubscriptions) && honored.resourceSubscriptions.includes(uri)
  );
}

/**
 * Whether a notification announces a change of the subject. The notification may name a
 * sub-resource of the resource.
 */
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
