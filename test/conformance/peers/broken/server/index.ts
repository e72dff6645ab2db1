/** Every broken server of this extension. */
import type { BrokenServer } from '../proxy.ts';
import { callback } from './callback.ts';
import { catalogue } from './catalogue.ts';
import { changes } from './changes.ts';
import { general } from './general.ts';
import { isolation } from './isolation.ts';
import { pull } from './pull.ts';
import { signature } from './signature.ts';
import { stream } from './stream.ts';
import { subscriptions } from './subscriptions.ts';

export const brokenServers: readonly BrokenServer[] = [...general, ...catalogue, ...isolation, ...subscriptions, ...changes, ...pull, ...stream, ...callback, ...signature];
