/** The table of rungs, best first (SEP: When a peer lacks the extension). */
import { eventsMode } from './events/mode.ts';
import { listenMode } from './stock/listen.ts';
import { readMode } from './stock/read.ts';
import { toolMode } from './stock/tool.ts';
import type { Mode, ModeName } from '../types.ts';

/** What a mark means: rungs of one kind go on from each other's. */
export type MarkKind = 'position' | 'cursor' | 'state' | 'result';

/** Below `triggers`, which needs to know what is followed. */
export const FALLBACK_MODES: readonly Mode[] = [
  eventsMode('webhook'),
  eventsMode('push'),
  eventsMode('poll'),
  listenMode,
  readMode,
  toolMode,
];

interface Row {
  readonly marks: MarkKind;
  /** Its events have identifiers of their own, and an event that comes twice is the same event. */
  readonly isOccurrence: boolean;
}

/** What the ladder has to know of each. */
export const MODE_TRAITS: Readonly<Record<ModeName, Row>> = {
  triggers: { marks: 'position', isOccurrence: false },
  'events.webhook': { marks: 'cursor', isOccurrence: true },
  'events.push': { marks: 'cursor', isOccurrence: true },
  'events.poll': { marks: 'cursor', isOccurrence: true },
  listen: { marks: 'state', isOccurrence: false },
  read: { marks: 'state', isOccurrence: false },
  tool: { marks: 'result', isOccurrence: false },
};

/** Best first. */
export const MODE_NAMES = Object.keys(MODE_TRAITS) as readonly ModeName[];

export const isModeName = (name: unknown): name is ModeName =>
  typeof name === 'string' && Object.hasOwn(MODE_TRAITS, name);
