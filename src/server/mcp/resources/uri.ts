/**
 * The URIs of feeds: parsing, formatting, and the templates that describe them (RFC 6570). The
 * authority is fixed, and every variable is in the path or the query, because other programs may
 * change an authority to lower case.
 *
 * ```
 * triggers://feeds/{name}{?argument,…,after}          the caller's events of one trigger type
 * triggers://subscriptions/{subscriptionId}{?after}   a subscription that the caller made
 * ```
 */
import type { JsonObject, Position, TriggerType } from '../../../../spec-schema/draft/schema.ts';
import { invalidParams } from '../../../protocol/wire/errors.ts';
import { inspectJson } from '../../../protocol/wire/json.ts';

const SCHEME = 'triggers://';
const FEEDS = `${SCHEME}feeds/`;
const SUBSCRIPTIONS = `${SCHEME}subscriptions/`;
/** The longest URI that is parsed, in characters: far longer than people or models write. */
const URI_CHARS_MAX = 8192;

/**
 * A parsed URI. The variables of a feed are still text; {@link readArguments} converts them, for
 * which it needs the trigger type.
 */
export type FeedUri =
  | {
      readonly kind: 'feed';
      readonly name: string;
      readonly variables: ReadonlyMap<string, string>;
      readonly after: Position | null;
    }
  | {
      readonly kind: 'subscription';
      readonly subscriptionId: string;
      readonly after: Position | null;
    };

/**
 * Whether a URI has the scheme of feeds, even if it is malformed. All other URIs belong to the
 * application.
 */
export const isFeedUri = (uri: string): boolean => uri.startsWith(SCHEME);

const invalidUri = (expected: string) => invalidParams('/uri', expected);

