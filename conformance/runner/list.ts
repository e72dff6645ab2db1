/** The scenarios of a suite as text, for `--only` and `--level`. */
import type { Requirement } from './requirements.ts';
import type { Selectable } from './run.ts';

/** One paragraph for each scenario: its name, then its checks with their levels. */
export function listText(
  scenarios: readonly (Selectable & { readonly about: string })[],
  checks: ReadonlyMap<string, Requirement>,
): string {
  return scenarios
    .map(({ name, about, checks: own }) =>
      [
        name,
        `  ${about}`,
        ...own.map((check) => {
          const level = checks.get(check)?.level;
          return `  - ${check}${level === undefined ? '' : ` (${level})`}`;
        }),
        '',
      ].join('\n'),
    )
    .join('\n');
}
