/**
 * The one list of modes: the ways to follow something, best first (SEP: When a peer lacks the
 * extension).
 */

/**
 * The meaning of a mark in the ledger. Modes with the same kind continue from each other's marks.
 */
type MarkKind = 'position' | 'cursor' | 'state' | 'result';

/**
 * A way to follow something. Best first: `triggers` (this extension), `events.webhook`,
 * `events.push` and `events.poll` (SEP-3415), `listen` (change notifications of MCP), `read` (a
 * resource or a list at intervals), `tool` (a tool at intervals).
 */
export type ModeName =
  'triggers' | 'events.webhook' | 'events.push' | 'events.poll' | 'listen' | 'read' | 'tool';

interface Row {
  readonly name: ModeName;
  readonly marks: MarkKind;
  /**
   * An event of the mode has an identifier of its own, and an event that comes twice is the same
   * event.
   */
  readonly isOccurrence: boolean;
}

const MODES = [
  // `triggers/*` by callback, stream or pull.
  { name: 'triggers', marks: 'position', isOccurrence: false },
  // `events/*` of SEP-3415.
  { name: 'events.webhook', marks: 'cursor', isOccurrence: true },
  { name: 'events.push', marks: 'cursor', isOccurrence: true },
  { name: 'events.poll', marks: 'cursor', isOccurrence: true },
  // `subscriptions/listen`, or `resources/subscribe` and `list_changed` before 2026-07-28, then
  // reading again.
  { name: 'listen', marks: 'state', isOccurrence: false },
  // Reading a resource, or a list, at intervals.
  { name: 'read', marks: 'state', isOccurrence: false },
  // Calling a tool at intervals.
  { name: 'tool', marks: 'result', isOccurrence: false },
] as const satisfies readonly Row[];

/** All modes, best first. */
export const MODE_NAMES: readonly ModeName[] = MODES.map(({ name }) => name);

export const isModeName = (name: unknown): name is ModeName =>
  MODES.some((mode) => mode.name === name);

/** The place of a mode in the order of preference; 0 is the best. */
export const modeRank = (name: ModeName): number => MODE_NAMES.indexOf(name);

export const modeTraits = (name: ModeName): Row => MODES[modeRank(name)]!;
