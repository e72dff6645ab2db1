/** How a source reads the engine's refusal to accept an event. */
import { LocalError } from 'mcp-triggers-experimental/server';

const TRANSIENT: ReadonlySet<string> = new Set([
  'store_full',
  'store_failed',
  'store_fenced',
  'closed',
]);
const UNFIT: ReadonlySet<string> = new Set(['payload_invalid', 'json_refused']);

/** `later`: the same event may be accepted another time. `never`: it cannot be an event. `unknown`: a fault of the program. */
export function readRefusal(error: unknown): {
  readonly verdict: 'later' | 'never' | 'unknown';
  readonly code: string;
} {
  const code = error instanceof LocalError ? error.code : 'unknown';
  return { code, verdict: TRANSIENT.has(code) ? 'later' : UNFIT.has(code) ? 'never' : 'unknown' };
}
