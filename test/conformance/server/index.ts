/** Every scenario against a server of this extension. */
import type { ServerScenario } from '../kit/server/scenario.ts';
import { pull } from './pull.ts';

export const triggersServer: readonly ServerScenario[] = [...pull];
