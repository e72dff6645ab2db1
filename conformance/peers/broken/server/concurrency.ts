/** Servers that rely after a verification on what they checked before it. */
import type { BrokenServer } from '../proxy.ts';
import { onRequest } from '../fault-builders.ts';

export const concurrency: readonly BrokenServer[] = [
  {
    check: 'upd-if-match',
    wrong: 'does not compare the ETag again after a verification',
    fault: onRequest(['update'], (params, { memory }) => {
      // Every update that starts after one with a callback is compared with nothing.
      if (params.callback?.url !== undefined) memory['verifying'] = true;
      if (memory['verifying'] === true) delete params.ifMatch;
    }),
  },
  {
    check: 'uns-ends',
    wrong: 'brings an ended subscription back with a late update',
    fault: {
      error: (error, { method }) =>
        method === 'triggers/get' && error.data?.reason === 'unsubscribed'
          ? { result: { resultType: 'complete' } }
          : { error },
    },
  },
];
