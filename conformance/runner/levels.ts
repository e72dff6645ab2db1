/**
 * The levels, options and modules of the specification: which of them a server declares, and which
 * of them a run is about.
 */
import type { Json } from './wire/session.ts';

/** The names of the column `level` in the requirements, in the order of the specification. */
export const LEVELS = [
  'log',
  'stream',
  'callback',
  'durable',
  'conditionalReads',
  'history',
  'multiSelect',
  'dataRef',
  'listChanged',
  'pause',
  'skip',
  'reject',
  'limits',
  'serverIdentity',
  'signedUrls',
  'trace',
  'reservedTypes',
  'degradation',
  'handshake',
] as const;
export type Level = (typeof LEVELS)[number];

/** The revision of the specification that the kit tests. */
export const REVISION = '2026-12-01';

/** Modules that no settings declare: their sentences hold for every peer. */
const ALWAYS: readonly Level[] = ['log', 'signedUrls', 'reservedTypes', 'degradation', 'handshake'];

/** The levels that the settings declare by `levels` and `options`. */
export function declaredLevels(settings: Json): ReadonlySet<Level> {
  const named = [settings?.levels, settings?.options].flatMap((list: unknown) =>
    Array.isArray(list) ? (list as unknown[]) : [],
  );
  return new Set(LEVELS.filter((level) => ALWAYS.includes(level) || named.includes(level)));
}

/** The levels of a comma-separated list. Throws for an unknown name. */
export function readLevels(list: string): ReadonlySet<Level> {
  const names = list.split(',').map((name) => name.trim());
  return new Set(
    names.map((name) => {
      const level = LEVELS.find((known) => known === name);
      if (level === undefined)
        throw new Error(`"${name}" is not a level. Use some of: ${LEVELS.join(', ')}.`);
      return level;
    }),
  );
}
