/** Every broken server of this extension. */
import type { BrokenServer } from '../proxy.ts';
import { pull } from './pull.ts';

export const brokenServers: readonly BrokenServer[] = [...pull];
