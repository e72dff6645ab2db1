/**
 * Public subpath `./schema`: the wire types and constants, and `check` to validate a value against the published
 * `schema.json` by the name of its type.
 */
export * from './wire/schema.ts';
export { check, type Checked, type Complaint, type WireTypes } from './wire/validate.ts';
