/** The files whose language is checked. */
import { execFileSync } from 'node:child_process';

/**
 * The SEP has its own lint. The rules, the glossary and the contributing guide quote the texts that
 * they reject. The faults of the Python server are text of Python.
 */
const OUTSIDE =
  /^(?:sep|docs\/api|docs\/api-report)\/|^scripts\/language\/rules\.ts$|^docs\/glossary\.md$|^CONTRIBUTING\.md$|^test\/tidy\/language\.test\.ts$|^conformance\/peers\/python\/faults\.ts$/;

export const isRead = (file: string): boolean =>
  /\.(?:ts|mts|mjs|md)$/.test(file) && !OUTSIDE.test(file);

/** Tracked and new files below the folders, with forward slashes. */
export function filesBelow(folders: readonly string[]): string[] {
  const listed = execFileSync(
    'git',
    ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--', ...folders],
    { encoding: 'utf8' },
  );
  return [...new Set(listed.split('\0'))].filter(isRead).sort();
}
