/** The wire layer, named one by one: bytes to values and values to bytes. */
export {
  CALLBACK_TOKEN_PARAMETER,
  mintCallbackUrl,
  verifyCallbackUrl,
  type MintOptions,
  type TokenRefusal,
  type VerifyOptions,
} from './callback-url.ts';
export {
  canonicalJson,
  randomWebhookId,
  sameSelect,
  subscriptionKey,
  webhookId,
  type DeliveryRange,
} from './canonical.ts';
export { capabilityOf, FIRST_EXTENSIONS_REVISION, placeCapability } from './capability.ts';
export {
  deliveryKey,
  deliverySignatureHead,
  generateDeliveryKey,
  publicJwks,
  signDelivery,
  urlBinding,
  verifyDelivery,
  type DeliveryKey,
  type DeliveryKeyLookup,
  type DeliveryRefusal,
  type PublicDeliveryJwk,
} from './delivery-jws.ts';
export {
  acceptDelivery,
  coverage,
  decodeDelivery,
  DELIVERY_METHOD,
  encodeDelivery,
  encodeDeliveryNotification,
  encodeEvent,
  eventWithSequence,
  LIST_CHANGED_METHOD,
  type DeliveryHead,
  type UnnumberedEvent,
} from './envelope.ts';
export {
  callbackEndpointError,
  conflict,
  forbidden,
  internalError,
  invalidParams,
  LocalError,
  notFound,
  resourceExhausted,
  unsupported,
  WireError,
  type LocalErrorCode,
  type WireErrorData,
  type WireErrorName,
} from './errors.ts';
export * as headers from './headers.ts';
export { readHeader, type HeadersLike } from './headers.ts';
export { inspectJson, parseJson, writeJson } from './json.ts';
export * as limits from './limits.ts';
export { fromErrorObject, RemoteError } from './remote-error.ts';
export { EXTENSION_ID, SUBSCRIPTION_ID_META_KEY } from './schema.ts';
export { Secret } from './secret.ts';
export {
  challengeProof,
  isChallengeProof,
  signWebhook,
  verifyWebhook,
  type SignatureRefusal,
} from './signature.ts';
export { compileUserSchema, type UserValidator } from './user-schema.ts';
export {
  check,
  parseParams,
  type Checked,
  type Complaint,
  type ParamsName,
  type WireTypes,
} from './validate.ts';
