/**
 * The modes for servers without the extension. `triggers` is not among them: it is made per track,
 * because it depends on the selections.
 */
import { MODE_NAMES, type ModeName } from '../mode-table.ts';
import type { Mode } from '../types.ts';
import { eventsMode } from './events/mode.ts';
import { poll } from './events/poll.ts';
import { push } from './events/push.ts';
import { canCallBack, webhook } from './events/webhook.ts';
import { listenMode } from './plain/listen.ts';
import { readMode } from './plain/read.ts';
import { toolMode } from './plain/tool.ts';

const MADE: Readonly<Record<Exclude<ModeName, 'triggers'>, Mode>> = {
  'events.webhook': eventsMode('webhook', webhook, canCallBack),
  'events.push': eventsMode('push', (target) => ({ run: (context) => push(target, context) })),
  'events.poll': eventsMode('poll', (target) => ({ run: (context) => poll(target, context) })),
  listen: listenMode,
  read: readMode,
  tool: toolMode,
};

/** The modes other than `triggers`, best first. */
export const FALLBACK_MODES: readonly Mode[] = MODE_NAMES.flatMap((name) =>
  name === 'triggers' ? [] : MADE[name],
);
