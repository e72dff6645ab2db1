/** The suites by extension and role. */
import { triggersClient } from './client/index.ts';
import { eventsClient } from './events/client/index.ts';
import { eventsReceiver } from './events/receiver/index.ts';
import { eventsServer } from './events/server/index.ts';
import { runClient } from '../runner/client/run.ts';
import type { ClientScenario } from '../runner/client/scenario.ts';
import { runEventsClient } from '../runner/events/client.ts';
import { runEventsReceiver } from '../runner/events/receiver.ts';
import type { Options } from '../runner/options.ts';
import { runReceiver } from '../runner/receiver/run.ts';
import type { ReceiverScenario } from '../runner/receiver/scenario.ts';
import type { Extension, Requirements } from '../runner/requirements.ts';
import type { Progress, Selectable } from '../runner/run.ts';
import { runServer } from '../runner/server/run.ts';
import type { ServerScenario } from '../runner/server/scenario.ts';
import type { Outcome, Role } from '../runner/verdict.ts';
import { EVENTS_EXTENSION } from '../runner/wire/session.ts';
import { triggersReceiver } from './receiver/index.ts';
import { triggersServer } from './server/index.ts';

/** Runs one suite with the options of the command line. */
export type Suite = (
  options: Options,
  requirements: Requirements,
  progress: Progress,
) => Promise<Outcome>;

const server =
  (scenarios: readonly ServerScenario[], extension?: string): Suite =>
  ({ url, token, control, callbackBase, only, levels, atOnce }, requirements, progress) =>
    runServer({
      requirements,
      scenarios,
      access: { url: url!, token },
      extension,
      control,
      callbackBase,
      only,
      levels,
      atOnce,
      progress,
    });

const client =
  (scenarios: readonly ClientScenario[]): Suite =>
  ({ command, only, levels, atOnce }, requirements, progress) =>
    runClient({ requirements, scenarios, command: command!, only, levels, atOnce, progress });

const receiver =
  (scenarios: readonly ReceiverScenario[]): Suite =>
  ({ url, secret, control, only, levels, atOnce }, requirements, progress) =>
    runReceiver({
      requirements,
      scenarios,
      url: url!,
      secret: secret!,
      control,
      only,
      levels,
      atOnce,
      progress,
    });

const clientOfEvents: Suite = ({ command, only, levels, atOnce }, requirements, progress) =>
  runEventsClient({
    requirements,
    scenarios: eventsClient,
    command: command!,
    only,
    levels,
    atOnce,
    progress,
  });

const receiverOfEvents: Suite = (
  { url, secret, control, only, levels, atOnce },
  requirements,
  progress,
) =>
  runEventsReceiver({
    requirements,
    scenarios: eventsReceiver,
    url: url!,
    secret: secret!,
    control,
    only,
    levels,
    atOnce,
    progress,
  });

export const suites: Readonly<Record<Extension, Readonly<Record<Role, Suite>>>> = {
  triggers: {
    server: server(triggersServer),
    client: client(triggersClient),
    receiver: receiver(triggersReceiver),
  },
  events: {
    server: server(eventsServer, EVENTS_EXTENSION),
    client: clientOfEvents,
    receiver: receiverOfEvents,
  },
};

/** The scenarios of each suite. */
export const scenariosOf: Readonly<
  Record<Extension, Readonly<Record<Role, readonly (Selectable & { readonly about: string })[]>>>
> = {
  triggers: { server: triggersServer, client: triggersClient, receiver: triggersReceiver },
  events: { server: eventsServer, client: eventsClient, receiver: eventsReceiver },
};
