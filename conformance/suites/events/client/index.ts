/** Every scenario of SEP-3415 against a client. */
import assert from 'node:assert/strict';
import type { EventsClientScenario, EventsClientTest } from '../../../runner/events/client.ts';
import type { EventsCall } from '../../../runner/events/scripted-server.ts';
import { NotApplicable } from '../../../runner/looks.ts';
import type { Json } from '../../../runner/wire/session.ts';

const POLL_MS = 900;
/** A pause of so much may come out so much shorter. */
const JITTER_MS = 100;
/** "At once", on a slow machine. */
const SOON_MS = 3000;
const LONG_MS = 60_000;
const REQUEST_TIMEOUT_MS = 700;
const SILENCE_MS = 1000;
const GRANT_MS = 2500;
const SECRET = /^whsec_([A-Za-z0-9+/]+={0,2})$/;

/** How long after the one before it a poll came. */
const pauseBefore = (t: EventsClientTest, at: number): number =>
  t.polls[at]!.at - t.polls[at - 1]!.at;
const cursorOf = (call: EventsCall): unknown => call.params.cursor ?? null;
/** The next polls are answered like this, then everything is right again. */
function script(t: EventsClientTest, answers: readonly Json[]): void {
  const left = [...answers];
  t.server.behave('events/poll', (_params, right) => {
    const answer = left.shift();
    return answer === undefined ? right() : { ...right(), ...answer };
  });
}

