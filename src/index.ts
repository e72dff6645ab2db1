/**
 * The part that servers, clients and receivers share: wire types, constants of the protocol, and
 * errors. Servers import `./server`, clients `./client`, callback endpoints `./receiver`.
 *
 * @packageDocumentation
 */
export * from './protocol/wire/schema.ts';

export {
  LocalError,
  WireError,
  type LocalErrorCode,
  type WireErrorData,
  type WireErrorInput,
  type WireErrorName,
} from './protocol/wire/errors.ts';
export { RemoteError } from './protocol/wire/remote-error.ts';
export { check, type Checked, type Complaint, type WireTypes } from './protocol/wire/validate.ts';
export { capabilityOf } from './protocol/wire/capability.ts';
