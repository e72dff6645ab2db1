/** Servers that wait too long, give up too early or never, and verify once only. */
import { hmac } from '../../../runner/server/callback-endpoint.ts';
import type { BrokenServer, Json } from '../proxy.ts';
import { onResult, stateOf, withHealth, withState } from '../fault-builders.ts';

const EXTENSION = 'io.modelcontextprotocol/triggers';
const SUSPENDED_MAX_MS = 3_600_000;

/** Announces `maxSuspendedMs` and changes the subscriptions that `triggers/get` shows. */
const announcing = (change: (subscription: Json) => Json): BrokenServer['fault'] => ({
  result: (result, { method }) => {
    const settings = result.capabilities?.extensions?.[EXTENSION];
    if (settings !== undefined) settings.maxSuspendedMs = SUSPENDED_MAX_MS;
    return method === 'triggers/get' ? change(result) : result;
  },
});

export const failureLimits: readonly BrokenServer[] = [
  {
    check: 'retry-cap',
    wrong: 'waits much longer after ten failures',
    fault: {
      callback: ({ body: { params }, memory }) => {
        if (params.challenge !== undefined) return undefined;
        const attempts = `attempts of ${params.subscriptionId}`;
        memory[attempts] = (memory[attempts] ?? 0) + 1;
        // The endpoint does not see this attempt.
        return memory[attempts] > 10 ? { status: 503, headers: {}, body: '' } : undefined;
      },
    },
  },
  {
    check: 'retry-time-limit',
    wrong: 'never gives up',
    fault: onResult(['get'], (result) =>
      stateOf(result) === 'suspended' ? withState(result, 'failing') : result,
    ),
  },
  {
    check: 'retry-time-limit',
    wrong: 'gives up after ten failures',
    fault: onResult(['get'], (result) =>
      result.callback?.health.attempts >= 10 ? withState(result, 'suspended') : result,
    ),
  },
  {
    check: 'end-suspended',
    wrong: 'keeps a suspended subscription beyond the announced time',
    fault: announcing((result) =>
      stateOf(result) === 'suspended'
        ? withHealth(result, {
            endsAt: new Date(
              Date.parse(result.callback.health.suspendedAt) + SUSPENDED_MAX_MS,
            ).toISOString(),
          })
        : result,
    ),
  },
  {
    check: 'end-suspended',
    wrong: 'does not show when a suspended subscription ends',
    fault: announcing((result) =>
      result.callback?.health.endsAt === undefined
        ? result
        : withHealth(result, { endsAt: undefined }),
    ),
  },
  {
    check: 'cbv-daily',
    wrong: 'verifies a callback once only',
    fault: {
      callback: ({ body: { params }, callback: { secret }, memory }) => {
        const { challenge, subscriptionId } = params;
        if (challenge === undefined) return undefined;
        const challenges = `challenges of ${subscriptionId}`;
        memory[challenges] = (memory[challenges] ?? 0) + 1;
        if (memory[challenges] === 1) return undefined;
        // The endpoint does not see this challenge.
        const proof = hmac(secret, `challenge.${challenge}`);
        const headers = { 'content-type': 'application/json' };
        return { status: 200, headers, body: JSON.stringify({ challenge, proof }) };
      },
    },
  },
  {
    check: 'cbv-daily',
    wrong: 'goes on after a failed verification',
    fault: onResult(['get'], (result) =>
      stateOf(result) === 'suspended' ? withState(result, 'failing') : result,
    ),
  },
];
