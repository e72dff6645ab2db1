/** Every broken server of SEP-3415. */
import type { BrokenServer } from '../proxy.ts';
import { reading } from './reading.ts';
import { webhooks } from './webhooks.ts';

export const brokenEventsServers: readonly BrokenServer[] = [...reading, ...webhooks];
