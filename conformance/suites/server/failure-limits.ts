/**
 * Limits of hours and days: the longest wait between attempts, the end of retrying, and daily
 * verifications (SEP: Suspension, Verification).
 */
import assert from 'node:assert/strict';
import { NotApplicable } from '../../runner/observations.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';
import { arrived, delivery, failures, MINUTE_MS, stateOf } from './following.ts';

const NEEDS = { drains: ['callback'], verbs: ['emit', 'advance'], types: ['plain'] } as const;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** The longest wait between two attempts. */
const WAIT_MAX_MS = 5 * MINUTE_MS;
/** Failures after which an unbounded backoff waits much longer than five minutes. */
const ROUNDS = 13;
/** Time in which something that must not happen would. */
const QUIET_MS = 400;

const isSuspended = async (t: ServerTest, { subscriptionId }: Json): Promise<boolean> =>
  stateOf(await t.mcp.request('triggers/get', { subscriptionId })) === 'suspended';

export const failureLimits = [
  scenario({
    name: 'failure: the longest wait',
    about: 'However often attempts fail, the next one comes within five minutes.',
    checks: ['retry-cap'],
    needs: NEEDS,
    alone: true,
    async run(t) {
      const endpoint = await t.endpoint();
      endpoint.answer = () => ({ status: 503 });
      const made = await t.subscribe({ callback: endpoint.callback, ttlMs: 2 * DAY_MS });
      await t.emit(t.topicOf(made), 1);
      await delivery(t, endpoint, 1);
      for (let round = 1; round <= ROUNDS; round += 1) {
        // The failure has to be recorded before the clock can reach the next attempt.
        await failures(t, made, round);
        const came = await t.check(
          'retry-cap',
          `the attempt after failure ${round} comes within five minutes`,
          async () => {
            const count = endpoint.deliveries.length;
            await t.control.do('advance', { ms: WAIT_MAX_MS });
            return delivery(t, endpoint, count + 1);
          },
        );
        if (came === undefined) return;
      }
    },
  }),

  scenario({
    name: 'failure: a day',
    about: 'After 24 hours of failures the server gives up; before, it does not.',
    checks: ['retry-time-limit'],
    needs: NEEDS,
    alone: true,
    async run(t) {
      const endpoint = await t.endpoint();
      endpoint.answer = () => ({ status: 503 });
      const made = await t.subscribe({ callback: endpoint.callback, ttlMs: 3 * DAY_MS });
      if (made.ttlMs < 2 * DAY_MS)
        throw new NotApplicable('The server grants no lifetime of two days.');
      await t.emit(t.topicOf(made), 1);
      await failures(t, made, 1);
      const fail = async (ms: number): Promise<void> => {
        const count = endpoint.deliveries.length;
        await t.control.do('advance', { ms });
        await delivery(t, endpoint, count + 1);
      };
      for (let hours = 0; hours < 23; hours += 1) {
        await fail(HOUR_MS);
        // The next step of the clock comes after the server has read the answer.
        await failures(t, made, hours + 2);
      }
      await t.check('retry-time-limit', 'after 23 hours the callback is not suspended', async () =>
        assert.equal(await isSuspended(t, made), false, 'suspended:'),
      );
      // A server may challenge a suspended endpoint, and a proof would resume the callback.
      endpoint.consent = () => ({ status: 503 });
      await t.check('retry-time-limit', 'after 24 hours it is suspended', async () => {
        await t.control.do('advance', { ms: HOUR_MS + WAIT_MAX_MS });
        await t.until('the callback to be suspended', () => isSuspended(t, made));
      });
      await t.check('retry-time-limit', 'and no further attempt is made', async () => {
        const count = endpoint.deliveries.filter(
          ({ delivery: { events } }) => events?.length > 0,
        ).length;
        await t.control.do('advance', { ms: HOUR_MS });
        await t.pause(QUIET_MS);
        assert.equal(
          endpoint.deliveries.filter(({ delivery: { events } }) => events?.length > 0).length,
          count,
          'attempts with events:',
        );
      });
    },
  }),

  scenario({
    name: 'failure: suspended for too long',
    about:
      'A subscription without expiry whose callback stays suspended ends after the announced time.',
    checks: ['end-suspended'],
    needs: NEEDS,
    alone: true,
    async run(t) {
      const { maxSuspendedMs } = t.settings;
      if (maxSuspendedMs === undefined)
        throw new NotApplicable('The settings have no maxSuspendedMs.');
      const endpoint = await t.endpoint();
      const made = await t.subscribe({ callback: endpoint.callback, noExpiry: true });
      if (made.ttlMs !== undefined)
        throw new NotApplicable('The server grants no subscription without expiry.');
      const { subscriptionId } = made;
      endpoint.answer = () => ({ status: 410 });
      endpoint.consent = () => ({ status: 410 });
      await t.emit(t.topicOf(made), 1);
      await t.until('the callback to be suspended', () => isSuspended(t, made));
      await t.check('end-suspended', 'health.endsAt is when the time has passed', async () => {
        const { health } = (await t.mcp.request('triggers/get', { subscriptionId })).callback;
        assert.equal(
          Date.parse(health.endsAt) - Date.parse(health.suspendedAt),
          maxSuspendedMs,
          'milliseconds from `health.suspendedAt` to `health.endsAt`:',
        );
      });
      await t.control.do('advance', { ms: maxSuspendedMs - MINUTE_MS });
      await t.check('end-suspended', 'a minute before, the subscription is alive', async () => {
        const pages = await t.mcp.pages('triggers/subscriptions');
        assert.ok(
          pages
            .flatMap(({ subscriptions }) => subscriptions)
            .some((one: Json) => one.subscriptionId === subscriptionId),
          'the subscription has ended',
        );
      });
      await t.check('end-suspended', 'reading puts off the end', async () => {
        await t.mcp.request('triggers/pull', { subscriptionId });
        await t.control.do('advance', { ms: 2 * MINUTE_MS });
        const { health } = (await t.mcp.request('triggers/get', { subscriptionId })).callback;
        const laterMs = Date.parse(health.endsAt) - Date.parse(health.suspendedAt);
        assert.ok(laterMs > maxSuspendedMs, `\`health.endsAt\` is still ${laterMs} ms later`);
      });
      await t.control.do('advance', { ms: maxSuspendedMs });
      await t.check('end-suspended', 'then it ends with reason failed', () =>
        t.until('the end of the subscription', async () => {
          const { error } = await t.mcp.ask('triggers/get', { subscriptionId });
          if (error !== undefined)
            assert.equal((error.data as Json)?.reason, 'failed', '`data.reason` of the error:');
          return error;
        }),
      );
    },
  }),

  scenario({
    name: 'verification: every day',
    about: 'The callback of a subscription without expiry is verified again every day.',
    checks: ['cbv-daily'],
    needs: NEEDS,
    alone: true,
    async run(t) {
      const endpoint = await t.endpoint();
      const made = await t.subscribe({ callback: endpoint.callback, noExpiry: true });
      if (made.ttlMs !== undefined)
        throw new NotApplicable('The server grants no subscription without expiry.');
      await t.check('cbv-daily', 'a challenge arrives within 24 hours', async () => {
        const count = endpoint.challenges.length;
        await t.control.do('advance', { ms: DAY_MS });
        await t.until('another challenge', () => endpoint.challenges.length > count);
      });
      await t.check('cbv-daily', 'after the proof, events are delivered', async () => {
        await t.emit(t.topicOf(made), 1);
        await arrived(t, endpoint, 1);
      });
      endpoint.consent = () => ({ status: 200, body: {} });
      await t.check('cbv-daily', 'a failed verification suspends the callback', async () => {
        await t.control.do('advance', { ms: DAY_MS });
        await t.until('the callback to be suspended', () => isSuspended(t, made));
      });
      await t.check('cbv-daily', 'and no event is sent any more', async () => {
        const count = endpoint.events.length;
        await t.emit(t.topicOf(made), 1, { from: 2 });
        await t.pause(QUIET_MS);
        assert.equal(endpoint.events.length, count, 'events at the callback:');
      });
    },
  }),
];
