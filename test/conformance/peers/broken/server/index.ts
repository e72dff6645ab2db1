/** Every broken server of this extension. */
import type { BrokenServer } from '../proxy.ts';
import { pull } from './pull.ts';
import { stream } from './stream.ts';

export const brokenServers: readonly BrokenServer[] = [...pull, ...stream];
