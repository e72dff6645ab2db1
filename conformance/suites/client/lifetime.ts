/** Renewals, and a changed list of trigger types (SEP: Lifetime, triggers/list). */
import assert from 'node:assert/strict';
import { clientScenario } from '../../runner/client/scenario.ts';
import { NotApplicable } from '../../runner/observations.ts';

const TTL_MS = 20_000;
const RENEW_AFTER_MS = 800;

export const lifetime = [
  clientScenario({
    name: 'lifetime: renewing',
    about: 'The client renews a subscription before it expires.',
    checks: ['ttl-client-renews'],
    async run(t) {
      const { server } = t;
      Object.assign(server.log, { ttlMs: TTL_MS, renewAfterMs: RENEW_AFTER_MS });
      await t.follow();
      const granted = server
        .callsOf('triggers/subscribe')
        .find(({ answeredAt }) => answeredAt !== undefined)!.answeredAt!;
      const renewals = () =>
        server
          .callsOf('triggers/subscribe', 'triggers/update')
          .filter(({ at }) => at >= granted + RENEW_AFTER_MS * 0.9);
      await t.check(
        'ttl-client-renews',
        `the client renews after ${RENEW_AFTER_MS} ms and before ${TTL_MS / 1000} s have passed`,
        async () => {
          await t.until('a renewal', () => renewals().length > 0, Math.min(TTL_MS, t.patienceMs));
          const { method, params } = renewals()[0]!;
          if (method === 'triggers/subscribe')
            assert.equal(params.key ?? server.log.key, server.log.key);
          else
            assert.ok(
              'ttlMs' in params || 'noExpiry' in params,
              'an update without "ttlMs" and "noExpiry" does not renew',
            );
        },
      );
    },
  }),
  clientScenario({
    name: 'stream: the list of types changes',
    about: 'A notification on an open stream announces a changed list.',
    checks: ['list-changed-reread'],
    async run(t) {
      const { server } = t;
      await t.drain('stream');
      server.append(1);
      await t.untilAcked(1);
      if (server.callsOf('triggers/list').length === 0)
        throw new NotApplicable('The client does not read the list of trigger types.');
      server.changeList();
      const changedAt = Date.now();
      (await t.stream()).notify('notifications/triggers/list_changed');
      await t.check(
        'list-changed-reread',
        'the client reads the list again with its ETag',
        async () => {
          await t.until('the client to read the list again', () =>
            server.callsOf('triggers/list').some(({ at }) => at >= changedAt),
          );
          assert.equal(
            server.callsOf('triggers/list').find(({ at }) => at >= changedAt)!.params.ifNoneMatch,
            'types-1',
          );
        },
      );
    },
  }),
];
