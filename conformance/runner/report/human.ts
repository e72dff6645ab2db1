/** The report as text: violations first, then what was not shown, then the totals. */
import { standing, type Expected } from '../expected.ts';
import type { Outcome, Verdict } from '../verdict.ts';

const ORDER: readonly Verdict[] = ['violated', 'warned', 'not shown', 'not applicable', 'passed'];
const TITLE: Readonly<Record<Verdict, string>> = {
  violated: 'VIOLATED',
  warned: 'WARNED (recommendations)',
  'not shown': 'NOT SHOWN (the implementation offers no way to show it)',
  'not applicable': 'NOT APPLICABLE (the implementation does not claim the feature)',
  passed: 'PASSED',
};

/** The report as text with a final newline. `all` lists passed checks too. */
export function humanReport(
  { role, subject, results, durationMs }: Outcome,
  expected: Expected,
  all = false,
): string {
  const lines = [`Conformance of the ${role} ${subject}`, ''];
  for (const verdict of ORDER) {
    const those = results.filter((result) => result.verdict === verdict);
    if (those.length === 0 || (verdict === 'passed' && !all)) continue;
    lines.push(`${TITLE[verdict]}: ${those.length}`);
    for (const result of those) {
      const known = expected.get(result.id);
      lines.push(
        `  ${result.id}${known === undefined || verdict === 'passed' ? '' : ` (expected: ${known})`}`,
      );
      if (verdict === 'violated' || verdict === 'warned') lines.push(`    ${result.text}`);
      if (verdict !== 'passed') for (const reason of result.reasons) lines.push(`    - ${reason}`);
    }
    lines.push('');
  }
  const unexpected = results.filter(
    (result) => standing(result, expected) === 'unexpectedly passing',
  );
  if (unexpected.length > 0)
    lines.push(
      `EXPECTED TO FAIL, BUT PASSED: remove these from the file of known failures`,
      ...unexpected.map(({ id }) => `  ${id}`),
      '',
    );
  const count = (verdict: Verdict): number =>
    results.filter((result) => result.verdict === verdict).length;
  lines.push(
    `${results.length} checks in ${(durationMs / 1000).toFixed(1)} s: ${ORDER.toReversed()
      .map((verdict) => `${count(verdict)} ${verdict}`)
      .join(', ')}`,
  );
  return `${lines.join('\n')}\n`;
}
