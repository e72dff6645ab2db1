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
   * Whether an event with a known identifier is always a repetition. In `triggers` the subscription
   * itself drops repetitions. In plain MCP the identifier is the hash of a state, which may come
   * back.
   */
  readonly isOccurrence: boolean;
}

const MODES = [
  { name: 'triggers', marks: 'position', isOccurrence: false },
  { name: 'events.webhook', marks: 'cursor', isOccurrence: true },
  { name: 'events.push', marks: 'cursor', isOccurrence: true },
  { name: 'events.poll', marks: 'cursor', isOccurrence: true },
  // Reads again after a notification: of `subscriptions/listen`, or before 2026-07-28 of
  // `resources/subscribe` and the lists.
  { name: 'listen', marks: 'state', isOccurrence: false },
  { name: 'read', marks: 'state', isOccurrence: false },
  { name: 'tool', marks: 'result', isOccurrence: false },
] as const satisfies readonly Row[];

/** All modes, best first. */
export const MODE_NAMES: readonly ModeName[] = MODES.map(({ name }) => name);

export const isModeName = (name: unknown): name is ModeName =>
  MODES.some((mode) => mode.name === name);

/** The place of a mode in the order of preference; 0 is the best. */
export const modeRank = (name: ModeName): number => MODE_NAMES.indexOf(name);

export const modeTraits = (name: ModeName): Row => MODES[modeRank(name)]!;
