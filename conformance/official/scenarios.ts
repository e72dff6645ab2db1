/**
 * The server suite as scenarios of the official MCP conformance suite: few scenarios, each with many
 * checks, whose ids are the rows of `sep-NNNN.yaml`. A server would be written for one of these
 * levels, so each is one scenario, with the options on top of it.
 *
 * The objects have the shape of the official interface `ClientScenario` and need nothing of its
 * package. That suite passes only the URL of the server. A control interface and an access token,
 * without which a server can show little, come from the environment: `TRIGGERS_CONTROL_URL` and
 * `TRIGGERS_TOKEN`.
 */
import type { Level } from '../runner/levels.ts';
import { checksReport, type ConformanceCheck } from '../runner/report/checks.ts';
import { readRequirements, REQUIREMENT_FILES } from '../runner/requirements.ts';
import { runServer } from '../runner/server/run.ts';
import { EXTENSION } from '../runner/wire/session.ts';
import { triggersServer } from '../suites/server/index.ts';

/** The parts of `RunContext` that are read; older versions of the suite pass the URL alone. */
export type OfficialTarget = string | { readonly serverUrl: string };

/** The shape of the official `ClientScenario`. */
export interface OfficialScenario {
  readonly name: string;
  readonly description: string;
  readonly source: { readonly extensionId: string };
  /** Resolves with one check for each requirement. Rejects when no MCP server answers. */
  run(target: OfficialTarget): Promise<ConformanceCheck[]>;
}

/** The levels of each scenario. Together they are all levels that bind a server. */
const PARTS: readonly (readonly [name: string, what: string, levels: readonly Level[]])[] = [
  [
    'triggers-log',
    'Numbered logs with a lifetime, read by pull, acknowledged, with reported gaps.',
    [
      'log',
      'conditionalReads',
      'history',
      'multiSelect',
      'dataRef',
      'trace',
      'reservedTypes',
      'degradation',
      'handshake',
    ],
  ],
  [
    'triggers-stream',
    'Deliveries on a long-lived request. Optional: a server declares the level `stream`.',
    ['stream', 'listChanged'],
  ],
  [
    'triggers-callback',
    'Signed requests to an endpoint of the client. Optional: a server declares the level `callback`.',
    ['callback', 'pause', 'skip', 'reject', 'limits', 'serverIdentity'],
  ],
  [
    'triggers-durable',
    'Events, numbers, grants and acknowledgements survive a crash. Optional: a server declares the level `durable`.',
    ['durable'],
  ],
];

const urlOf = (target: OfficialTarget): string =>
  typeof target === 'string' ? target : target.serverUrl;

/** The scenarios, in the order of the levels. */
export const officialScenarios: readonly OfficialScenario[] = PARTS.map(([name, what, levels]) => ({
  name,
  description: `${what} Checks have the ids of sep-0000.yaml. A level or option that the server does not declare is skipped; what it declares and cannot show fails.`,
  source: { extensionId: EXTENSION },
  async run(target) {
    const { TRIGGERS_CONTROL_URL: control, TRIGGERS_TOKEN: token } = process.env;
    const requirements = readRequirements(REQUIREMENT_FILES.triggers);
    const wanted: ReadonlySet<string | undefined> = new Set(levels);
    const outcome = await runServer({
      requirements,
      scenarios: triggersServer.filter(({ checks }) =>
        checks.some((check) => wanted.has(requirements.checks.get(check)?.level ?? 'log')),
      ),
      access: { url: urlOf(target), token },
      control,
    });
    const results = outcome.results.filter(({ level }) => wanted.has(level));
    return checksReport({ ...outcome, results }, new Date());
  },
}));
