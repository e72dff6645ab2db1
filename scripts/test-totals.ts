/**
 * Adds up the JSON reports of several test runs: `node scripts/test-totals.ts <folder>`. Fails if a
 * test failed, or if there is no report.
 */
import { globSync, readFileSync } from 'node:fs';

const folder = process.argv[2];
if (folder === undefined)
  throw new Error('No folder is named. Pass the folder with the JSON reports of vitest.');

const reports = globSync(`${folder}/*.json`).map(
  (file) =>
    JSON.parse(readFileSync(file, 'utf8')) as {
      readonly success: boolean;
      readonly numPassedTests: number;
      readonly numFailedTests: number;
    },
);
if (reports.length === 0)
  throw new Error(`${folder} has no report. Run the tests with TEST_REPORTS=${folder}.`);

const sum = (name: 'numPassedTests' | 'numFailedTests'): number =>
  reports.reduce((total, report) => total + report[name], 0);
console.log(`${sum('numPassedTests')} passed, ${sum('numFailedTests')} failed`);
process.exitCode = reports.every(({ success }) => success) ? 0 : 1;
