/** Names of SEP-3415, `events/*`: the capability and where it may stand, its methods' modes and its notifications. */

export const EVENTS_EXTENSION_ID = 'io.modelcontextprotocol/events';
/** Where servers of the design sketch declare it: beside `tools` and `resources`. */
export const EVENTS_CAPABILITY = 'events';
export const EVENTS_LIST_CHANGED = 'notifications/events/list_changed';

/** How events of a type can be had, best first. */
export type DeliveryModeName = 'webhook' | 'push' | 'poll';

/** What a server sends on an `events/stream`. */
export const STREAM_NOTIFICATIONS = {
  active: 'notifications/events/active',
  event: 'notifications/events/event',
  heartbeat: 'notifications/events/heartbeat',
  error: 'notifications/events/error',
  terminated: 'notifications/events/terminated',
} as const;
