/** Every scenario of SEP-3415 against a server. */
import type { ServerScenario } from '../../../runner/server/scenario.ts';
import { catalog } from './catalog.ts';
import { consent } from './consent.ts';
import { delivery } from './delivery.ts';
import { ending } from './ending.ts';
import { poll } from './poll.ts';
import { push } from './push.ts';
import { subscribing } from './subscribing.ts';

export const eventsServer: readonly ServerScenario[] = [
  ...catalog,
  ...poll,
  ...push,
  ...ending,
  ...subscribing,
  ...consent,
  ...delivery,
];
