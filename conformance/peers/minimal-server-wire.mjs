// Pure functions of the minimal server, in plain JavaScript: validation against the published schema,
// errors of the published registry and the granted lifetime. The vectors test them.
// They read `spec-schema`, as any port would.
import { createHash, createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';

const spec = (file) =>
  JSON.parse(readFileSync(new URL(`../../spec-schema/draft/${file}`, import.meta.url), 'utf8'));
const { $defs } = spec('schema.json');
const { errors: registry } = spec('errors.json');

/* ------------------------------------------------------------ shapes */

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const TYPES = {
  object: isObject,
  array: Array.isArray,
  null: (value) => value === null,
  integer: Number.isInteger,
  number: Number.isFinite,
  string: (value) => typeof value === 'string',
  boolean: (value) => typeof value === 'boolean',
};
const lengthOf = (value) => (typeof value === 'string' ? [...value].length : value.length);

/** Keywords for one value. Each returns true, or a description of what it expects. */
const KEYWORDS = {
  type: (want, value) => TYPES[want](value) || `type ${want}`,
  const: (want, value) => value === want || JSON.stringify(want),
  enum: (want, value) => want.includes(value) || `one of ${want.join(', ')}`,
  pattern: (want, value) =>
    typeof value !== 'string' ||
    new RegExp(want, 'u').test(value) ||
    `a string that matches ${want}`,
  minimum: (want, value) => typeof value !== 'number' || value >= want || `at least ${want}`,
  maximum: (want, value) => typeof value !== 'number' || value <= want || `at most ${want}`,
  minLength: (want, value) =>
    typeof value !== 'string' || lengthOf(value) >= want || `at least ${want} characters`,
  maxLength: (want, value) =>
    typeof value !== 'string' || lengthOf(value) <= want || `at most ${want} characters`,
  minItems: (want, value) =>
    !Array.isArray(value) || lengthOf(value) >= want || `at least ${want} items`,
  maxItems: (want, value) =>
    !Array.isArray(value) || lengthOf(value) <= want || `at most ${want} items`,
};
const pointer = (path, name) =>
  `${path}/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`;

/**
 * Validates a value. Returns null, or the first error as `{ path, expected }`, where `path` is a JSON
 * Pointer. It implements the part of JSON Schema 2020-12 that `schema.json` and the trigger types
 * here use; a server with other types needs a full validator.
 */
export function violation(schema, value, path = '') {
  if (schema.$ref !== undefined)
    return violation($defs[schema.$ref.slice('#/$defs/'.length)], value, path);
  for (const [keyword, validate] of Object.entries(KEYWORDS)) {
    const expected = schema[keyword] === undefined || validate(schema[keyword], value);
    if (expected !== true) return { path, expected };
  }
  if (schema.anyOf !== undefined) {
    const violations = schema.anyOf.map((one) => violation(one, value, path));
    // Report the branch whose error is deepest.
    if (!violations.includes(null))
      return violations.reduce((best, one) => (one.path.length > best.path.length ? one : best));
  }
  if (Array.isArray(value) && schema.items !== undefined)
    return firstOf(value.entries(), (at, item) => violation(schema.items, item, pointer(path, at)));
  if (!isObject(value)) return null;
  const missing = (schema.required ?? []).find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) return { path, expected: `a member ${missing}` };
  return firstOf(Object.entries(value), (name, member) => {
    if (Object.hasOwn(schema.properties ?? {}, name))
      return violation(schema.properties[name], member, pointer(path, name));
    return schema.additionalProperties === false
      ? { path, expected: `no other members than ${Object.keys(schema.properties).join(', ')}` }
      : null;
  });
}

function firstOf(entries, look) {
  for (const [name, value] of entries) {
    const found = look(name, value);
    if (found !== null) return found;
  }
  return null;
}

/** Params that exclude another one, which they stand in for. */
const INSTEAD_OF = { noExpiry: 'ttlMs', removeCallback: 'callback' };

