/**
 * The two families of errors. A `WireError` is sent to the peer: its name, code and message come
 * from the registry `spec-schema/draft/errors.json`, and its `data` is typed. A `LocalError` has a
 * string code and is never sent.
 */
import registry from '../../../spec-schema/draft/errors.json' with { type: 'json' };
import type {
  CallbackEndpointErrorData,
  ConflictData,
  ErrorObject,
  ForbiddenData,
  InvalidParamsData,
  NotFoundData,
  ResourceExhaustedData,
  UnsupportedData,
} from '../../../spec-schema/draft/schema.ts';

/** The type of `data` for each name in the registry (SEP: Errors). */
export interface WireErrorData {
  InvalidParams: InvalidParamsData;
  Conflict: ConflictData;
  NotFound: NotFoundData;
  Forbidden: ForbiddenData;
  ResourceExhausted: ResourceExhaustedData;
  Unsupported: UnsupportedData;
  CallbackEndpointError: CallbackEndpointErrorData;
  InternalError: undefined;
}

/**
 * The `data` with which an error is constructed: an error of one `kind` gets it from the registry.
 */
export type WireErrorInput<Name extends WireErrorName> = Name extends
  'InvalidParams' | 'ResourceExhausted' | 'Unsupported' | 'CallbackEndpointError'
  ? Omit<WireErrorData[Name], 'kind'>
  : WireErrorData[Name];

/**
 * A name in the registry `errors.json`. Two of them share the code -32602 and differ in `data.kind`.
 */
export type WireErrorName = keyof WireErrorData;

interface RegistryRow {
  readonly name: string;
  readonly code: number;
  readonly data: string | null;
  readonly kinds: readonly string[];
  readonly messages: Readonly<Record<string, string | undefined>>;
}

const rows = new Map<string, RegistryRow>(
  (registry.errors as readonly RegistryRow[]).map((row) => [row.name, row]),
);

/** Returns the registry's row for a name. */
export function registryRow(name: WireErrorName): RegistryRow {
  const row = rows.get(name);
  if (!row) throw new TypeError(`errors.json has no row "${name}". Add one.`);
  return row;
}

/**
 * An error that is sent to the peer as a JSON-RPC error object. Its `name` is the name in the
 * registry: `if (error instanceof WireError && error.is('Conflict')) error.data.kind`.
 */
export class WireError<Name extends WireErrorName = WireErrorName> extends Error {
  override readonly name: Name;
  /** The JSON-RPC code of the registry's row. */
  readonly code: number;
  /** Typed by `name`; undefined for `InternalError`. */
  readonly data: WireErrorData[Name];

  /**
   * The message comes from the registry, filled in from `data`, unless `options` has the message of
   * a peer.
   */
  constructor(
    name: Name,
    data: WireErrorInput<Name>,
    options?: ErrorOptions & { readonly message?: string },
  ) {
    const row = registryRow(name);
    const complete = withKind(row, data) as WireErrorData[Name];
    super(options?.message ?? render(row, complete), options);
    this.name = name;
    this.code = row.code;
    this.data = complete;
  }

  /** Whether the error has this name; narrows `data` to its type. */
  is<Other extends WireErrorName>(name: Other): this is WireError<Other> {
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-assertion -- two type parameters do not compare
    return (this.name as WireErrorName) === name;
  }

  /** Returns the JSON-RPC error object. It contains only what the registry allows. */
  toErrorObject(): ErrorObject {
    const data: ErrorObject['data'] | undefined = this.data;
    return data === undefined
      ? { code: this.code, message: this.message }
      : { code: this.code, message: this.message, data };
  }
}

/** Adds the `kind` of a row that has only one. */
function withKind(row: RegistryRow, data: object | undefined): object | undefined {
  const [kind, ...others] = row.kinds;
  return kind === undefined || others.length > 0 ? data : { kind, ...data };
}

/** Fills in the row's message for `data.kind`, or its only message if there are no kinds. */
function render(row: RegistryRow, data: WireErrorData[WireErrorName]): string {
  const fields = (data ?? {}) as Readonly<Record<string, unknown>>;
  const template = row.messages[String(fields['kind'])] ?? row.messages['*'];
  if (template === undefined)
    throw new TypeError(`errors.json has no message for ${row.name} with this data. Add one.`);
  return template.replace(/\{(\w+)\}/g, (_, member: string) => String(fields[member]));
}

