/**
 * Reports of the public API, one file for each TypeScript entry point in `exports` of package.json.
 *
 *     npm run api          builds and writes docs/api-report/*.api.md
 *     npm run api:check    builds, and fails if a report differs; `-- --built` reads dist as it is
 *
 * The diff of a report shows a reviewer what a change does to users. The declarations are those of
 * `npm run build`.
 */
import { Extractor, ExtractorConfig, ExtractorLogLevel } from '@microsoft/api-extractor';
import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './package/build.ts';

interface Manifest {
  readonly name: string;
  readonly exports: Readonly<Record<string, string | { readonly types: string }>>;
}

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const REPORTS = join(ROOT, 'docs', 'api-report');
const manifestPath = join(ROOT, 'package.json');
const manifest = JSON.parse(readFileSync(manifestPath, 'utf8')) as Manifest;
const check = process.argv.includes('--check');

/** `index` for `.`, `stores-sqlite` for `./stores/sqlite`. */
const reportName = (subpath: string): string => subpath.slice(2).replaceAll('/', '-') || 'index';

const entryPoints = Object.entries(manifest.exports).flatMap(([subpath, target]) =>
  typeof target === 'string'
    ? []
    : [{ report: reportName(subpath), types: join(ROOT, target.types) }],
);

/**
 * Writes a report, or compares it with the one in the repository. Returns whether they are the same.
 */
function extract(report: string, types: string): boolean {
  const config = ExtractorConfig.prepare({
    configObjectFullPath: join(ROOT, 'api-extractor.json'),
    packageJsonFullPath: manifestPath,
    configObject: {
      projectFolder: ROOT,
      mainEntryPointFilePath: types,
      compiler: { tsconfigFilePath: join(ROOT, 'tsconfig.build.json') },
      apiReport: {
        enabled: true,
        reportFileName: `${report}.api.md`,
        reportFolder: REPORTS,
        reportTempFolder: join(ROOT, 'node_modules', '.cache', 'api-report'),
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      newlineKind: 'lf',
      messages: {
        compilerMessageReporting: { default: { logLevel: ExtractorLogLevel.Error } },
        extractorMessageReporting: {
          default: { logLevel: ExtractorLogLevel.Warning, addToApiReportFile: true },
          // Release tags are not used: everything exported is public.
          'ae-missing-release-tag': { logLevel: ExtractorLogLevel.None },
          // typedoc fails on missing comments, missing exports and broken links.
          'ae-forgotten-export': { logLevel: ExtractorLogLevel.None },
          'ae-undocumented': { logLevel: ExtractorLogLevel.None },
          'ae-unresolved-link': { logLevel: ExtractorLogLevel.None },
        },
        // typedoc checks the comments.
        tsdocMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
      },
    },
  });
  const { apiReportChanged, errorCount } = Extractor.invoke(config, {
    localBuild: !check,
    messageCallback: (message) => {
      if (message.logLevel === ExtractorLogLevel.Error) console.error(message.text);
      message.handled = true;
    },
  });
  if (errorCount > 0) throw new Error(`The API of ${types} cannot be read. Fix the errors above.`);
  return !apiReportChanged;
}

build();
mkdirSync(REPORTS, { recursive: true });
mkdirSync(join(ROOT, 'node_modules', '.cache', 'api-report'), { recursive: true });
const changed = entryPoints
  .filter(({ report, types }) => !extract(report, types))
  .map(({ report }) => `${report}.api.md`);
const expected = new Set(entryPoints.map(({ report }) => `${report}.api.md`));
const left = readdirSync(REPORTS).filter((file) => file.endsWith('.api.md') && !expected.has(file));

if (check && changed.length + left.length > 0) {
  console.error(
    `The public API differs from docs/api-report: ${[...changed, ...left].join(', ')}. Run "npm run api" and commit the reports if the change is meant.`,
  );
  process.exitCode = 1;
} else if (!check) {
  for (const file of left) rmSync(join(REPORTS, file));
  console.log(changed.length === 0 ? 'API reports are unchanged' : `wrote ${changed.join(', ')}`);
}
