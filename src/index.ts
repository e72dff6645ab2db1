/**
 * The vocabulary that every side of the extension shares: wire types, names and numbers of the protocol, and the families of
 * errors. Servers import `./server`, clients `./client`, callback endpoints `./receiver`; all of them speak in these terms.
 *
 * @packageDocumentation
 */
export * from './wire/schema.ts';

export { LocalError, WireError, type LocalErrorCode, type WireErrorData, type WireErrorName } from './wire/errors.ts';
export { RemoteError } from './wire/remote-error.ts';
export { check, type Checked, type Complaint, type WireTypes } from './wire/validate.ts';
export { capabilityOf } from './wire/capability.ts';