/**
 * Error `-32602` for invalid params: `path` is a JSON Pointer into them, `expected` a noun phrase.
 * Neither may repeat the invalid value.
 */
export const invalidParams = (path: string, expected: string, options?: ErrorOptions) =>
  new WireError('InvalidParams', { path, expected }, options);
export const conflict = (data: ConflictData) => new WireError('Conflict', data);
export const notFound = (data: NotFoundData) => new WireError('NotFound', data);
export const forbidden = (data: ForbiddenData) => new WireError('Forbidden', data);
export const resourceExhausted = (data: Omit<ResourceExhaustedData, 'kind'>) =>
  new WireError('ResourceExhausted', data);
export const unsupported = (feature: string) => new WireError('Unsupported', { feature });
export const callbackEndpointError = (
  category: CallbackEndpointErrorData['category'],
  options?: ErrorOptions,
) => new WireError('CallbackEndpointError', { category }, options);
/** Error `-32603` with a fixed message. The cause is not sent. */
export const internalError = (cause: unknown) =>
  new WireError('InternalError', undefined, { cause });

/** The condition of a {@link LocalError}; `docs/errors.md` explains each one. */
export type LocalErrorCode =
  /** An option or a configured value is invalid. */
  | 'config_invalid'
  /** A trigger type's JSON Schema is not supported. */
  | 'schema_refused'
  /**
   * A value cannot be sent as JSON: it is nested too deeply, or contains a lone surrogate, a number
   * that is not finite, or a value that JSON does not have, such as a function.
   */
  | 'json_refused'
  /** A secret is not `whsec_` and base64 of 24 to 64 bytes. */
  | 'secret_malformed'
  /** The signature of a webhook or of a server is missing, malformed or does not verify. */
  | 'signature_invalid'
  /** The time of a signature is too long ago or too far in the future. */
  | 'signature_stale'
  /** The token of a callback URL is forged, expired or made for another purpose. */
  | 'token_invalid'
  /** A signature names an unknown key, or the key of a store is missing or wrong. */
  | 'key_unknown'
  /** The quota or the disk is full. The commit was rolled back. */
  | 'store_full'
  /** The data on disk is damaged, or is not a store of this version. */
  | 'store_corrupt'
  /** Another process has the store open. */
  | 'store_locked'
  /** The store failed. The commit was rolled back. */
  | 'store_failed'
  /** Another process took over the store. */
  | 'store_fenced'
  /** The client's ledger cannot be read. */
  | 'ledger_corrupt'
  /** The peer cannot be reached at the moment; a retry may succeed. */
  | 'unreachable'
  /** No trigger type with this name is declared. */
  | 'trigger_unknown'
  /** An event does not match the `payloadSchema` of its trigger type. */
  | 'payload_invalid'
  /** The engine, store, connection or subscription is closed or not open yet. */
  | 'closed'
  /** The server does not support triggers, or the requested drain, method or revision. */
  | 'not_supported'
  /** The subscription ended; `reason` says why. */
  | 'terminated'
  /** The peer violated the protocol. */
  | 'peer_misbehaved'
  /** No answer or heartbeat arrived in time. */
  | 'timeout'
  /** The server rejected the access token. */
  | 'unauthorized';

/**
 * An error that is never sent to the peer. `code` is its condition; `reason` distinguishes conditions
 * with the same code.
 */
export class LocalError extends Error {
  override readonly name = 'LocalError';
  readonly code: LocalErrorCode;
  /** The condition within `code`, for example `no_match` of `signature_invalid`. */
  readonly reason: string | undefined;

  /**
   * `message` says what is wrong and what to do. It never contains a secret, a token or a callback
   * URL.
   */
  constructor(
    code: LocalErrorCode,
    message: string,
    options?: ErrorOptions & { readonly reason?: string },
  ) {
    super(message, options);
    this.code = code;
    this.reason = options?.reason;
  }
}
