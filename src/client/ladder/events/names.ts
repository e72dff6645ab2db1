/** Names of SEP-3415, `events/*`: the capability and where it may stand, methods, notifications and headers. */

export const EVENTS_EXTENSION_ID = 'io.modelcontextprotocol/events';
/** Where servers of the design sketch declare it: beside `tools` and `resources`. */
export const EVENTS_CAPABILITY = 'events';
export const EVENTS_LIST_CHANGED = 'notifications/events/list_changed';
