/**
 * The wire types of the Triggers extension, revision `draft`.
 *
 * This file is written by hand. `schema.json` is generated from it; the library and the tests of `examples/` validate
 * with the generated file. The prose and the requirements are in `sep/0000-triggers.md`.
 *
 * Conventions: instants are RFC 3339 strings in UTC with milliseconds. Durations are whole milliseconds, and their
 * names end in `Ms`. Counts are integers. Members that are not declared here are allowed and ignored, unless stated
 * otherwise.
 */
/* ------------------------------------------------------------------ identifiers ------------------------------------------------------------------ */
/** The extension identifier under which both peers declare the capability. */
export const EXTENSION_ID = 'io.modelcontextprotocol/triggers';
/** The revision of this schema and of the specification. A peer does not use one that it does not know. */
export const REVISION = '2026-12-01';
/** The `_meta` key by which a notification names its `triggers/stream` request, as for `subscriptions/listen`. */
export const SUBSCRIPTION_ID_META_KEY = 'io.modelcontextprotocol/subscriptionId';
//# sourceMappingURL=schema.js.map