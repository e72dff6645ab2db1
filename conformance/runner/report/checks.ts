/**
 * `checks.json` in the shape of the official MCP conformance suite, whose `traceability` command
 * reads it.
 */
import type { CheckResult, Outcome, Verdict } from '../verdict.ts';

const STATUS: Readonly<Record<Verdict, 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED'>> = {
  passed: 'SUCCESS',
  violated: 'FAILURE',
  warned: 'WARNING',
  'not shown': 'SKIPPED',
  'not applicable': 'SKIPPED',
};

/** Folder of a run, relative to the results folder, named as in the official suite. */
export const checksFolder = ({ role }: Outcome, now: Date): string =>
  `${role}-triggers-${now.toISOString().replace(/[:.]/g, '-')}`;

/** The content of `checks.json`. */
export function checksReport({ results }: Outcome, now: Date): object[] {
  return results.map((result: CheckResult) => ({
    id: result.id,
    name: result.id,
    description: result.text,
    status: STATUS[result.verdict],
    timestamp: now.toISOString(),
    specReferences: [{ id: result.id, url: result.url }],
    ...(result.verdict === 'violated' || result.verdict === 'warned'
      ? { errorMessage: result.reasons.join('; ') }
      : {}),
    details: { verdict: result.verdict, reasons: result.reasons, scenarios: result.scenarios },
  }));
}
