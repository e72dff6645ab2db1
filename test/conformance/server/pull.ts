/** Pull: reading a log by asking. */
import assert from 'node:assert/strict';
import { scenario } from '../kit/server/scenario.ts';
import { lastOf } from '../kit/server/callback-endpoint.ts';

export const pull = [
  scenario({
    name: 'pull: reading on',
    about: 'Numbers come in order from where the client says, and reading acknowledges nothing.',
    checks: ['pull-after', 'pull-no-ack', 'pull-max', 'pull-zero', 'pull-has-more', 'pull-ack-first'],
    needs: { drains: ['pull'], verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const subscription = await t.subscribe();
      const { subscriptionId, epoch } = subscription;
      await t.emit(t.topicOf(subscription), 5);
      await t.until('all events to be numbered', async () => (await t.mcp.request('triggers/get', { subscriptionId })).head >= 5);

      const pulled = (params: object) => t.mcp.request('triggers/pull', { subscriptionId, ...params });
      await t.check('pull-after', 'a pull begins behind `after`', async () => {
        const answer = await pulled({ after: { epoch, sequence: 2 } });
        assert.deepEqual([answer.after, answer.events.map(({ sequence }: { sequence: number }) => sequence)], [2, [3, 4, 5]]);
      });
      await t.check('pull-max', 'at most maxEvents events', async () => assert.equal((await pulled({ maxEvents: 2 })).events.length, 2));
      await t.check('pull-has-more', '`hasMore` says whether there is more', async () => {
        assert.deepEqual([(await pulled({ maxEvents: 2 })).hasMore, (await pulled({})).hasMore], [true, false]);
      });
      await t.check('pull-zero', 'maxEvents 0 answers without events', async () => {
        const answer = await pulled({ maxEvents: 0 });
        assert.deepEqual([answer.events, lastOf(answer)], [[], answer.after]);
      });
      await t.check('pull-no-ack', 'nothing that was only read is acknowledged', async () => {
        await pulled({ after: { epoch, sequence: 4 } });
        assert.equal((await t.mcp.request('triggers/get', { subscriptionId })).acked, 0);
      });
      await t.check('pull-ack-first', '`ack` counts before the answer is made', async () => {
        const answer = await pulled({ ack: { epoch, sequence: 3 } });
        assert.deepEqual([answer.acked, answer.events.map(({ sequence }: { sequence: number }) => sequence)], [3, [4, 5]]);
      });
    },
  }),
];
