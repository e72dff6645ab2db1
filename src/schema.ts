/**
 * The wire types and constants, and `check`, which validates a value against a type of the
 * published `schema.json`. For TypeScript peers that do not use the servers, clients and receivers
 * of this package.
 *
 * @packageDocumentation
 */
export * from './protocol/wire/schema.ts';
export { check, type Checked, type Complaint, type WireTypes } from './protocol/wire/validate.ts';
