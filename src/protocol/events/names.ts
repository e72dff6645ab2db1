/**
 * Names of SEP-3415 (`events/*`): the capability, methods, notifications, delivery modes, control
 * envelopes and the webhook header.
 */

/** The key of the extension in `capabilities.extensions`. */
export const EVENTS_EXTENSION_ID = 'io.modelcontextprotocol/events';
/** The member of `capabilities` that servers of the earlier design sketch declare. */
export const EVENTS_CAPABILITY = 'events';

/** The request methods. */
export type EventsMethod =
  'events/list' | 'events/poll' | 'events/stream' | 'events/subscribe' | 'events/unsubscribe';

/** Sent when the list of event types changes. */
export const EVENTS_LIST_CHANGED = 'notifications/events/list_changed';

/** Notifications on the response stream of `events/stream`. */
export const STREAM_NOTIFICATIONS = {
  active: 'notifications/events/active',
  event: 'notifications/events/event',
  heartbeat: 'notifications/events/heartbeat',
  error: 'notifications/events/error',
  terminated: 'notifications/events/terminated',
} as const;

/** Every notification of the extension. */
export type EventsNotification =
  (typeof STREAM_NOTIFICATIONS)[keyof typeof STREAM_NOTIFICATIONS] | typeof EVENTS_LIST_CHANGED;

/** The ways to deliver the events of a type, best first. */
export type DeliveryModeName = 'webhook' | 'push' | 'poll';

/** The member `type` of a control envelope. An occurrence has no member `type`. */
export type WebhookControlType = 'verification' | 'gap' | 'terminated';

/** The webhook header with the id of the subscription. */
export const X_MCP_SUBSCRIPTION_ID = 'x-mcp-subscription-id';
