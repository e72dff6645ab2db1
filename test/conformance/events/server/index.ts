/** Every scenario of SEP-3415 against a server. */
import type { ServerScenario } from '../../kit/server/scenario.ts';
import { catalogue } from './catalogue.ts';
import { poll } from './poll.ts';
import { push } from './push.ts';

export const eventsServer: readonly ServerScenario[] = [...catalogue, ...poll, ...push];
