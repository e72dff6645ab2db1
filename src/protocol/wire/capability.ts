/**
 * Where the extension's settings travel: under `extensions` from revision 2026-07-28 on, under `experimental` on the handshake
 * revisions before it (SEP: Capability). Written to the place, or places, that fit; read from wherever the peer put it.
 */
import { EXTENSION_ID, type ServerCapability } from '../../../spec-schema/draft/schema.ts';
import { LocalError } from './errors.ts';
import { check } from './validate.ts';

/** The first revision whose capabilities have `extensions`. Revisions are dates: they compare as text. */
export const FIRST_EXTENSIONS_REVISION = '2026-07-28';

type Place = 'extensions' | 'experimental';
type Capabilities = Readonly<Record<string, unknown>>;

function placesOf(protocolVersion: string | undefined): Place[] {
  if (protocolVersion === undefined) return ['extensions', 'experimental'];
  return protocolVersion >= FIRST_EXTENSIONS_REVISION ? ['extensions'] : ['experimental'];
}

/**
 * The peer server's settings, or null when it does not have the extension. The revision's own place comes first, the other
 * one counts too. Throws `LocalError` `peer_misbehaved` when there are settings and they are not valid.
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
    const checked = check('ServerCapability', settings);
    if (checked.ok) return checked.value;
    throw new LocalError(
      'peer_misbehaved',
      `The server's settings for ${EXTENSION_ID} are not valid: expected ${checked.expected} at "${checked.path}".`,
      { reason: 'capability' },
    );
  }
  return null;
}

/** The same capabilities with the settings in place: for one revision, or for both eras when none is given. */
export function placeCapability<T extends Capabilities>(
  capabilities: T,
  settings: ServerCapability,
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
