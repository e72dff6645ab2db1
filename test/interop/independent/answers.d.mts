// Types of answers.mjs.
export function outcomeOf(
  sent: { after: number; to: number },
  answer: { status: number; body?: unknown; retryAfter?: string },
  nowMs: number,
): { kind: string };
