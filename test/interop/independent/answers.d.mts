// Types of answers.mjs.
export function outcomeOf(
  sent: { afterSequence: number; last: number },
  answer: { status: number; body?: unknown; retryAfter?: string },
  nowMs: number,
): { kind: string };
