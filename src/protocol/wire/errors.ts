/**
 * The two families of errors. A `WireError` crosses the wire: its name, code and message come from the registry
 * `spec-schema/draft/errors.json` and its `data` is typed. A `LocalError` carries a string code and never crosses it.
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

/** `data` by registry name (SEP: Errors). */
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

/** A name of the registry `errors.json`; two of them share the code -32602 and differ in `data.kind`. */
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

/** The registry's row of a name. */
export function registryRow(name: WireErrorName): RegistryRow {
  const row = rows.get(name);
  if (!row) throw new TypeError(`errors.json has no row "${name}"`);
  return row;
}

/**
 * An error that the peer gets to see, as a JSON-RPC error object. `error.name` is the registry's name:
 * `if (error instanceof WireError && error.is('Conflict')) error.data.kind`.
 */
export class WireError<Name extends WireErrorName = WireErrorName> extends Error {
  override readonly name: Name;
  /** The JSON-RPC code of the registry's row. */
  readonly code: number;
  /** Typed by `name`; undefined for `InternalError`. */
  readonly data: WireErrorData[Name];

  /** The message is the registry's own, filled from `data`, unless `options` has another (a peer's words). */
  constructor(
    name: Name,
    data: WireErrorData[Name],
    options?: ErrorOptions & { readonly message?: string },
  ) {
    const row = registryRow(name);
    super(options?.message ?? render(row, data), options);
    this.name = name;
    this.code = row.code;
    this.data = data;
  }

  /** Narrows to one row of the registry, and with it the type of `data`. */
  is<Other extends WireErrorName>(name: Other): this is WireError<Other> {
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-assertion -- two type parameters do not compare
    return (this.name as WireErrorName) === name;
  }

  /** The JSON-RPC error object. Holds nothing but what the registry allows. */
  toErrorObject(): ErrorObject {
    const data: ErrorObject['data'] | undefined = this.data;
    return data === undefined
      ? { code: this.code, message: this.message }
      : { code: this.code, message: this.message, data };
  }
}

/** Fills a registry template: the row's message for `data.kind`, or the only one. */
function render(row: RegistryRow, data: WireErrorData[WireErrorName]): string {
  const fields = (data ?? {}) as Readonly<Record<string, unknown>>;
  const template = row.messages[String(fields['kind'])] ?? row.messages['*'];
  if (template === undefined)
    throw new TypeError(`errors.json has no message for ${row.name} with this data`);
  return template.replace(/\{(\w+)\}/g, (_, member: string) => String(fields[member]));
}

/** `-32602`: `path` is a JSON Pointer into params, `expected` a noun phrase; neither may repeat the offending value. */
export const invalidParams = (path: string, expected: string, options?: ErrorOptions) =>
  new WireError('InvalidParams', { kind: 'invalid', path, expected }, options);
export const conflict = (data: ConflictData) => new WireError('Conflict', data);
export const notFound = (data: NotFoundData) => new WireError('NotFound', data);
export const forbidden = (data: ForbiddenData) => new WireError('Forbidden', data);
export const resourceExhausted = (data: ResourceExhaustedData) =>
  new WireError('ResourceExhausted', data);
export const unsupported = (feature: string) => new WireError('Unsupported', { feature });
export const callbackEndpointError = (
  reason: CallbackEndpointErrorData['reason'],
  options?: ErrorOptions,
) => new WireError('CallbackEndpointError', { reason }, options);
/** `-32603`, always the same text. The cause stays inside. */
export const internalError = (cause: unknown) =>
  new WireError('InternalError', undefined, { cause });

/** What went wrong on this side, one code per condition; `docs/errors.md` says what to do about each. */
export type LocalErrorCode =
  /** An option or a configured value makes no sense. */
  | 'config_invalid'
  /** A trigger type's JSON Schema is outside what is accepted. */
  | 'schema_refused'
  /** A value cannot be sent as JSON: too deep, a lone surrogate, not finite, not data. */
  | 'json_refused'
  /** Not `whsec_` and base64 of 24 to 64 bytes. */
  | 'secret_malformed'
  /** A webhook or server signature is missing, malformed or does not verify. */
  | 'signature_invalid'
  /** Signed too long ago, or too far in the future. */
  | 'signature_stale'
  /** A callback URL's token is forged, expired or meant for something else. */
  | 'token_invalid'
  /** A signature names a key that is not among the trusted ones, or the key of a store is missing or another one. */
  | 'key_unknown'
  /** The quota or the disk is used up. Nothing of the commit was kept. */
  | 'store_full'
  /** What is on the disk is damaged, or is no store of this version. */
  | 'store_corrupt'
  /** Another process has the store open. */
  | 'store_locked'
  /** The store could not do it; nothing of the commit was kept. */
  | 'store_failed'
  /** Another process has taken the store over. */
  | 'store_fenced'
  /** The client's own record of positions cannot be read. */
  | 'ledger_corrupt'
  /** The peer cannot be reached at the moment: worth another try. */
  | 'unreachable'
  /** No trigger type of this name is declared. */
  | 'trigger_unknown'
  /** An event does not fit its trigger type's payloadSchema. */
  | 'payload_invalid'
  /** Engine, store, connection or subscription is closed, or was not opened yet. */
  | 'closed'
  /** The server has no triggers, or not the drain, method or revision that was asked for. */
  | 'not_supported'
  /** The subscription has ended for good; `reason` says why. */
  | 'terminated'
  /** The peer broke the protocol. */
  | 'peer_misbehaved'
  /** No answer, or no heartbeat, in time. */
  | 'timeout'
  /** The server refused the access token. */
  | 'unauthorized';

/** An error of this side only. `reason` narrows the code where a caller may want to count or test it. */
export class LocalError extends Error {
  override readonly name = 'LocalError';
  readonly code: LocalErrorCode;
  /** A finer discriminator within `code`, for example `no_match` of `signature_invalid`. */
  readonly reason: string | undefined;

  /** `message` says what was wrong and what to do, and never contains a secret, a token or a callback URL. */
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
