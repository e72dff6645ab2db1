/** How long a subscription lives (SEP: Lifetime). */
import assert from 'node:assert/strict';
import { numbered, streamed } from '../../runner/server/coverage.ts';
import { NotApplicable } from '../../runner/looks.ts';
import { scenario } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** So much of a lifetime may pass while a scenario is under way. */
const SLACK_MS = 60_000;
/** How often a hint is drawn, to see that it is drawn. */
const DRAWS = 24;

const NONE = { ttlMs: null, expiresAt: null, renewAfterMs: null };
const grantOf = ({ ttlMs, expiresAt, renewAfterMs }: Json) => ({ ttlMs, expiresAt, renewAfterMs });

export const lifetime = [
  scenario({
    name: 'lifetime: what is granted',
    about:
      'Every suggestion is granted within the bounds that are announced, and the hint when to renew is drawn anew each time.',
    checks: [
      'ttl-clamp',
      'ttl-no-refusal',
      'ttl-null',
      'ttl-null-durable',
      'ttl-null-finite',
      'ttl-default',
      'ttl-renew-hint',
      'ttl-renew-jitter',
    ],
    needs: { types: ['plain'] },
    async run(t) {
      const { minTtlMs = 0, maxTtlMs = Infinity, durability } = t.settings;
      const within = (suggestion: number): number =>
        Math.min(Math.max(suggestion, minTtlMs), maxTtlMs);
      const grants: Json[] = [];
      for (const suggestion of [0, 1, 59_999, 3 * HOUR_MS, 7 * DAY_MS, Number.MAX_SAFE_INTEGER]) {
        const made = await t.check(
          'ttl-no-refusal',
          `a suggestion of ${suggestion} ms is not refused`,
          () => t.subscribe({ ttlMs: suggestion }),
        );
        if (made === undefined) continue;
        grants.push(made);
        await t.check('ttl-clamp', `${suggestion} ms suggested, within the bounds`, () =>
          assert.equal(made.ttlMs, within(suggestion), '`ttlMs` granted:'),
        );
      }
      const kept = await t.subscribe();
      const { subscriptionId } = kept;
      grants.push(kept);
      await t.check('ttl-default', 'an hour when nothing is suggested, within the bounds', () =>
        assert.equal(kept.ttlMs, within(HOUR_MS), '`ttlMs` granted:'),
      );
      await t.check(
        ['ttl-clamp', 'ttl-no-refusal'],
        'an update grants by the same rule',
        async () => {
          for (const suggestion of [1, 2 * HOUR_MS + 1])
            assert.equal(
              (await t.mcp.request('triggers/update', { subscriptionId, ttlMs: suggestion })).ttlMs,
              within(suggestion),
              '`ttlMs` granted:',
            );
        },
      );
      await t.check('ttl-null', 'who suggests a lifetime, or nothing, is granted an end', () => {
        for (const made of grants)
          for (const [name, value] of Object.entries(grantOf(made)))
            assert.notEqual(value, null, `\`${name}\` of a grant is null`);
      });
      await t.check('ttl-renew-hint', 'renewAfterMs is less than ttlMs', () => {
        // Of a lifetime of nothing there is no less.
        for (const { ttlMs, renewAfterMs } of grants)
          assert.ok(
            ttlMs === 0 || renewAfterMs < ttlMs,
            `ttlMs ${ttlMs}, renewAfterMs ${renewAfterMs}`,
          );
      });
      await t.check(
        'ttl-renew-jitter',
        'renewAfterMs is between 0.5 and 0.8 of what is left, and not always the same',
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

      const endless = await t.subscribe({ ttlMs: null });
      await t.check('ttl-null', 'no expiry is three times null', () => {
        if (Object.values(grantOf(endless)).includes(null))
          assert.deepEqual(grantOf(endless), NONE);
      });
      await t.check('ttl-null-durable', 'no expiry is granted by a durable server only', () => {
        if (endless.ttlMs === null)
          assert.equal(durability, 'durable', '`durability` of a server that grants no expiry:');
      });
      await t.check(
        'ttl-null-finite',
        'where no expiry is not granted, the longest lifetime is',
        () => {
          if (endless.ttlMs === null) throw new NotApplicable('the server grants no expiry');
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
    about: 'Whoever only reads and acknowledges has the lifetime that was granted.',
    checks: ['ttl-not-by-reading'],
    needs: { verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const drains: readonly string[] = t.settings.drains;
      const endpoint = drains.includes('callback') ? await t.endpoint() : undefined;
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
      // A lifetime that was granted anew would end later by this.
      await t.pause(50);
      await t.emit(t.topicOf(subscription), 3);
      await numbered(t, subscriptionId, 3);
      await t.check('ttl-not-by-reading', 'a pull leaves the lifetime alone', async () => {
        await t.mcp.request('triggers/pull', { subscriptionId, after: { epoch, sequence: 0 } });
        await unchanged();
      });
      await t.check('ttl-not-by-reading', 'so does an acknowledgement', async () => {
        await t.mcp.request('triggers/ack', { subscriptionId, position: { epoch, sequence: 1 } });
        await t.mcp.request('triggers/pull', { subscriptionId, ack: { epoch, sequence: 2 } });
        await unchanged();
      });
      if (drains.includes('stream')) {
        await t.check('ttl-not-by-reading', 'so does a stream', async () => {
          await streamed(t, await t.stream({ subscriptionId, after: { epoch, sequence: 0 } }), 3);
          await unchanged();
        });
      }
      if (endpoint !== undefined) {
        await t.check('ttl-not-by-reading', 'so does a callback that acknowledges', async () => {
          await t.until('the callback to have all', () =>
            endpoint.events.some(({ sequence }) => sequence === 3),
          );
          await unchanged();
        });
      }
    },
  }),

  scenario({
    name: 'lifetime: the end',
    about: 'A subscription that nobody renews is there until it expires, and then it has ended.',
    checks: ['ttl-kept', 'ttl-expiry', 'ttl-renew-jitter', 'end-tombstone'],
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
        'half a lifetime later the hint is a part of what is left',
        async () => {
          const { renewAfterMs } = await t.mcp.request('triggers/get', { subscriptionId });
          assert.ok(
            renewAfterMs <= 0.4 * ttlMs && renewAfterMs >= 0.25 * (ttlMs - 2 * slackMs),
            `ttlMs ${ttlMs}, of which half has passed, renewAfterMs ${renewAfterMs}`,
          );
        },
      );
      await t.control.do('advance', { ms: Math.floor(ttlMs / 2) - slackMs });
      await t.emit(topic, 2);
      await t.check(
        'ttl-kept',
        `${slackMs / 1000} s before its end a subscription that nobody touched is there, and events are appended`,
        () => numbered(t, subscriptionId, 2),
      );
      await t.control.do('advance', { ms: slackMs + 1 });
      const data = await t.check('ttl-expiry', 'at its end it ends with reason expired', () =>
        t.until('the end of the subscription', async () => {
          const { error } = await t.mcp.ask('triggers/get', { subscriptionId });
          if (error !== undefined)
            assert.equal((error.data as Json)?.reason, 'expired', '`data.reason` of the error:');
          return error?.data;
        }),
      );
      await t.check(
        'end-tombstone',
        'almost a day later the server still knows how it ended',
        async () => {
          assert.deepEqual(
            data,
            { kind: 'subscription', reason: 'expired', final: { epoch, head: 2, acked: 0 } },
            '`data` of the error:',
          );
          await t.control.do('advance', { ms: DAY_MS - 5 * SLACK_MS });
          assert.deepEqual(
            (await t.mcp.refusal('triggers/get', { subscriptionId })).data,
            data,
            '`data` of the error almost a day later:',
          );
        },
      );
    },
  }),
];
