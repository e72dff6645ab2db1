/**
 * Reads and writes the extension's settings in capabilities. Their place is `extensions` since
 * revision 2026-07-28, and `experimental` before (SEP: Settings). Writes to the place of the
 * revision; reads from either.
 */
import {
  EXTENSION_ID,
  REVISION,
  type ClientCapability,
  type Drain,
  type Level,
  type Option,
  type ServerCapability,
} from '../../../spec-schema/draft/schema.ts';
import { LocalError } from './errors.ts';
import { check } from './validate.ts';

/**
 * The first MCP revision whose capabilities have `extensions`. Revisions are dates, which compare as
 * text.
 */
export const FIRST_EXTENSIONS_REVISION = '2026-07-28';

type Place = 'extensions' | 'experimental';
type Capabilities = Readonly<Record<string, unknown>>;

function placesOf(protocolVersion: string | undefined): Place[] {
  if (protocolVersion === undefined) return ['extensions', 'experimental'];
  return protocolVersion >= FIRST_EXTENSIONS_REVISION ? ['extensions'] : ['experimental'];
}

/** The level that offers each drain (SEP: Settings). */
const LEVEL_OF: Readonly<Record<Drain, Level>> = {
  pull: 'log',
  stream: 'stream',
  callback: 'callback',
};

/** Whether a server with these settings offers the drain. */
export const offersDrain = ({ levels }: ServerCapability, drain: Drain): boolean =>
  levels.includes(LEVEL_OF[drain]);

/** The promise of a server about a crash: without the level `durable` it may lose its logs. */
export const durabilityOf = ({ levels }: ServerCapability): 'durable' | 'volatile' =>
  levels.includes('durable') ? 'durable' : 'volatile';

/**
 * Returns the server's settings; null if it does not have the extension in a revision that this
 * implementation knows. The place of the MCP revision takes precedence. Throws `LocalError`
 * `peer_misbehaved` if the settings are not valid.
 */
export function capabilityOf(
  capabilities: object | null | undefined,
  protocolVersion?: string,
): ServerCapability | null {
  const own = placesOf(protocolVersion);
  const order = [...own, ...placesOf(undefined).filter((place) => !own.includes(place))];
  for (const place of order) {
    const settings = member(member(capabilities, place), EXTENSION_ID);
    if (settings === undefined) continue;
    if (member(settings, 'revision') !== REVISION) return null;
    const checked = check('ServerCapability', settings);
    if (!checked.ok) throw invalidSettings(checked.expected, checked.path);
    if (!checked.value.levels.includes('log')) throw invalidSettings('"log" among them', '/levels');
    return checked.value;
  }
  return null;
}

/**
 * The options that a client declares in its own settings, in the place of any MCP revision. Settings
 * that are not valid declare none: a server serves a client without them.
 */
export function clientOptionsOf(capabilities: unknown): readonly Option[] {
  for (const place of placesOf(undefined)) {
    const settings = member(member(capabilities, place), EXTENSION_ID);
    const checked = check('ClientCapability', settings);
    if (settings !== undefined && checked.ok) return checked.value.options ?? [];
  }
  return [];
}

const invalidSettings = (expected: string, path: string): LocalError =>
  new LocalError(
    'peer_misbehaved',
    `The server's settings for ${EXTENSION_ID} are not valid: expected ${expected} at "${path}". Report this to the operator of the server.`,
    { reason: 'capability' },
  );

/**
 * Returns the capabilities with the settings added: for one revision, or without `protocolVersion`
 * for all of them.
 */
export function placeCapability<T extends Capabilities>(
  capabilities: T,
  settings: ServerCapability | ClientCapability,
  protocolVersion?: string,
): T {
  const added = placesOf(protocolVersion).map((place) => [
    place,
    { ...(capabilities[place] as object | undefined), [EXTENSION_ID]: settings },
  ]);
  return { ...capabilities, ...Object.fromEntries(added) };
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}
