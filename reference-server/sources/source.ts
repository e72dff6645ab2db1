/** The interface of a source of events, and the errors of emitting one. */
import {
  LocalError,
  type Accepted,
  type DeclaredTrigger,
  type NewEvent,
  type NewGap,
} from 'mcp-triggers-experimental/server';

/**
 * Emits an event, or a gap for a time in which the source could not watch; resolves once it is
 * durable. A source acknowledges an event to its upstream only after that.
 */
export type Emit = (event: NewEvent | NewGap) => Promise<Accepted>;

/** A source of events. */
export interface Source {
  readonly triggers: readonly DeclaredTrigger[];
  start(emit: Emit): Promise<void> | void;
  stop(): Promise<void> | void;
}

const TRANSIENT: ReadonlySet<string> = new Set([
  'store_full',
  'store_failed',
  'store_fenced',
  'closed',
]);
const INVALID: ReadonlySet<string> = new Set([
  'trigger_unknown',
  'payload_invalid',
  'json_refused',
]);

/**
 * Classifies an error of {@link Emit}: `transient` = emit the event again later; `invalid` = the
 * event will never be accepted, which the engine has logged; `unknown` = a bug.
 */
export function emitFailure(error: unknown): {
  readonly kind: 'transient' | 'invalid' | 'unknown';
  readonly code: string;
} {
  const code = error instanceof LocalError ? error.code : 'unknown';
  return {
    code,
    kind: TRANSIENT.has(code) ? 'transient' : INVALID.has(code) ? 'invalid' : 'unknown',
  };
}
