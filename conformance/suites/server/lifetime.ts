/** Lifetimes of subscriptions (SEP: Lifetime). */
import assert from 'node:assert/strict';
import { untilHead, untilStreamed } from '../../runner/server/coverage.ts';
import { NotApplicable } from '../../runner/observations.ts';
import { scenario } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Time that may pass while a scenario runs. */
const SLACK_MS = 60_000;
/** Number of renewal hints that a scenario reads to see that they are random. */
const DRAWS = 24;

/** The shortest and the longest lifetime that a client can ask for. */
const [SHORTEST_MS, LONGEST_MS] = [1, 315_576_000_000];
const GRANT = ['ttlMs', 'expiresAt', 'renewAfterMs'];
/** The members of the grant that a subscription has; none of them without expiry. */
const grantedIn = (subscription: Json): string[] => GRANT.filter((name) => name in subscription);

export const lifetime = [
  scenario({
    name: 'lifetime: granted lifetimes',
    about:
      'The server grants every suggestion within its bounds, and draws a new renewal hint each time.',
    checks: ['ttl-clamp', 'ttl-null', 'ttl-default', 'ttl-renew-hint', 'ttl-renew-jitter'],
    needs: { types: ['plain'] },
    async run(t) {
      const { minTtlMs = SHORTEST_MS, maxTtlMs = LONGEST_MS } = t.settings;
      const within = (suggestion: number): number =>
        Math.min(Math.max(suggestion, minTtlMs), maxTtlMs);
      const grants: Json[] = [];
      for (const suggestion of [SHORTEST_MS, 59_999, 3 * HOUR_MS, 7 * DAY_MS, LONGEST_MS]) {
        const made = await t.check(
          'ttl-clamp',
          `the server does not reject a suggestion of ${suggestion} ms`,
          () => t.subscribe({ ttlMs: suggestion }),
        );
        if (made === undefined) continue;
        grants.push(made);
        await t.check(
          'ttl-clamp',
          `the server grants a suggestion of ${suggestion} ms within its bounds`,
          () => assert.equal(made.ttlMs, within(suggestion), '`ttlMs` granted:'),
        );
      }
      const kept = await t.subscribe();
      const { subscriptionId } = kept;
      grants.push(kept);
      await t.check(
        'ttl-default',
        'without a suggestion the server grants one hour, within its bounds',
        () => assert.equal(kept.ttlMs, within(HOUR_MS), '`ttlMs` granted:'),
      );
      await t.check(
        'ttl-clamp',
        'the server grants the suggestion of an update within the same bounds',
        async () => {
          for (const suggestion of [1, 2 * HOUR_MS + 1])
            assert.equal(
              (await t.mcp.request('triggers/update', { subscriptionId, ttlMs: suggestion })).ttlMs,
              within(suggestion),
              '`ttlMs` granted:',
            );
        },
      );
      await t.check(
        'ttl-null',
        'the server grants an expiry for a finite suggestion and for none',
        () => {
          for (const made of grants)
            assert.deepEqual(grantedIn(made), GRANT, 'members of a grant:');
        },
      );
      await t.check('ttl-renew-hint', 'renewAfterMs is less than ttlMs', () => {
        for (const { ttlMs, renewAfterMs } of grants)
          assert.ok(renewAfterMs < ttlMs, `ttlMs ${ttlMs}, renewAfterMs ${renewAfterMs}`);
      });
      await t.check(
        'ttl-renew-jitter',
        'renewAfterMs is random between 0.5 and 0.8 of the remaining lifetime',
        async () => {
          const parts: number[] = [];
          for (let draw = 0; draw < DRAWS; draw += 1) {
            const { ttlMs, renewAfterMs } = await t.mcp.request('triggers/update', {
              subscriptionId,
              ttlMs: DAY_MS,
            });
            parts.push(renewAfterMs / ttlMs);
          }
          const [least, most] = [Math.min(...parts), Math.max(...parts)];
          assert.ok(least >= 0.49 && most <= 0.8, `between ${least} and ${most} of the lifetime`);
          assert.ok(
            most - least >= 0.05,
            `${DRAWS} hints lie between ${least} and ${most} of the lifetime`,
          );
        },
      );

      const endless = await t.check('ttl-null', 'the server takes noExpiry', () =>
        t.subscribe({ noExpiry: true }),
      );
      if (endless === undefined) return;
      const isEndless = endless.ttlMs === undefined;
      await t.check(
        'ttl-null',
        'a subscription without expiry has no ttlMs, no expiresAt and no renewAfterMs, on any drain',
        async () => {
          if (!isEndless) return;
          const { etag } = endless;
          const params = { subscriptionId: endless.subscriptionId };
          const shown = {
            'triggers/subscribe': endless,
            'triggers/get': await t.mcp.request('triggers/get', params),
            'triggers/pull': await t.mcp.request('triggers/pull', params),
            ...(t.declares('conditionalReads')
              ? {
                  'triggers/get with a matching ETag': await t.mcp.request('triggers/get', {
                    ...params,
                    ifNoneMatch: etag,
                  }),
                }
              : {}),
          };
          for (const [what, result] of Object.entries(shown))
            assert.deepEqual(grantedIn(result), [], `members of a grant in ${what}:`);
        },
      );
      await t.check(
        'ttl-null',
        'an update with noExpiry removes the expiry exactly where a subscribe with it does',
        async () => {
          const updated = await t.mcp.request('triggers/update', {
            subscriptionId,
            noExpiry: true,
          });
          assert.deepEqual(grantedIn(updated), isEndless ? [] : GRANT, 'members of the grant:');
        },
      );
      await t.check(
        'ttl-null',
        'a server that always sets an expiry grants its longest lifetime for noExpiry',
        () => {
          if (isEndless) throw new NotApplicable('The server grants a lifetime without expiry.');
          assert.equal(
            endless.ttlMs,
            Math.max(...grants.map(({ ttlMs }) => ttlMs)),
            '`ttlMs` granted:',
          );
        },
      );
    },
  }),

  scenario({
    name: 'lifetime: reading does not renew',
    about: 'Reading and acknowledging do not renew a subscription.',
    checks: ['ttl-not-by-reading'],
    needs: { verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const endpoint = t.offers('callback') ? await t.endpoint() : undefined;
      const subscription = await t.subscribe({
        ttlMs: HOUR_MS,
        ...(endpoint === undefined ? {} : { callback: endpoint.callback }),
      });
      const { subscriptionId, epoch } = subscription;
      const expiresAt = async (): Promise<string> =>
        (await t.mcp.request('triggers/get', { subscriptionId })).expiresAt;
      const before = await expiresAt();
      const unchanged = async (): Promise<void> =>
        assert.equal(await expiresAt(), before, '`expiresAt`:');
      // A renewal would move the expiry by the time that passes here.
      await t.pause(50);
      await t.emit(t.topicOf(subscription), 3);
      await untilHead(t, subscriptionId, 3);
      await t.check('ttl-not-by-reading', 'a pull does not renew', async () => {
        await t.mcp.request('triggers/pull', { subscriptionId, after: { epoch, sequence: 0 } });
        await unchanged();
      });
      await t.check('ttl-not-by-reading', 'an acknowledgement does not renew', async () => {
        await t.mcp.request('triggers/ack', { subscriptionId, position: { epoch, sequence: 1 } });
        await t.mcp.request('triggers/pull', { subscriptionId, ack: { epoch, sequence: 2 } });
        await unchanged();
      });
      if (t.offers('stream')) {
        await t.check('ttl-not-by-reading', 'a stream does not renew', async () => {
          await untilStreamed(
            t,
            await t.stream({ subscriptionId, after: { epoch, sequence: 0 } }),
            3,
          );
          await unchanged();
        });
      }
      if (endpoint !== undefined) {
        await t.check('ttl-not-by-reading', 'a callback delivery does not renew', async () => {
          await t.until('the callback to receive everything', () =>
            endpoint.events.some(({ sequence }) => sequence === 3),
          );
          await unchanged();
        });
      }
    },
  }),

  scenario({
    name: 'lifetime: expiry',
    about: 'A subscription that is not renewed lasts until it expires, and then ends.',
    checks: ['ttl-kept', 'ttl-renew-jitter', 'end-tombstone'],
    needs: { verbs: ['emit', 'advance'], types: ['plain'] },
    alone: true,
    async run(t) {
      const {
        subscriptionId,
        epoch,
        ttlMs,
        select: [
          {
            arguments: { topic },
          },
        ],
      } = await t.subscribe({ ttlMs: 2 * HOUR_MS });
      const slackMs = Math.min(SLACK_MS, Math.floor(ttlMs / 4));
      await t.control.do('advance', { ms: Math.floor(ttlMs / 2) });
      await t.check(
        'ttl-renew-jitter',
        'after half a lifetime the hint is a part of the remaining time',
        async () => {
          const { renewAfterMs } = await t.mcp.request('triggers/get', { subscriptionId });
          assert.ok(
            renewAfterMs <= 0.4 * ttlMs && renewAfterMs >= 0.25 * (ttlMs - 2 * slackMs),
            `ttlMs ${ttlMs}, half of it passed, renewAfterMs ${renewAfterMs}`,
          );
        },
      );
      await t.control.do('advance', { ms: Math.floor(ttlMs / 2) - slackMs });
      await t.emit(topic, 2);
      await t.check(
        'ttl-kept',
        `${slackMs / 1000} s before its expiry an unused subscription exists, and its log continues`,
        () => untilHead(t, subscriptionId, 2),
      );
      await t.control.do('advance', { ms: slackMs + 1 });
      const data = await t.check(
        'ttl-kept',
        'at its expiry the subscription ends with reason expired',
        () =>
          t.until('the end of the subscription', async () => {
            const { error } = await t.mcp.ask('triggers/get', { subscriptionId });
            if (error !== undefined)
              assert.equal((error.data as Json)?.reason, 'expired', '`data.reason` of the error:');
            return error?.data;
          }),
      );
      await t.check(
        'end-tombstone',
        'almost a day later the server still reports how the subscription ended',
        async () => {
          assert.deepEqual(
            data,
            { kind: 'subscription', reason: 'expired', final: { epoch, head: 2, acked: 0 } },
            '`data` of the error:',
          );
          await t.control.do('advance', { ms: DAY_MS - 5 * SLACK_MS });
          assert.deepEqual(
            (await t.mcp.errorOf('triggers/get', { subscriptionId })).data,
            data,
            '`data` of the error almost a day later:',
          );
        },
      );
    },
  }),
];
