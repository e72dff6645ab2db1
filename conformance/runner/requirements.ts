/** The requirements as data: one row for each normative sentence, with the check that decides it or the reason why there is none. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { specFile } from './spec-files.ts';
import type { Role } from './verdict.ts';

/** A requirement that a black-box peer can be checked for. */
export interface Requirement {
  /** The whole id, for example `sep-0000-log-contiguous`. */
  readonly id: string;
  /** Without the prefix: what scenarios say. */
  readonly name: string;
  readonly text: string;
  readonly url: string;
  /** Whom it binds; `reader` binds client and receiver, `peer` everybody. */
  readonly who: Role | 'reader' | 'peer';
  /** SHOULD or SHOULD NOT: a breach is a warning. */
  readonly recommended: boolean;
}

/** A requirement without a check, and why. */
export interface Excluded {
  readonly text: string;
  readonly url: string;
  readonly reason: string;
}

/** A requirements file. */
export interface Requirements {
  readonly checks: ReadonlyMap<string, Requirement>;
  readonly excluded: readonly Excluded[];
}

interface Row {
  readonly check?: string;
  readonly text: string;
  readonly url: string;
  readonly who: Requirement['who'];
  readonly excluded?: string;
}

/** Where the files are, by what is tested. */
export const REQUIREMENT_FILES = {
  triggers: specFile('sep', 'requirements.yaml'),
  events: specFile('sep', 'requirements-events.yaml'),
} as const;
/** What can be tested: this extension, or SEP-3415. */
export type Extension = keyof typeof REQUIREMENT_FILES;

/** Reads a requirements file. Throws when a row is neither a check nor excluded, or an id comes twice. */
export function readRequirements(path: string): Requirements {
  const file = parse(readFileSync(path, 'utf8')) as {
    readonly spec_url: string;
    readonly requirements: readonly Row[];
  };
  const checks = new Map<string, Requirement>();
  const excluded: Excluded[] = [];
  for (const { check, text, url, who, excluded: reason } of file.requirements) {
    if (check === undefined) {
      if (reason === undefined)
        throw new Error(`${path}: a row is neither a check nor excluded: ${text}`);
      excluded.push({ text, url, reason });
      continue;
    }
    const name = check.replace(/^sep-[0-9]+-/, '');
    if (checks.has(name)) throw new Error(`${path}: ${check} comes twice`);
    checks.set(name, {
      id: check,
      name,
      text,
      url: `${file.spec_url}${url ?? ''}`,
      who,
      recommended: /\bSHOULD\b/.test(text) && !/\bMUST\b/.test(text),
    });
  }
  return { checks, excluded };
}

/** The checks that a role can be asked about. */
export const checksFor = ({ checks }: Requirements, role: Role): Requirement[] =>
  [...checks.values()].filter(
    ({ who }) => who === role || who === 'peer' || (who === 'reader' && role !== 'server'),
  );
