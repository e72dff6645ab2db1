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

/** Modules that no settings declare: their sentences hold for every peer. */
const ALWAYS: readonly Level[] = ['log', 'signedUrls', 'reservedTypes', 'degradation', 'handshake'];

/** Options that build on another level. */
const ON_TOP: Readonly<Partial<Record<Level, Level>>> = {
  listChanged: 'stream',
  pause: 'callback',
  skip: 'callback',
  reject: 'callback',
  limits: 'callback',
  serverIdentity: 'callback',
};

/** Options that a server of revision 1 declares by other members than `options`. */
const SIGNS: Readonly<Partial<Record<Level, (settings: Json) => boolean>>> = {
  stream: ({ drains }) => drains?.includes('stream') === true,
  callback: ({ drains }) => drains?.includes('callback') === true,
  durable: ({ durability }) => durability === 'durable',
  listChanged: ({ listChanged }) => listChanged === true,
  serverIdentity: ({ jwksUri }) => jwksUri !== undefined,
};

/**
 * The levels that the settings declare: by `levels` and `options`, or in revision 1 by `drains`,
 * `durability`, `listChanged` and `jwksUri`. An option that revision 1 has no member for is part of
 * its level.
 */
export function declaredLevels(settings: Json): ReadonlySet<Level> {
  if (Array.isArray(settings?.levels)) {
    const named: readonly unknown[] = [...settings.levels, ...(settings.options ?? [])];
    return new Set(LEVELS.filter((level) => ALWAYS.includes(level) || named.includes(level)));
  }
  const declares = (level: Level): boolean => {
    const base = ON_TOP[level];
    return (SIGNS[level]?.(settings ?? {}) ?? true) && (base === undefined || declares(base));
  };
  return new Set(LEVELS.filter(declares));
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
