/**
 * The requirements as data: one row for each normative sentence, with its check or the reason why
 * it has none.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { LEVELS, type Level } from './levels.ts';
import { specFile } from './spec-files.ts';
import type { Role } from './verdict.ts';

/** A requirement with a check. */
export interface Requirement {
  /** The full id, for example `sep-0000-log-contiguous`. */
  readonly id: string;
  /** The id without prefix, as scenarios use it. */
  readonly name: string;
  readonly text: string;
  readonly url: string;
  /** The role that it binds; `reader` is client and receiver, `peer` is everyone. */
  readonly who: Role | 'reader' | 'peer';
  /** The level, option or module that it belongs to; undefined for SEP-3415, which has none. */
  readonly level?: Level | undefined;
  /** SHOULD or SHOULD NOT: a violation is a warning. */
  readonly recommended: boolean;
}

/** A requirement without a check, and the reason. */
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
  readonly level?: Level;
  readonly excluded?: string;
}

/** The requirements files by extension. */
export const REQUIREMENT_FILES = {
  triggers: specFile('sep', 'requirements.yaml'),
  events: specFile('sep', 'requirements-events.yaml'),
} as const;
/** The extensions that can be tested: this one and SEP-3415. */
export type Extension = keyof typeof REQUIREMENT_FILES;

/**
 * Reads a requirements file. Throws when a row is neither a check nor excluded, when its level is
 * unknown, or when an id repeats.
 */
export function readRequirements(path: string): Requirements {
  const file = parse(readFileSync(path, 'utf8')) as {
    readonly spec_url: string;
    readonly requirements: readonly Row[];
  };
  const checks = new Map<string, Requirement>();
  const excluded: Excluded[] = [];
  for (const { check, text, url, who, level, excluded: reason } of file.requirements) {
    if (check === undefined) {
      if (reason === undefined)
        throw new Error(
          `${path}: a row is neither a check nor excluded: ${text}. Give it a check or a reason.`,
        );
      excluded.push({ text, url, reason });
      continue;
    }
    if (level !== undefined && !LEVELS.includes(level))
      throw new Error(`${path}: ${check} has the unknown level ${level}. Use a level of the list.`);
    const name = check.replace(/^sep-[0-9]+-/, '');
    if (checks.has(name)) throw new Error(`${path}: ${check} occurs twice. Remove one.`);
    checks.set(name, {
      id: check,
      name,
      text,
      // From the folder of the text; empty in a row that points at the whole of it.
      url: url || file.spec_url,
      who,
      level,
      recommended: isRecommended(text),
    });
  }
  return { checks, excluded };
}

/** Whether the sentence is a recommendation: SHOULD without MUST. */
export const isRecommended = (text: string): boolean =>
  /\bSHOULD\b/.test(text) && !/\bMUST\b/.test(text);

/** The checks that apply to a role. */
export const checksFor = ({ checks }: Requirements, role: Role): Requirement[] =>
  [...checks.values()].filter(
    ({ who }) => who === role || who === 'peer' || (who === 'reader' && role !== 'server'),
  );
