/** The table of rungs, best first (SEP: When a peer lacks the extension). */
import { eventsRung } from './events/mode.ts';
import { listenRung } from './stock/listen.ts';
import { readRung } from './stock/read.ts';
import { toolRung } from './stock/tool.ts';
import type { Rung, RungName } from '../types.ts';

/** What a mark means: rungs of one kind go on from each other's. */
export type MarkKind = 'position' | 'cursor' | 'state' | 'result';

/** Below `triggers`, which needs to know what is followed. */
export const LOWER_RUNGS: readonly Rung[] = [eventsRung('webhook'), eventsRung('push'), eventsRung('poll'), listenRung, readRung, toolRung];

interface Row {
  readonly marks: MarkKind;
  /** Its events have identifiers of their own, and an event that comes twice is the same event. */
  readonly isOccurrence: boolean;
}

/** What the ladder has to know of each. */
export const RUNGS: Readonly<Record<RungName, Row>> = {
  triggers: { marks: 'position', isOccurrence: false },
  'events.webhook': { marks: 'cursor', isOccurrence: true },
  'events.push': { marks: 'cursor', isOccurrence: true },
  'events.poll': { marks: 'cursor', isOccurrence: true },
  listen: { marks: 'state', isOccurrence: false },
  read: { marks: 'state', isOccurrence: false },
  tool: { marks: 'result', isOccurrence: false },
};

/** Best first. */
export const RUNG_NAMES = Object.keys(RUNGS) as readonly RungName[];

export const isRungName = (name: unknown): name is RungName => typeof name === 'string' && Object.hasOwn(RUNGS, name);