export const eventsClient: readonly EventsClientScenario[] = [
  {
    name: 'client: without the extension',
    about: 'A server that does not declare it is not asked for events.',
    checks: ['client-no-extension'],
    async run(t) {
      t.server.settings = undefined;
      t.start('poll');
      await t.check('client-no-extension', 'no request of the extension is sent', async () => {
        await t.until('a first request', () => t.server.calls.length > 0 || t.hasEnded);
        await t.pause(1000);
        assert.deepEqual(
          t.server.calls
            .map(({ method }) => method)
            .filter((method) => method.startsWith('events/')),
          [],
        );
      });
    },
  },
  {
    name: 'client: a changed list',
    about: 'Who is told of a changed list reads it.',
    checks: ['client-relist-on-list-changed'],
    async run(t) {
      await t.follow('poll', { pollFloorMs: 100 });
      await t.check(
        'client-relist-on-list-changed',
        'after notifications/events/list_changed there is another events/list',
        async () => {
          const listens = (): boolean => t.server.listening.length > 0;
          await t.until('subscriptions/listen', listens, SOON_MS).catch(() => {
            throw new NotApplicable('the client does not ask to be told of changed lists');
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
    about: 'A client polls with the last cursor, when it is told to.',
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
        'the first poll has no cursor, the others that of the answer before',
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
        `after nextPollMs ${POLL_MS} it waits that long`,
        async () => {
          await t.poll(3);
          for (const at of [2, 3])
            assert.ok(
              pauseBefore(t, at) >= POLL_MS - JITTER_MS,
              `it waited ${pauseBefore(t, at)} ms`,
            );
        },
      );
      await t.check(
        'client-poll-drain-on-has-more',
        'after hasMore it polls at once, though nextPollMs is a minute',
        async () => {
          await t.until('a poll at once', () => t.polls.length > 4, SOON_MS);
          assert.equal(cursorOf(t.polls[4]!), 'four', 'its cursor:');
        },
      );
      await t.check(
        'client-truncated-persists-fresh-cursor',
        'after truncated it goes on from the fresh cursor',
        async () => assert.equal(cursorOf(await t.poll(5)), 'fresh', 'the cursor:'),
      );
      await t.check(
        'client-poll-floor',
        'with nextPollMs 0 it makes pauses all the same',
        async () => {
          t.server.nextPollMs = 0;
          const from = t.polls.length;
          await t.pause(1200);
          const count = t.polls.length - from;
          assert.ok(count <= 15, `${count} polls came in 1.2 s`);
        },
      );
    },
  },
  {
    name: 'client: cursors that are not there',
    about: 'Where there is no replay, there is no cursor.',
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
        'after a null cursor it polls with null, not with an older one',
        async () => assert.equal(cursorOf(await t.poll(2)), null, 'the cursor:'),
      );
      await t.check(
        'client-cursor-absent-tolerated',
        'an answer without a cursor is one with null',
        async () => assert.equal(cursorOf(await t.poll(4)), null, 'the cursor:'),
      );
    },
  },
  {
    name: 'client: a stream',
    about: 'A stream is kept as long as it lives, and opened again from the last cursor.',
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
        'a stream with heartbeats outlives the timeout of requests',
        async () => {
          t.requireTook('requestTimeoutMs');
          await t.pause(3 * REQUEST_TIMEOUT_MS);
          assert.equal(first.closed, undefined, 'who closed it:');
        },
      );
      await t.check(
        'client-cursor-absent-tolerated',
        'a heartbeat and an event without a cursor do no harm',
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
          assert.equal(first.closed, undefined, 'who closed the stream:');
        },
      );
      await t.check(
        'client-error-is-recoverable',
        'after notifications/events/error it stays, and takes what comes',
        async () => {
          first.notify('notifications/events/error', {
            error: { code: -32603, message: 'The upstream cannot be reached just now.' },
          });
          const { eventId } = server.append();
          await t.pause(300);
          assert.equal(first.closed, undefined, 'who closed the stream:');
          assert.ok(
            t.applied.length === 0 || t.hasApplied(eventId),
            'the event behind it was not handed on',
          );
        },
      );
      const last = server.cursor;
      await t.check(
        'client-stream-no-final-result',
        'when the stream breaks off without its result, another one is opened',
        async () => {
          first.cut();
          assert.equal(cursorOf((await t.stream(1)).call), last, 'its cursor:');
        },
      );
      await t.check(
        'client-stream-reconnect-with-cursor',
        'when it is silent, another one is opened with the last cursor',
        async () => {
          t.requireTook('streamSilenceMs');
          const second = await t.stream(1);
          server.append();
          await t.pause(100);
          server.warm = false;
          const silentSince = Date.now();
          const third = await t.stream(2);
          assert.equal(cursorOf(third.call), server.cursor, 'its cursor:');
          assert.ok(
            third.call.at - silentSince >= SILENCE_MS - 2 * JITTER_MS - 200,
            `it was given up after ${third.call.at - silentSince} ms of silence`,
          );
          assert.ok(second.closed !== undefined, 'the silent stream is still open');
        },
      );
    },
  },
  {
    name: 'client: an end',
    about: 'A subscription that the server ended is not made again, and the application is told.',
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
        'no other stream is opened, and it is told as an end',
        async () => {
          await t.until('the end to be told', () =>
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
    about: 'A webhook has a secret of the client, and is subscribed again in time.',
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
      await t.check('client-secret-format', 'whsec_ and base64 of 24 to 64 bytes', () => {
        const { secret } = subscribes()[0]!.params.delivery ?? {};
        const bytes = Buffer.from(SECRET.exec(String(secret))?.[1] ?? '', 'base64').length;
        assert.ok(
          bytes >= 24 && bytes <= 64,
          SECRET.test(String(secret))
            ? `it has ${bytes} bytes`
            : 'it has another form, or is missing',
        );
      });
      await t.check(
        'client-refresh-before-expiry',
        'it subscribes again with the same key before refreshBefore',
        async () => {
          for (const at of [1, 2]) {
            await t.until(`subscription number ${at + 1}`, () => subscribes().length > at);
            const [before, again] = [subscribes()[at - 1]!, subscribes()[at]!];
            assert.deepEqual(keyOf(again), keyOf(before), 'name, arguments and URL:');
            assert.ok(
              again.at - before.at < GRANT_MS,
              `it came ${again.at - before.at} ms later, for a grant of ${GRANT_MS} ms`,
            );
          }
        },
      );
    },
  },
];
