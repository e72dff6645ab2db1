/** The rungs of `events/*`, against servers that are scripted word by word. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { until } from '../support.ts';
import { EventsServer } from './events-server.ts';
import { MODERN, SESSIONS, startRaw } from './raw-server.ts';
import { followed } from './support.ts';

const POLL_BLIND = 'chosen events.poll: undetected, none, client';
const POLL = 'upgraded events.poll: flagged, flag, client';

for (const dialect of ['sep', 'sketch'] as const) {
  for (const era of [MODERN, SESSIONS]) {
    test(`[deg-say, deg-no-invented-numbers] poll in the words of ${dialect}, ${era}: from now on, in order, and the guarantee said`, async (t) => {
      const events = Object.assign(new EventsServer(), { dialect, delivery: ['poll'], maxEvents: 2 });
      const server = await startRaw(t, (raw) => { raw.era = era; events.attach(raw); });
      events.happen(3);
      const follower = await followed(t, server.url);
      assert.deepEqual(await follower.words(2), [POLL_BLIND, POLL]);
      events.happen(5);
      assert.deepEqual(await follower.items(5), ['e4', 'e5', 'e6', 'e7', 'e8']);
      const polls = server.calls.filter(({ method }) => method === 'events/poll');
      assert.equal(polls[0]!.params.cursor, null);
      assert.deepEqual(polls[0]!.params.arguments, {});
    });
  }
}
