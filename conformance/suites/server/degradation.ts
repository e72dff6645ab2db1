/** Serving SEP-3415 peers from the same logs (SEP: When a peer lacks the extension). */
import assert from 'node:assert/strict';
import { NotApplicable } from '../../runner/observations.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import { EXTENSION, type Json } from '../../runner/wire/session.ts';

const EVENTS = 'io.modelcontextprotocol/events';

/** Throws `NotApplicable` when the server does not speak SEP-3415. */
function requireEvents({ mcp }: ServerTest): void {
  const { extensions, events } = mcp.capabilities ?? {};
  if (extensions?.[EVENTS] === undefined && events === undefined)
    throw new NotApplicable('The server does not serve events/*.');
}

/** The members of this extension in an occurrence: position and subscription. */
const numberOf = (occurrence: Json): Json => occurrence?._meta?.[EXTENSION];

/** Asserts that a text sent for `events/*` contains no message or member of this extension. */
function requireNoTriggers(text: string, where: string): void {
  for (const word of [
    'notifications/triggers/',
    '"gaps"',
    '"acked"',
    '"challenge":"',
    'mcp-delivery-signature',
  ]) {
    if (word === '"challenge":"' && text.includes('"type":"verification"')) continue;
    assert.ok(!text.includes(word), `${where} contains ${word}`);
  }
}

export const degradation = [
  scenario({
    name: 'degradation: events/* from the same logs',
    about:
      'Polls and streams of SEP-3415 carry the sequence numbers of a log and no message of this extension.',
    checks: ['deg-server-same-log', 'deg-events-meta', 'deg-no-control'],
    needs: { types: ['plain'], verbs: ['emit'] },
    eras: '2026-07-28',
    async run(t) {
      requireEvents(t);
      const topic = t.unique('topic');
      const params = { name: t.control.type('plain'), arguments: { topic } };
      const poll = (cursor: string | null): Promise<Json> =>
        t.mcp.request('events/poll', { ...params, cursor });
      const first = await poll(null);
      await t.emit(topic, 4);
      const polled: Json[] = [];
      let { cursor } = first;
      await t.until('four polled events', async () => {
        const answer = await poll(cursor);
        polled.push(...answer.events);
        cursor = answer.cursor;
        return polled.length >= 4;
      });
      await t.check(
        'deg-events-meta',
        'every polled occurrence has subscriptionId, epoch, sequence and head',
        () => {
          for (const occurrence of polled) {
            const { subscriptionId, epoch, sequence, head } = numberOf(occurrence) ?? {};
            assert.deepEqual(
              [typeof subscriptionId, typeof epoch, typeof sequence, typeof head],
              ['string', 'string', 'number', 'number'],
              'the types of the members:',
            );
          }
        },
      );
      await t.check(
        'deg-server-same-log',
        'the sequence numbers are those of one log: 1 to 4, in order, each event once',
        () => {
          assert.deepEqual(
            polled.map(({ data }) => data.n),
            [1, 2, 3, 4],
            '`data.n` of the events:',
          );
          const numbers = polled.map(numberOf).filter((number) => number !== undefined);
          if (numbers.length > 0)
            assert.deepEqual(
              [
                numbers.map(({ sequence }) => sequence),
                new Set(numbers.map(({ epoch }) => epoch)).size,
              ],
              [[1, 2, 3, 4], 1],
              'sequence numbers, and different epochs:',
            );
        },
      );
      await t.check(
        'deg-server-same-log',
        'reading again from the first cursor returns the same events under the same sequence numbers',
        async () => {
          const again = (await poll(first.cursor)).events;
          assert.deepEqual(
            again.map((one: Json) => [one.eventId, numberOf(one)?.sequence]),
            polled.map((one) => [one.eventId, numberOf(one)?.sequence]),
            'events and sequence numbers:',
          );
        },
      );
      const stop = new AbortController();
      const stream = await t.mcp.open(
        'events/stream',
        { ...params, cursor: first.cursor },
        { signal: stop.signal },
      );
      t.defer(async () => stop.abort());
      const seen: Json[] = [];
      const reading = (async () => {
        for await (const message of stream.messages) seen.push(message);
      })().catch(() => undefined);
      await t.check(
        'deg-no-control',
        'a stream of events/* carries notifications/events/* only',
        async () => {
          await t.until(
            'four events on the stream',
            () => seen.filter(({ method }) => method === 'notifications/events/event').length >= 4,
          );
          requireNoTriggers(JSON.stringify(seen), 'a stream of events/*');
          assert.deepEqual(
            seen
              .map(({ method }) => method)
              .filter(
                (method) => method !== undefined && !method.startsWith('notifications/events/'),
              ),
            [],
            'other notifications:',
          );
        },
      );
      stop.abort();
      await reading;
    },
  }),

  scenario({
    name: 'degradation: webhooks of events/*',
    about:
      'A webhook of SEP-3415 receives what that protocol defines, and nothing of this extension but the sequence numbers in _meta.',
    checks: ['deg-no-control', 'deg-events-meta'],
    needs: { types: ['plain'], verbs: ['emit'], drains: ['callback'] },
    eras: '2026-07-28',
    async run(t) {
      requireEvents(t);
      const endpoint = await t.endpoint();
      // SEP-3415 verifies by an echoed challenge; the body is the envelope itself.
      const taken = ({ message }: { readonly message: Json }): Json => ({
        status: message?.type === 'verification' ? 200 : 204,
        body: message?.type === 'verification' ? { challenge: message.challenge } : '',
      });
      endpoint.answer = taken;
      endpoint.consent = taken;
      const topic = t.unique('topic');
      const key = { name: t.control.type('plain'), arguments: { topic } };
      await t.mcp.request('events/subscribe', {
        ...key,
        delivery: { mode: 'webhook', url: endpoint.url, secret: endpoint.secret },
      });
      t.defer(() => t.mcp.ask('events/unsubscribe', { ...key, delivery: { url: endpoint.url } }));
      await t.emit(topic, 2);
      const occurrences = (): Json[] =>
        endpoint.hits
          .map(({ message }) => message)
          .filter((message) => message?.eventId !== undefined);
      await t.until('two events at the webhook', () => occurrences().length >= 2);
      await t.check(
        'deg-no-control',
        'no request to the webhook has the body or a header of this extension',
        () => {
          for (const { message, headers, raw } of endpoint.hits) {
            assert.equal(message?.jsonrpc, undefined, '`jsonrpc` of a request to the webhook:');
            requireNoTriggers(raw.toString(), 'a request to the webhook');
            assert.deepEqual(
              [headers['mcp-subscription-id'], headers['mcp-delivery-signature']],
              [undefined, undefined],
              'headers of this extension:',
            );
          }
        },
      );
      await t.check('deg-events-meta', 'every occurrence has its sequence number', () =>
        assert.deepEqual(
          occurrences().map((one) => numberOf(one)?.sequence),
          [1, 2],
          '`sequence` in _meta:',
        ),
      );
    },
  }),
];