/** Throws `InvalidParams` unless these are valid params of the method. */
export function requireParams(method, params) {
  const name = method.slice('triggers/'.length);
  const type = name === 'list' ? 'ListTriggers' : name[0].toUpperCase() + name.slice(1);
  const wrong = violation($defs[`${type}RequestParams`], params);
  if (wrong !== null) throw new WireError('InvalidParams', { kind: 'invalid', ...wrong });
  for (const [one, other] of Object.entries(INSTEAD_OF))
    if (params[one] !== undefined && params[other] !== undefined)
      throw invalid(`/${one}`, `no ${one} beside ${other}`);
  if (!isJson(params)) throw invalid('', 'finite numbers and strings without lone surrogates');
  if (params.callback && keyOf(params.callback.secret) === null)
    throw invalid('/callback/secret', 'whsec_ and the base64 of 24 to 64 bytes');
}

/* ------------------------------------------------------------ errors */

/**
 * A JSON-RPC error by its name in the registry. Code and text come from there, so that no request
 * value can enter them.
 */
export class WireError extends Error {
  constructor(name, data) {
    const { code, kinds, messages } = registry.find((row) => row.name === name);
    const complete = kinds.length === 1 ? { kind: kinds[0], ...data } : data;
    super(
      (messages[complete?.kind] ?? messages['*']).replaceAll(
        /\{(\w+)\}/g,
        (_, member) => complete[member],
      ),
    );
    this.error = {
      code,
      message: this.message,
      ...(complete === undefined ? {} : { data: complete }),
    };
  }
}
export const invalid = (path, expected) => new WireError('InvalidParams', { path, expected });

/* ------------------------------------------------------------ values and grants */

const LIFETIME_MAX_MS = $defs.LifetimeMs.maximum;

/** Whether JSON can write the value again: a parser turns `1e400` into a number that it cannot. */
function isJson(value) {
  if (typeof value === 'string') return value.isWellFormed();
  if (typeof value === 'number') return Number.isFinite(value);
  return Object.entries(value ?? {}).every(([name, member]) => isJson(name) && isJson(member));
}

/** The selections, with `{}` for absent arguments. */
export const normal = (select) =>
  select.map(({ name, arguments: given = {} }) => ({ name, arguments: given }));
export const digest = (value) =>
  createHash('sha256').update(JSON.stringify(value)).digest('base64url');

/**
 * The granted `ttlMs`; undefined = no expiry. Without `ttlMs` and `noExpiry`, the client suggests
 * nothing.
 */
export function grant({ ttlMs, noExpiry }, { minMs = 1, maxMs, defaultMs, allowNoExpiry }) {
  if (noExpiry) return allowNoExpiry ? undefined : maxMs;
  return Math.min(Math.max(ttlMs ?? defaultMs, minMs), maxMs ?? LIFETIME_MAX_MS);
}

/* ------------------------------------------------------------ deliveries */

/** The highest sequence number that a delivery covers. */
export const lastOf = ({ afterSequence, events, gaps = [] }) =>
  Math.max(afterSequence, events.at(-1)?.sequence ?? 0, gaps.at(-1)?.to ?? 0);

/** The `webhook-id` of a delivery that covers a sequence number. */
export function webhookId(subscriptionId, epoch, afterSequence, last, gaps) {
  const fields = [
    subscriptionId,
    epoch,
    afterSequence,
    last,
    gaps.map(({ from, to }) => `${from}-${to}`).join(),
  ];
  return `msg_${createHash('sha256').update(fields.join('\n')).digest('base64url').slice(0, 32)}`;
}

/* ------------------------------------------------------------ callbacks */

/**
 * The bytes of a secret, or null when it is malformed. Encodes the bytes again and compares the
 * result with the secret, because the decoder accepts malformed base64.
 */
export function keyOf(secret) {
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  return `whsec_${key.toString('base64')}` === secret && key.length >= 24 && key.length <= 64
    ? key
    : null;
}
export const hmac = (secret, content) =>
  createHmac('sha256', keyOf(secret)).update(content).digest('base64');
