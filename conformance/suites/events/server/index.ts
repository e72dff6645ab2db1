/** Every scenario of SEP-3415 against a server. */
import type { ServerScenario } from '../../../runner/server/scenario.ts';
import { catalogue } from './catalogue.ts';
import { consent } from './consent.ts';
import { delivery } from './delivery.ts';
import { ending } from './ending.ts';
import { poll } from './poll.ts';
import { push } from './push.ts';
import { subscribing } from './subscribing.ts';

export const eventsServer: readonly ServerScenario[] = [...catalogue, ...poll, ...push, ...ending, ...subscribing, ...consent, ...delivery];
