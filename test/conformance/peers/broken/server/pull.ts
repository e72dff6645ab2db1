/** Servers whose pulls are wrong. */
import type { BrokenServer } from '../proxy.ts';

export const pull: readonly BrokenServer[] = [
  { check: 'pull-after', wrong: 'reads from the start whatever the client says', spoil: { request: ({ method, params }) => { if (method === 'triggers/pull') delete params.after; } } },
  { check: 'pull-max', wrong: 'ignores maxEvents', spoil: { request: ({ method, params }) => { if (method === 'triggers/pull' && params.maxEvents > 0) delete params.maxEvents; } } },
  { check: 'pull-has-more', wrong: 'never says that there is more', spoil: { result: (result, { method }) => (method === 'triggers/pull' ? { ...result, hasMore: false } : result) } },
  { check: 'pull-zero', wrong: 'takes 0 for the default', spoil: { request: ({ method, params }) => { if (method === 'triggers/pull' && params.maxEvents === 0) delete params.maxEvents; } } },
  { check: 'pull-no-ack', wrong: 'takes `after` for an acknowledgement', spoil: { request: ({ method, params }) => { if (method === 'triggers/pull' && params.after) params.ack ??= params.after; } } },
  { check: 'pull-ack-first', wrong: 'forgets the acknowledgement', spoil: { request: ({ method, params }) => { if (method === 'triggers/pull') delete params.ack; } } },
];
