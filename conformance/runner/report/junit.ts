/** JUnit XML for build servers: one test case for each check. */
import { standing, type Expected } from '../expected.ts';
import type { CheckResult, Outcome } from '../verdict.ts';

/** Removes the characters that XML 1.0 forbids and escapes the five that it reserves. */
const text = (value: string): string =>
  value
    .replace(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '')
    .replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);

export function junitReport(
  { role, subject, results, durationMs }: Outcome,
  expected: Expected,
): string {
  const failures = results.filter((result) => failed(result, expected)).length;
  const skipped = results.filter(
    ({ verdict }) => verdict === 'not shown' || verdict === 'not applicable',
  ).length;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites><testsuite name="${text(`${role} ${subject}`)}" tests="${results.length}" failures="${failures}" skipped="${skipped}" time="${(durationMs / 1000).toFixed(3)}">`,
    ...results.map((result) => testCase(result, expected, role)),
    '</testsuite></testsuites>',
    '',
  ].join('\n');
}

const failed = (result: CheckResult, expected: Expected): boolean =>
  ['unexpected failure', 'unexpectedly passing'].includes(standing(result, expected));

function testCase(result: CheckResult, expected: Expected, role: string): string {
  const open = `<testcase classname="${text(role)}" name="${text(result.id)}"`;
  const reasons = text(result.reasons.join('\n'));
  if (failed(result, expected))
    return `${open}><failure message="${text(standing(result, expected))}">${text(result.text)}\n${reasons}</failure></testcase>`;
  if (result.verdict === 'not shown' || result.verdict === 'not applicable')
    return `${open}><skipped message="${text(result.verdict)}: ${reasons}"/></testcase>`;
  if (result.verdict === 'passed') return `${open}/>`;
  return `${open}><system-out>${text(result.verdict)}: ${reasons}</system-out></testcase>`;
}
