/**
 * The vocabulary that every side of the extension shares: wire types, names and numbers of the protocol, and the families of
 * errors. Servers import `./server`, clients `./client`, callback endpoints `./receiver`; all of them speak in these terms.
 *
 * @packageDocumentation
 */
export * from './protocol/wire/schema.ts';

export {
  LocalError,
  WireError,
  type LocalErrorCode,
  type WireErrorData,
  type WireErrorName,
} from './protocol/wire/errors.ts';
export { RemoteError } from './protocol/wire/remote-error.ts';
export { check, type Checked, type Complaint, type WireTypes } from './protocol/wire/validate.ts';
export { capabilityOf } from './protocol/wire/capability.ts';
