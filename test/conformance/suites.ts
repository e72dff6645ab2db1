/** Which scenarios there are, by extension and role. */
import type { Options } from './kit/options.ts';
import type { Extension, Requirements } from './kit/requirements.ts';
import type { Progress } from './kit/run.ts';
import { runServer } from './kit/server/run.ts';
import type { ServerScenario } from './kit/server/scenario.ts';
import type { Outcome, Role } from './kit/verdict.ts';
import { triggersServer } from './server/index.ts';

/** Runs one suite as the command line asked for. */
export type Suite = (options: Options, requirements: Requirements, progress: Progress) => Promise<Outcome>;

const server = (scenarios: readonly ServerScenario[]): Suite => ({ url, token, control, callbackBase, only, atOnce }, requirements, progress) =>
  runServer({ requirements, scenarios, access: { url: url!, token }, control, callbackBase, only, atOnce, progress });

export const suites: Readonly<Record<Extension, Readonly<Record<Role, Suite>>>> = {
  triggers: { server: server(triggersServer), client: unwritten, receiver: unwritten },
  events: { server: unwritten, client: unwritten, receiver: unwritten },
};

function unwritten(): Promise<never> {
  return Promise.reject(new Error('there is no such suite'));
}
