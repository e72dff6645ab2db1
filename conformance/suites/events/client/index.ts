/** Every scenario of SEP-3415 against a client. */
import assert from 'node:assert/strict';
import type { EventsClientScenario, EventsClientTest } from '../../../runner/events/client.ts';
import type { EventsCall } from '../../../runner/events/scripted-server.ts';
import { NotApplicable } from '../../../runner/observations.ts';
import type { Json } from '../../../runner/wire/session.ts';

const POLL_MS = 900;
/** Time by which a pause may be shorter than required. */
const JITTER_MS = 100;
/** Maximum wait for something that should happen at once, on a slow machine. */
const SOON_MS = 3000;
const LONG_MS = 60_000;
const REQUEST_TIMEOUT_MS = 700;
const SILENCE_MS = 1000;
const GRANT_MS = 2500;
const SECRET = /^whsec_([A-Za-z0-9+/]+={0,2})$/;

/** The time between the poll at this index and the one before it, in milliseconds. */
const pauseBefore = (t: EventsClientTest, at: number): number =>
  t.polls[at]!.at - t.polls[at - 1]!.at;
const cursorOf = (call: EventsCall): unknown => call.params.cursor ?? null;
/** Overrides members of the next poll results; later results are correct again. */
function script(t: EventsClientTest, answers: readonly Json[]): void {
  const left = [...answers];
  t.server.override('events/poll', (_params, correct) => {
    const answer = left.shift();
    return answer === undefined ? correct() : { ...correct(), ...answer };
  });
}