const SEGMENT = /^(?:[A-Za-z0-9._~!$&'()*,;=:@-]|%[0-9A-Fa-f]{2})+$/;
/**
 * The characters of a query (RFC 3986) without the separators `&` and `#`, and without `+`, which
 * some programs write for a space.
 */
const QUERY_TEXT = /^(?:[A-Za-z0-9._~!$'()*,;:@/?=-]|%[0-9A-Fa-f]{2})*$/;
const POSITION = /^([A-Za-z0-9_-]{8,64})\.(0|[1-9][0-9]{0,15})$/;
const SUBSCRIPTION_ID = /^[A-Za-z0-9_-]{22,128}$/;

/** Parses a URI. Throws `WireError` `InvalidParams` for `/uri`. */
export function parseFeedUri(uri: string): FeedUri {
  if (uri.length > URI_CHARS_MAX) throw invalidUri(`a URI of at most ${URI_CHARS_MAX} characters`);
  const [path = '', ...rest] = uri.split('?');
  const variables = rest.length === 0 ? new Map<string, string>() : readQuery(rest.join('?'));
  const after = readAfter(variables.get('after'));
  variables.delete('after');
  if (path.startsWith(FEEDS))
    return { kind: 'feed', name: decode(path.slice(FEEDS.length), SEGMENT), variables, after };
  if (path.startsWith(SUBSCRIPTIONS)) {
    const subscriptionId = path.slice(SUBSCRIPTIONS.length);
    if (!SUBSCRIPTION_ID.test(subscriptionId))
      throw invalidUri(`${SUBSCRIPTIONS} followed by a subscriptionId`);
    if (variables.size > 0) throw invalidUri('no variable but "after"');
    return { kind: 'subscription', subscriptionId, after };
  }
  throw invalidUri(`${FEEDS}… or ${SUBSCRIPTIONS}…`);
}

function readQuery(query: string): Map<string, string> {
  const variables = new Map<string, string>();
  for (const pair of query.split('&')) {
    const equals = pair.indexOf('=');
    if (equals < 1) throw invalidUri('a query of the form name=value&name=value');
    const name = decode(pair.slice(0, equals), QUERY_TEXT);
    if (variables.has(name)) throw invalidUri('each variable at most once');
    variables.set(name, decode(pair.slice(equals + 1), QUERY_TEXT));
  }
  return variables;
}

function decode(text: string, allowed: RegExp): string {
  try {
    if (allowed.test(text)) return decodeURIComponent(text);
  } catch {
    // Not UTF-8: rejected below, like any other encoding error.
  }
  throw invalidUri('everything but letters, digits and "-._~" percent-encoded as UTF-8 (RFC 3986)');
}

function readAfter(text: string | undefined): Position | null {
  if (text === undefined) return null;
  const [, epoch, digits] = POSITION.exec(text) ?? [];
  const sequence = Number(digits);
  if (epoch === undefined || !Number.isSafeInteger(sequence))
    throw invalidUri('"after" copied from the "next" of a page, or no "after"');
  return { epoch, sequence };
}

const afterText = ({ epoch, sequence }: Position): string => `${epoch}.${sequence}`;

/* ------------------------------------------------------------------------------------------------ arguments */

/**
 * The variable `after` is the position. An argument with this name therefore has the variable
 * `_after`; an argument `_after` has `__after`, and so on, so that all stay distinct.
 */
const AFTER_LIKE = /^_*after$/;
const variableOf = (property: string): string =>
  AFTER_LIKE.test(property) ? `_${property}` : property;

/** The variable of a URI for one argument of a trigger type. */
export interface FeedVariable {
  readonly property: string;
  readonly variable: string;
  /** `text` = the string itself; `json` = the value as JSON, with strings in quotes. */
  readonly written: 'text' | 'json';
}

/** One variable for every top-level property of a type's `inputSchema`, in the same order. */
export function feedVariables({ inputSchema }: Pick<TriggerType, 'inputSchema'>): FeedVariable[] {
  const properties: unknown = inputSchema['properties'];
  if (typeof properties !== 'object' || properties === null) return [];
  // A variable needs a name, so an argument named "" can only be passed to `triggers/subscribe`.
  return Object.entries(properties)
    .filter(([property]) => property !== '')
    .map(([property, schema]) => ({
      property,
      variable: variableOf(property),
      written: isText(schema) ? 'text' : 'json',
    }));
}

/** Whether the schema's own keywords allow only strings. References are not followed. */
function isText(schema: unknown): boolean {
  if (typeof schema !== 'object' || schema === null) return false;
  const { type, const: only, enum: some } = schema as JsonObject;
  return (
    type === 'string' ||
    typeof only === 'string' ||
    (Array.isArray(some) && some.length > 0 && some.every((one) => typeof one === 'string'))
  );
}

/**
 * Converts the variables of a feed into arguments. Throws `WireError` `InvalidParams` for `/uri`.
 */
export function readArguments(
  type: Pick<TriggerType, 'inputSchema'>,
  variables: ReadonlyMap<string, string>,
): JsonObject {
  const known = new Map(feedVariables(type).map((one) => [one.variable, one]));
  return Object.fromEntries(
    [...variables].map(([variable, text]) => {
      const one = known.get(variable);
      if (one === undefined)
        throw invalidUri(
          known.size === 0
            ? 'no variable but "after"'
            : `no variables but ${[...known.keys(), 'after'].map((name) => JSON.stringify(name)).join(', ')}`,
        );
      return [one.property, one.written === 'text' ? text : readJson(variable, text)];
    }),
  );
}

function readJson(variable: string, text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    if (inspectJson(value) === null) return value;
  } catch {
    // Reported below without the parser's message, which quotes the input.
  }
  throw invalidUri(`${JSON.stringify(variable)} as JSON text, with strings in quotes`);
}

/* ------------------------------------------------------------------------------------------------- writing */

/** `encodeURIComponent` does not encode five characters that RFC 6570 encodes. */
const encode = (text: string): string =>
  encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );

const withQuery = (
  path: string,
  pairs: readonly (readonly [name: string, value: string])[],
  after: Position | null,
): string => {
  const all = after === null ? pairs : [...pairs, ['after', afterText(after)] as const];
  return all.length === 0
    ? path
    : `${path}?${all.map(([name, value]) => `${encode(name)}=${encode(value)}`).join('&')}`;
};

/**
 * The canonical URI of a feed; null = the arguments cannot be written as variables, because the
 * type's `inputSchema` does not name one of them, or allows only strings for one that is not a
 * string.
 */
export function feedUri(
  type: Pick<TriggerType, 'name' | 'inputSchema'>,
  args: Readonly<JsonObject>,
  after: Position | null,
): string | null {
  const variables = feedVariables(type).filter(({ property }) => Object.hasOwn(args, property));
  if (variables.length !== Object.keys(args).length) return null;
  const pairs: (readonly [string, string])[] = [];
  for (const { property, variable, written } of variables) {
    const value = args[property];
    if (written === 'text' && typeof value !== 'string') return null;
    pairs.push([variable, written === 'text' ? (value as string) : JSON.stringify(value)]);
  }
  return withQuery(`${FEEDS}${encode(type.name)}`, pairs, after);
}

/** The URI of a subscription. */
export const subscriptionUri = (subscriptionId: string, after: Position | null): string =>
  withQuery(`${SUBSCRIPTIONS}${subscriptionId}`, [], after);

/** Removes the variable `after` from a URI and changes nothing else. */
export function withoutAfter(uri: string): string {
  const [path = '', ...rest] = uri.split('?');
  const pairs = rest
    .join('?')
    .split('&')
    .filter((pair) => pair !== '' && !pair.startsWith('after='));
  return pairs.length === 0 ? path : `${path}?${pairs.join('&')}`;
}

/** The template of a trigger type's feeds. */
export const feedTemplate = (type: Pick<TriggerType, 'name' | 'inputSchema'>): string =>
  `${FEEDS}${encode(type.name)}{?${[...feedVariables(type).map(({ variable }) => encode(variable)), 'after'].join(',')}}`;

/** The template of the caller's subscriptions. */
export const SUBSCRIPTION_TEMPLATE = `${SUBSCRIPTIONS}{subscriptionId}{?after}`;
