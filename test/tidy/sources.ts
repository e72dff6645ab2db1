/** The repository for these tests: the files git would commit. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = normalize(join(dirname(fileURLToPath(import.meta.url)), '..', '..'));

/** Tracked and not ignored files, as paths from the root with forward slashes. */
export function repositoryFiles(): string[] {
  const listed = execFileSync(
    'git',
    ['ls-files', '-z', '--cached', '--others', '--exclude-standard'],
    { cwd: ROOT, encoding: 'utf8' },
  );
  return [...new Set(listed.split('\0').filter((path) => path !== ''))].sort();
}

export const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
