/** Every scenario against a server of this extension. */
import type { ServerScenario } from '../kit/server/scenario.ts';
import { pull } from './pull.ts';
import { stream } from './stream.ts';

export const triggersServer: readonly ServerScenario[] = [...pull, ...stream];
