/**
 * For MCP servers that offer triggers: declare trigger types, create an engine over a store, attach it to an SDK server, emit.
 *
 * ```ts
 * const engine = createEngine({ store: openSqliteStore({ path: 'triggers.db', key }), triggers: [orderPaid] });
 * await engine.start();
 * attachTriggers(mcp, engine, { drains: ['callback', 'stream', 'pull'], durability: 'durable' });
 * await engine.emit(orderPaid.event({ eventId: 'pay_1', data }));
 * ```
 *
 * @packageDocumentation
 */
export { attachTriggers, type AttachOptions } from './bindings/mcp.ts';
export { callerOf, principalOf, LOCAL_PRINCIPAL, type RequestIdentity } from './bindings/principal.ts';
export { defineTrigger, type SchemaOf, type SelfDescribing, type Trigger, type TriggerDefinition } from './bindings/define-trigger.ts';
