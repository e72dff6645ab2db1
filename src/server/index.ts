/**
 * The library for MCP servers: declares trigger types, creates an engine over a store, attaches it
 * to a server of the MCP SDK, and emits events.
 *
 * ```ts
 * const store = sqliteStore({ path: 'triggers.db', key });
 * const engine = createEngine({ store, triggers: [orderPaid], egress: createEgress() });
 * await engine.start();
 * attachTriggers(mcp, engine, { levels: ['log', 'stream', 'callback', 'durable'] });
 * await engine.emit(orderPaid.event({ eventId: 'pay_1', data }));
 * ```
 *
 * @packageDocumentation
 */
export { attachTriggers, type AttachOptions } from './mcp/triggers/install.ts';
export { attachResources, type ResourcesOptions } from './mcp/resources/install.ts';
export { withFeeds, type ListenOptions } from './mcp/resources/listen.ts';
export type { FeedOptions } from './mcp/resources/options.ts';
export type { NotifyTiming } from './mcp/resources/change-notifier.ts';
export { attachTools, type ToolsOptions } from './mcp/tools/install.ts';
export { attachEvents, type EventsOptions } from './mcp/events/install.ts';
export { eventsDialects, type EventsDialectOptions } from './mcp/events/dialects.ts';
export type { EventsWebhookId, ProfileName } from './mcp/events/profiles.ts';
export type { AttachableEngine, BindingOptions } from './mcp/sdk.ts';
export { withBoundedBacklog, type BacklogOptions } from './mcp/backlog.ts';
export {
  callerOf,
  LOCAL_PRINCIPAL,
  ownerOf,
  parseOwner,
  type Owner,
  type OwnerPolicy,
  type RequestIdentity,
} from './mcp/principal.ts';
export {
  defineTrigger,
  type SchemaOf,
  type SelfDescribing,
  type Trigger,
  type TriggerDefinition,
} from './engine/define-trigger.ts';

export { createEngine, type EngineOptions } from './engine/create-engine.ts';
export type {
  Accepted,
  BindableEngine,
  Caller,
  DeclaredTrigger,
  Engine,
  InitialState,
  EngineHealth,
  LogListener,
  Logs,
  ClientOptions,
  NewEvent,
  NewGap,
  StreamSink,
  SubscribeAs,
  Verbs,
} from './engine/verbs.ts';
/* For bindings that send callbacks of another protocol. */
export type { CallbackDialect, CallbackMessage, CallbackContext } from './callback/dialect.ts';
export type { LogRange } from './engine/reader.ts';
export type { Answer as CallbackAnswer } from '../protocol/core/attempt.ts';
export type { DeliveredState, Outcome as CallbackOutcome } from '../protocol/core/types.ts';
export type { Secret } from '../protocol/wire/secret.ts';
export type { TraceContext } from '../protocol/wire/trace-context.ts';
export type { Authorize, Reauthorize, Visible } from './engine/permissions.ts';
export type { TtlPolicy } from '../protocol/core/policy.ts';

export { createEgress, type EgressOptions } from './callback/egress/egress.ts';
export type { Resolve } from './callback/egress/addresses.ts';
export {
  deliveryKey,
  generateDeliveryKey,
  publicJwks,
  publishedKey,
  type DeliveryKey,
  type PublishedKey,
  type PublicDeliveryJwk,
} from '../protocol/wire/delivery-jws.ts';

export { silentLog, silentMeter, systemRandom } from './engine/ports.ts';
export { systemClock, type Clock } from '../protocol/lib/clock.ts';
export type {
  Egress,
  Log,
  Meter,
  OutboundRequest,
  OutboundResult,
  Random,
} from './engine/ports.ts';

/* For authors of a store. A stored type is renamed where the wire has a type of the same name. */
export type {
  AcceptedEvent,
  Checkpoint,
  Continuity,
  EventGap,
  EventIdentity,
  IndexRow,
  LogEntry,
  Notice,
  Opened,
  ReadEntry,
  Store,
  StoredSubscription,
  StoreStats,
  Tombstone,
  Write,
} from './store/port.ts';
export type {
  Attempt,
  Callback as StoredCallback,
  CallbackLimits as StoredCallbackLimits,
  FailureCategory,
  GapReason,
  Health,
  Retention,
  Selection as StoredSelection,
  Subscription as SubscriptionState,
  TerminationReason,
} from '../protocol/core/types.ts';

export {
  LocalError,
  WireError,
  type LocalErrorCode,
  type WireErrorData,
  type WireErrorInput,
  type WireErrorName,
} from '../protocol/wire/errors.ts';
