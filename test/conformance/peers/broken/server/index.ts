/** Every broken server of this extension. */
import type { BrokenServer } from '../proxy.ts';
import { catalogue } from './catalogue.ts';
import { general } from './general.ts';
import { isolation } from './isolation.ts';
import { pull } from './pull.ts';
import { stream } from './stream.ts';

export const brokenServers: readonly BrokenServer[] = [...general, ...catalogue, ...isolation, ...pull, ...stream];
