/**
 * The report as text: violations first, with the expected and the seen value; then what could not
 * be shown, by reason; then one line for what does not apply, and the totals.
 */
import { standing, type Expected } from '../expected.ts';
import type { CheckResult, Observation, Outcome, Verdict } from '../verdict.ts';

const ORDER: readonly Verdict[] = ['violated', 'warned', 'not shown', 'not applicable', 'passed'];
/** Ids of one reason that a report without `--all` names. */
const NAMES_MAX = 6;

/** The report as text with a final newline. `all` lists every check. */
export function humanReport(
  { role, subject, levels, results, durationMs }: Outcome,
  expected: Expected,
  all = false,
): string {
  const of = (verdict: Verdict): readonly CheckResult[] =>
    results.filter((result) => result.verdict === verdict);
  const lines = [
    `Conformance of the ${role} ${subject}`,
    ...(levels === undefined ? [] : [`Levels: ${levels.join(', ')}`]),
    '',
    ...failures('VIOLATED', of('violated'), expected),
    ...failures('WARNED (recommendations)', of('warned'), expected),
  ];
  const unexpected = results.filter(
    (result) => standing(result, expected) === 'unexpectedly passing',
  );
  if (unexpected.length > 0)
    lines.push(
      'EXPECTED TO FAIL, BUT PASSED: remove these from the file of known failures',
      ...unexpected.map(({ id }) => `  ${id}`),
      '',
    );
  const missing = of('not shown');
  if (missing.length > 0) lines.push(`NOT SHOWN: ${missing.length}`, ...byReason(missing, all), '');
  const elsewhere = of('not applicable');
  if (elsewhere.length > 0)
    lines.push(
      ...(all
        ? [`NOT APPLICABLE: ${elsewhere.length}`, ...byReason(elsewhere, all)]
        : [`NOT APPLICABLE: ${elsewhere.length}. ${counted(elsewhere)}`]),
      '',
    );
  if (all && of('passed').length > 0)
    lines.push(`PASSED: ${of('passed').length}`, ...of('passed').map(({ id }) => `  ${id}`), '');
  lines.push(
    `${results.length} checks in ${(durationMs / 1000).toFixed(1)} s: ${ORDER.toReversed()
      .map((verdict) => `${of(verdict).length} ${verdict}`)
      .join(', ')}`,
  );
  return `${lines.join('\n')}\n`;
}

/** The results that failed, each with its sentence and its findings. */
function failures(title: string, results: readonly CheckResult[], expected: Expected): string[] {
  if (results.length === 0) return [];
  return [
    `${title}: ${results.length}`,
    ...results.flatMap(({ id, text, reasons, findings }) => [
      `  ${id}${expected.has(id) ? ` (expected: ${expected.get(id)})` : ''}`,
      `    ${text}`,
      ...(findings.length === 0
        ? reasons.map((reason) => `    - ${reason}`)
        : distinct(findings).flatMap(finding)),
    ]),
    '',
  ];
}

/** A finding without its expected and seen values, if it has none. */
function finding({ scenario, what, reason, expected, seen }: Observation): string[] {
  return [
    `    - ${what} (scenario "${scenario}")`,
    ...(reason === undefined ? [] : [`      ${sentence(reason)}`]),
    ...(expected === undefined ? [] : [`      expected: ${expected}`]),
    ...(seen === undefined ? [] : [`      seen:     ${seen}`]),
  ];
}

/** Findings of a scenario that runs in several revisions can be equal. */
function distinct(findings: readonly Observation[]): Observation[] {
  const seen = new Map<string, Observation>();
  for (const one of findings) {
    const key = JSON.stringify([one.what, one.reason, one.expected, one.seen]);
    if (!seen.has(key)) seen.set(key, one);
  }
  return [...seen.values()];
}

/** The reasons, each with the checks that it concerns. */
function byReason(results: readonly CheckResult[], all: boolean): string[] {
  const ids = new Map<string, string[]>();
  for (const { id, reasons } of results)
    for (const reason of reasons) {
      const text = sentence(reason);
      ids.set(text, [...(ids.get(text) ?? []), id]);
    }
  return [...ids].flatMap(([reason, those]) => [
    `  ${reason}`,
    ...wrapped(
      all || those.length <= NAMES_MAX
        ? those
        : [...those.slice(0, NAMES_MAX), `and ${those.length - NAMES_MAX} more (--all lists them)`],
    ),
  ]);
}

/** The reasons in one line, each with its number of checks. */
function counted(results: readonly CheckResult[]): string {
  const counts = new Map<string, number>();
  for (const { reasons } of results) {
    const text = sentence(reasons[0] ?? 'No reason is known');
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return [...counts].map(([reason, count]) => `${reason.slice(0, -1)} (${count}).`).join(' ');
}

const wrapped = (names: readonly string[]): string[] => names.map((name) => `    ${name}`);

/** The text as a sentence: a capital letter, a full stop. */
const sentence = (text: string): string =>
  `${text.charAt(0).toUpperCase()}${text.slice(1)}`.replace(/(?<![.!?…])$/, '.');
