/**
 * `sep-NNNN.yaml` as the repository of the official suite has it in `src/seps/`: the rows of
 * `requirements.yaml` without the columns `who` and `level`, which are of this project.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse, stringify } from 'yaml';
import { REQUIREMENT_FILES } from '../runner/requirements.ts';

interface Row {
  readonly check?: string;
  readonly text: string;
  readonly url: string;
  readonly excluded?: string;
}

/**
 * Returns the file's text for the number of the SEP, whose rows link below `base`, the URL of the
 * folder `sep/`.
 */
export function sepYaml(number: string, base: string): string {
  const { requirements } = parse(readFileSync(REQUIREMENT_FILES.triggers, 'utf8')) as {
    readonly requirements: readonly Row[];
  };
  const rows = requirements.map(({ check, text, url, excluded }) => ({
    ...(check === undefined ? {} : { check: check.replace('sep-0000-', `sep-${number}-`) }),
    text,
    url: new URL(url, base).href,
    ...(excluded === undefined ? {} : { excluded }),
  }));
  return stringify(
    {
      sep: number === '0000' ? 0 : Number(number),
      spec_url: new URL('0000-triggers.md', base).href,
      requirements: rows,
    },
    { lineWidth: 0 },
  );
}

if (import.meta.main) {
  const [folder = '.', number = '0000'] = process.argv.slice(2);
  const seps = resolve(folder, 'src', 'seps');
  mkdirSync(seps, { recursive: true });
  const file = join(seps, `sep-${number}.yaml`);
  writeFileSync(
    file,
    sepYaml(number, 'https://github.com/mcp-triggers/mcp-triggers/blob/main/sep/'),
  );
  console.log(`wrote ${file}`);
}
