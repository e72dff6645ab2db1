/** The repository as these tests see it: the files git would commit, and what each TypeScript file imports. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = normalize(join(dirname(fileURLToPath(import.meta.url)), '..', '..'));

/** Tracked and not ignored files, as paths from the root with forward slashes. */
export function repositoryFiles(): string[] {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' });
  return [...new Set(listed.split('\0').filter((path) => path !== ''))].sort();
}

export const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

export interface Import {
  readonly file: string;
  /** As written. */
  readonly specifier: string;
  /** Path from the root for a relative import; the specifier itself otherwise. */
  readonly target: string;
  readonly typeOnly: boolean;
}

const STATEMENT = /(?:^|\n)\s*(import|export)\s+(type\s+)?([^;'"]*?\sfrom\s+)?['"]([^'"]+)['"]/g;
const DYNAMIC = /\bimport\(\s*['"]([^'"]+)['"]\s*\)/g;

/** Every static and dynamic import of a file. An import whose names are all marked `type` is type only. */
export function importsOf(file: string): Import[] {
  const text = read(file);
  const found: Import[] = [];
  for (const [, , type, names, specifier] of text.matchAll(STATEMENT)) {
    if (specifier === undefined) continue;
    const inner = /\{([\s\S]*)\}/.exec(names ?? '')?.[1];
    const allTypes = inner !== undefined && inner.trim() !== '' && inner.split(',').filter((name) => name.trim() !== '').every((name) => name.trim().startsWith('type '));
    found.push({ file, specifier, target: targetOf(file, specifier), typeOnly: type !== undefined || allTypes });
  }
  for (const [, specifier] of text.matchAll(DYNAMIC)) found.push({ file, specifier: specifier!, target: targetOf(file, specifier!), typeOnly: false });
  return found;
}

function targetOf(file: string, specifier: string): string {
  return specifier.startsWith('.') ? normalize(join(dirname(file), specifier)).replaceAll('\\', '/') : specifier;
}
