/** Servers that answer before they store, or store too little. */
import type { BrokenServer } from '../proxy.ts';
import { onError, onRequest } from '../fault-builders.ts';

export const durability: readonly BrokenServer[] = [
  {
    check: 'ack-only-said',
    wrong: 'answers an acknowledgement that it stores later',
    fault: onRequest(['ack'], async ({ subscriptionId, position }, { ask }) => {
      const { result } = await ask('triggers/get', { subscriptionId });
      if (result === undefined || position.sequence > result.head) return undefined;
      const { epoch, head } = result;
      return { result: { resultType: 'complete', epoch, head, acked: position.sequence } };
    }),
  },
  {
    check: 'ttl-survives',
    wrong: 'forgets how subscriptions ended',
    fault: onError((error) =>
      error.data?.kind === 'subscription' ? { ...error, data: { kind: 'subscription' } } : error,
    ),
  },
  {
    check: 'ttl-survives',
    wrong: 'forgets a changed secret',
    fault: {
      callback: (outgoing) => {
        if (outgoing.body.params.challenge !== undefined) return;
        outgoing.headers['webhook-signature'] = `v1,${'A'.repeat(43)}=`;
        outgoing.resign = false;
      },
    },
  },
];
