/** Runs the build, for scripts that read dist. */
import { execFileSync } from 'node:child_process';

/** Runs `npm run build`, unless `--built` says that dist is up to date. */
export function build(): void {
  if (process.argv.includes('--built')) return;
  npm('run', '--silent', 'build');
}

/** Runs npm without a shell, in the same way on every platform. */
export function npm(...args: string[]): void {
  const path = process.env['npm_execpath'];
  if (path === undefined)
    throw new Error('The path of npm is not known. Start this script with "npm run".');
  execFileSync(process.execPath, [path, ...args], { stdio: ['ignore', 'inherit', 'inherit'] });
}
