/**
 * `checks.json` in the shape of the official MCP conformance suite, whose `traceability` command
 * reads it.
 */
import { isRecommended } from '../requirements.ts';
import type { CheckResult, Outcome } from '../verdict.ts';

/** A check as the official suite writes it. */
export interface ConformanceCheck {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED';
  readonly timestamp: string;
  readonly specReferences: readonly { readonly id: string; readonly url: string }[];
  readonly errorMessage?: string;
  readonly details: Record<string, unknown>;
}

/**
 * The official status. There, `SKIPPED` counts as fine. A check that the peer declares and could not
 * show has the status of a violation, and `details.untestable` says which of the two it is.
 */
function statusOf({ verdict, text }: CheckResult): ConformanceCheck['status'] {
  switch (verdict) {
    case 'passed':
      return 'SUCCESS';
    case 'not applicable':
      return 'SKIPPED';
    case 'violated':
      return 'FAILURE';
    case 'warned':
      return 'WARNING';
    case 'not shown':
      return isRecommended(text) ? 'WARNING' : 'FAILURE';
  }
}

/** Folder of a run, relative to the results folder, named as in the official suite. */
export const checksFolder = ({ role }: Outcome, now: Date): string =>
  `${role}-triggers-${now.toISOString().replace(/[:.]/g, '-')}`;

/** The content of `checks.json`. */
export function checksReport({ results }: Outcome, now: Date): ConformanceCheck[] {
  return results.map((result) => {
    const { id, text, url, verdict, reasons, scenarios } = result;
    const status = statusOf(result);
    const untestable = verdict === 'not shown';
    return {
      id,
      name: id,
      description: text,
      status,
      timestamp: now.toISOString(),
      specReferences: [{ id, url }],
      ...(status === 'FAILURE' || status === 'WARNING'
        ? { errorMessage: `${untestable ? 'Not testable: ' : ''}${reasons.join('; ')}` }
        : {}),
      details: { verdict, reasons, scenarios, ...(untestable ? { untestable } : {}) },
    };
  });
}
