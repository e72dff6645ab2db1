/**
 * Calls that overlap: a verification takes long, and what was checked before it can be wrong after
 * it (SEP: triggers/update, Verification).
 */
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import type { CallbackEndpoint } from '../../runner/server/callback-endpoint.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';

const NEEDS = { drains: ['callback'], types: ['plain'] } as const;

/** An endpoint whose answers to challenges wait until `release`. */
async function slow(t: ServerTest): Promise<CallbackEndpoint & { release(): void }> {
  const endpoint = await t.endpoint();
  const consent = endpoint.consent;
  let release!: () => void;
  const released = new Promise<void>((resolve) => (release = resolve));
  endpoint.consent = async (hit) => {
    await released;
    return consent(hit);
  };
  t.defer(async () => release());
  return Object.assign(endpoint, { release });
}

export const concurrency = [
  scenario({
    name: 'concurrency: a change during a verification',
    about: 'An update whose ETag is stale after its verification changes nothing.',
    checks: ['upd-if-match', 'gen-atomic'],
    needs: NEEDS,
    async run(t) {
      const { subscriptionId, etag } = await t.subscribe();
      const endpoint = await slow(t);
      const update = t.mcp.ask('triggers/update', {
        subscriptionId,
        ifMatch: etag,
        callback: endpoint.callback,
      });
      await t.until('the challenge', () => endpoint.challenges.length > 0);
      // A server can run both calls one after the other: the second one then ends after the first.
      const select = [{ name: t.control.type('plain'), arguments: { topic: t.unique('topic') } }];
      const other = t.mcp.ask('triggers/update', { subscriptionId, ifMatch: etag, select });
      await t.pause(300);
      endpoint.release();
      const [first, second] = await Promise.all([update, other]);
      await t.check('upd-if-match', 'of two updates with one ETag, one succeeds', () => {
        const kinds = [first, second].map(({ error }) =>
          error === undefined ? 'success' : ((error.data as Json)?.kind as string),
        );
        assert.deepEqual(kinds.toSorted(), ['etag', 'success'], 'the two answers:');
      });
      await t.check('gen-atomic', 'the rejected update has changed nothing', async () => {
        const now = await t.mcp.request('triggers/get', { subscriptionId });
        const selected = isDeepStrictEqual(now.select, select);
        assert.deepEqual(
          { callback: now.callback !== undefined, selected },
          { callback: first.error === undefined, selected: second.error === undefined },
          'which of the updates is in effect:',
        );
      });
    },
  }),

  scenario({
    name: 'concurrency: the end during a verification',
    about: 'An update does not bring back a subscription that ended during its verification.',
    checks: ['uns-ends', 'end-tombstone'],
    needs: NEEDS,
    async run(t) {
      const { subscriptionId } = await t.subscribe();
      const endpoint = await slow(t);
      const update = t.mcp.ask('triggers/update', { subscriptionId, callback: endpoint.callback });
      await t.until('the challenge', () => endpoint.challenges.length > 0);
      let answered = false;
      const ended = t.mcp
        .ask('triggers/unsubscribe', { subscriptionId })
        .finally(() => (answered = true));
      await t.pause(300);
      // A server may also answer one call after the other.
      const endedFirst = answered;
      endpoint.release();
      const [updated] = await Promise.all([update, ended]);
      await t.check('end-tombstone', 'an update after the end returns NotFound', async () => {
        if (endedFirst)
          assert.deepEqual(
            [updated.error?.code, (updated.error?.data as Json)?.reason],
            [-32023, 'unsubscribed'],
            'code and `data.reason` of the update:',
          );
        else
          assert.equal(
            (await t.mcp.errorOf('triggers/update', { subscriptionId })).code,
            -32023,
            'the code of a later update:',
          );
      });
      await t.check('uns-ends', 'the subscription stays ended', async () => {
        const { data } = await t.mcp.errorOf('triggers/get', { subscriptionId });
        assert.equal(data?.reason, 'unsubscribed', '`data.reason` of the error:');
      });
    },
  }),
];