export const eventsClient: readonly EventsClientScenario[] = [
  {
    name: 'client: without the extension',
    about: 'A client sends no request of the extension to a server that does not declare it.',
    checks: ['client-no-extension'],
    async run(t) {
      t.server.settings = undefined;
      t.start('poll');
      await t.check(
        'client-no-extension',
        'the client sends no request of the extension',
        async () => {
          await t.until('a first request', () => t.server.calls.length > 0 || t.hasEnded);
          await t.pause(1000);
          assert.deepEqual(
            t.server.calls
              .map(({ method }) => method)
              .filter((method) => method.startsWith('events/')),
            [],
          );
        },
      );
    },
  },
  {
    name: 'client: a changed list',
    about: 'The client reads the list again after list_changed.',
    checks: ['client-relist-on-list-changed'],
    async run(t) {
      await t.follow('poll', { pollFloorMs: 100 });
      await t.check(
        'client-relist-on-list-changed',
        'the client calls events/list after notifications/events/list_changed',
        async () => {
          const listens = (): boolean => t.server.listening.length > 0;
          await t.until('subscriptions/listen', listens, SOON_MS).catch(() => {
            throw new NotApplicable('The client does not subscribe to list changes.');
          });
          const before = t.server.callsOf('events/list').length;
          t.server.changeList();
          await t.until(
            'another events/list',
            () => t.server.callsOf('events/list').length > before,
          );
        },
      );
    },
  },
  {
    name: 'client: polls',
    about: 'The client polls with the last cursor after the announced pause.',
    checks: [
      'client-poll-cursor',
      'client-poll-respects-next-poll-ms',
      'client-poll-floor',
      'client-poll-drain-on-has-more',
      'client-truncated-persists-fresh-cursor',
    ],
    async run(t) {
      const odd = 'k\u00fcrsor "1"/\u{1f600} ==';
      script(t, [
        { cursor: odd, nextPollMs: 0 },
        { cursor: 'two', nextPollMs: POLL_MS },
        { cursor: 'three', nextPollMs: POLL_MS },
        { cursor: 'four', hasMore: true, nextPollMs: LONG_MS },
        { cursor: 'fresh', truncated: true, nextPollMs: 0 },
      ]);
      await t.follow('poll', { pollFloorMs: 100 });
      await t.check(
        'client-poll-cursor',
        'the first poll has no cursor, and each later one has the cursor of the previous result',
        async () => {
          await t.poll(3);
          assert.deepEqual(
            t.polls.slice(0, 4).map(cursorOf),
            [null, odd, 'two', 'three'],
            'cursors:',
          );
        },
      );
      await t.check(
        'client-poll-respects-next-poll-ms',
        `the client waits nextPollMs ${POLL_MS} before the next poll`,
        async () => {
          await t.poll(3);
          for (const at of [2, 3])
            assert.ok(
              pauseBefore(t, at) >= POLL_MS - JITTER_MS,
              `the client waited ${pauseBefore(t, at)} ms`,
            );
        },
      );
      await t.check(
        'client-poll-drain-on-has-more',
        'the client polls at once after hasMore, although nextPollMs is one minute',
        async () => {
          await t.until('an immediate poll', () => t.polls.length > 4, SOON_MS);
          assert.equal(cursorOf(t.polls[4]!), 'four', 'the cursor:');
        },
      );
      await t.check(
        'client-truncated-persists-fresh-cursor',
        'after a truncated result the client continues from the new cursor',
        async () => assert.equal(cursorOf(await t.poll(5)), 'fresh', 'the cursor:'),
      );
      await t.check(
        'client-poll-floor',
        'the client pauses between polls even when nextPollMs is 0',
        async () => {
          t.server.nextPollMs = 0;
          const from = t.polls.length;
          await t.pause(1200);
          const count = t.polls.length - from;
          assert.ok(count <= 15, `the client sent ${count} polls in 1.2 s`);
        },
      );
    },
  },
  {
    name: 'client: missing cursors',
    about: 'A server without replay sends no cursor.',
    checks: ['client-null-cursor-not-replayed', 'client-cursor-absent-tolerated'],
    async run(t) {
      script(t, [
        { cursor: 'one', nextPollMs: 0 },
        { cursor: null, nextPollMs: 0 },
        { cursor: 'three', nextPollMs: 0 },
        { cursor: undefined, nextPollMs: 0 },
      ]);
      await t.follow('poll', { pollFloorMs: 100 });
      await t.check(
        'client-null-cursor-not-replayed',
        'the client polls with a null cursor after a null cursor',
        async () => assert.equal(cursorOf(await t.poll(2)), null, 'the cursor:'),
      );
      await t.check(
        'client-cursor-absent-tolerated',
        'the client treats an absent cursor as null',
        async () => assert.equal(cursorOf(await t.poll(4)), null, 'the cursor:'),
      );
    },
  },
  {
    name: 'client: a stream',
    about:
      'The client keeps a stream open while it sends messages, and replaces it from the last cursor.',
    checks: [
      'client-stream-no-timeout',
      'client-error-is-recoverable',
      'client-stream-no-final-result',
      'client-stream-reconnect-with-cursor',
      'client-cursor-absent-tolerated',
    ],
    async run(t) {
      const { server } = t;
      await t.follow('push', { requestTimeoutMs: REQUEST_TIMEOUT_MS, streamSilenceMs: SILENCE_MS });
      const first = await t.stream();
      server.append();
      await t.check(
        'client-stream-no-timeout',
        'a stream with heartbeats outlives the request timeout',
        async () => {
          t.requireTook('requestTimeoutMs');
          await t.pause(3 * REQUEST_TIMEOUT_MS);
          assert.equal(first.closed, undefined, 'closed by:');
        },
      );
      await t.check(
        'client-cursor-absent-tolerated',
        'the client accepts a heartbeat and an event without a cursor',
        async () => {
          first.notify('notifications/events/heartbeat', {});
          first.notify('notifications/events/event', {
            eventId: 'without-cursor',
            name: 'conformance.plain',
            timestamp: new Date().toISOString(),
            data: {},
          });
          server.append();
          await t.pause(300);
          assert.equal(first.closed, undefined, 'closed by:');
        },
      );
      await t.check(
        'client-error-is-recoverable',
        'the client keeps the stream after notifications/events/error and accepts later events',
        async () => {
          first.notify('notifications/events/error', {
            error: { code: -32603, message: 'The upstream cannot be reached just now.' },
          });
          const { eventId } = server.append();
          await t.pause(300);
          assert.equal(first.closed, undefined, 'closed by:');
          assert.ok(
            t.applied.length === 0 || t.hasApplied(eventId),
            'the client did not hand on the event after the error',
          );
        },
      );
      const last = server.cursor;
      await t.check(
        'client-stream-no-final-result',
        'the client opens another stream after one that broke without a result',
        async () => {
          first.cut();
          assert.equal(cursorOf((await t.stream(1)).call), last, 'the cursor:');
        },
      );
      await t.check(
        'client-stream-reconnect-with-cursor',
        'the client replaces a silent stream by one from the last cursor',
        async () => {
          t.requireTook('streamSilenceMs');
          const second = await t.stream(1);
          server.append();
          await t.pause(100);
          server.warm = false;
          const silentSince = Date.now();
          const third = await t.stream(2);
          assert.equal(cursorOf(third.call), server.cursor, 'the cursor:');
          assert.ok(
            third.call.at - silentSince >= SILENCE_MS - 2 * JITTER_MS - 200,
            `the client gave the stream up after ${third.call.at - silentSince} ms of silence`,
          );
          assert.ok(second.closed !== undefined, 'the silent stream is still open');
        },
      );
    },
  },
  {
    name: 'client: an end',
    about:
      'The client does not recreate a subscription that the server ended, and reports the end.',
    checks: ['client-terminated-tells'],
    async run(t) {
      await t.follow('push');
      const stream = await t.stream();
      t.server.append();
      await t
        .until('the event to be handed on', () => t.hasApplied('event-1'), SOON_MS)
        .catch(() => undefined);
      stream.notify('notifications/events/terminated', {
        error: { code: -32023, message: 'The event type was removed.', data: { kind: 'event' } },
      });
      stream.finish();
      await t.check(
        'client-terminated-tells',
        'the client opens no other stream and reports the end',
        async () => {
          await t.until('the end to be reported', () =>
            t.applied.some(({ applied }) => applied === 'ended'),
          );
          await t.pause(600);
          assert.equal(t.server.callsOf('events/stream').length, 1, 'streams:');
        },
      );
    },
  },
  {
    name: 'client: a webhook',
    about: 'The client generates the secret of a webhook and refreshes the subscription in time.',
    checks: ['client-secret-format', 'client-refresh-before-expiry'],
    async run(t) {
      t.server.grantMs = GRANT_MS;
      await t.follow('webhook');
      const subscribes = (): readonly EventsCall[] => t.server.callsOf('events/subscribe');
      const keyOf = ({ params: { name, arguments: args, delivery } }: EventsCall): unknown => [
        name,
        args,
        delivery?.url,
      ];
      await t.check(
        'client-secret-format',
        'the secret is whsec_ and the base64 of 24 to 64 bytes',
        () => {
          const { secret } = subscribes()[0]!.params.delivery ?? {};
          const bytes = Buffer.from(SECRET.exec(String(secret))?.[1] ?? '', 'base64').length;
          assert.ok(
            bytes >= 24 && bytes <= 64,
            SECRET.test(String(secret))
              ? `it has ${bytes} bytes`
              : 'it has another form or is missing',
          );
        },
      );
      await t.check(
        'client-refresh-before-expiry',
        'the client subscribes again with the same key before refreshBefore',
        async () => {
          for (const at of [1, 2]) {
            await t.until(`subscription number ${at + 1}`, () => subscribes().length > at);
            const [before, again] = [subscribes()[at - 1]!, subscribes()[at]!];
            assert.deepEqual(keyOf(again), keyOf(before), 'name, arguments and URL:');
            assert.ok(
              again.at - before.at < GRANT_MS,
              `the refresh came ${again.at - before.at} ms later, for a grant of ${GRANT_MS} ms`,
            );
          }
        },
      );
    },
  },
];
