/**
 * The wire types and constants alone, and `check` to validate a value against the published `schema.json` by the name of its
 * type: for peers in TypeScript that want the protocol and nothing of this implementation.
 *
 * @packageDocumentation
 */
export * from './protocol/wire/schema.ts';
export { check, type Checked, type Complaint, type WireTypes } from './protocol/wire/validate.ts';
