/** Answers of an endpoint, and how the server interprets them (SEP: Answers). */
import assert from 'node:assert/strict';
import {
  acknowledge,
  lastOf,
  type CallbackEndpoint,
  type Hit,
  type Reply,
} from '../../runner/server/callback-endpoint.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';
import {
  acked,
  arrived,
  delivery,
  failures,
  loaded,
  MINUTE_MS,
  ofSeveral,
  quiet,
  sequences,
  serverTime,
  stateOf,
  upTo,
} from './following.ts';

const NEEDS = { drains: ['callback'], verbs: ['emit'], types: ['plain'] } as const;
const CANARY = 'canary-of-the-endpoint';

/** Answers that acknowledge nothing, to a first delivery of one or two events. */
const WORTHLESS: readonly (readonly [check: string, what: string, reply: (hit: Hit) => Reply])[] = [
  ['ans-no-ack', 'an empty answer', () => ({})],
  ['ans-no-ack', 'status 204', () => ({ status: 204 })],
  [
    'ans-no-ack',
    'an HTML page',
    () => ({ headers: { 'content-type': 'text/html' }, body: '<html>OK</html>' }),
  ],
  ['ans-no-ack', 'an object without `ackSequence`', () => ({ body: { ok: true } })],
  ['ans-no-ack', '`ackSequence` in a list', () => ({ body: [{ ackSequence: 1 }] })],
  ['ans-no-ack', 'a number', () => ({ body: '1' })],
  ['ans-no-ack', '`ackSequence` as a string', () => ({ body: { ackSequence: '1' } })],
  ['ans-no-ack', '`ackSequence` as null', () => ({ body: { ackSequence: null } })],
  ['ans-no-ack', 'a fractional `ackSequence`', () => ({ body: { ackSequence: 1.5 } })],
  ['ans-no-ack', 'truncated JSON', () => ({ body: '{"ackSequence":1' })],
  [
    'ans-no-ack',
    '`ackSequence` above what was sent',
    ({ delivery: sent }) => ({ body: { ackSequence: lastOf(sent) + 1 } }),
  ],
  [
    'ans-no-ack',
    '`ackSequence` far above what was sent',
    () => ({ body: { ackSequence: Number.MAX_SAFE_INTEGER } }),
  ],
  ['ans-no-ack', '`ackSequence` below zero', () => ({ body: { ackSequence: -1 } })],
  [
    'ans-no-ack',
    '`ackSequence` equal to `afterSequence`',
    ({ delivery: { afterSequence } }) => ({ body: { ackSequence: afterSequence } }),
  ],
  [
    'ans-reject-other',
    '`reject` of a later sequence number',
    () => ({ body: { ackSequence: 0, reject: { sequence: 2, reason: 'Never.' } } }),
  ],
  [
    'ans-reject-other',
    '`reject` of an acknowledged sequence number',
    () => ({ body: { ackSequence: 1, reject: { sequence: 1, reason: 'Never.' } } }),
  ],
  [
    'ans-reject-other',
    '`reject` beyond the delivery',
    ({ delivery: sent }) => ({
      body: { ackSequence: lastOf(sent), reject: { sequence: lastOf(sent) + 1, reason: 'Never.' } },
    }),
  ],
];

/** Answers that acknowledge, apart from their body. */
const WORTH: readonly (readonly [what: string, answer: Reply])[] = [
  ['status 200', {}],
  ['status 202', { status: 202 }],
  ['status 299', { status: 299 }],
  ['the content type text/plain', { headers: { 'content-type': 'text/plain' } }],
];

/** Subscribes with a callback that answers like this, and emits this many events. */
async function withEvents(
  t: ServerTest,
  count: number,
  answer: CallbackEndpoint['answer'],
  params: Json = {},
) {
  const endpoint = await t.endpoint();
  endpoint.answer = answer;
  const made = await t.subscribe({ callback: endpoint.callback, ...params });
  await t.emit(t.topicOf(made), count);
  return {
    endpoint,
    made,
    get: () => t.mcp.request('triggers/get', { subscriptionId: made.subscriptionId }),
    fromStart: () =>
      t.mcp.request('triggers/pull', {
        subscriptionId: made.subscriptionId,
        after: { epoch: made.epoch, sequence: 0 },
      }),
  };
}

/** Rejects this sequence number while it arrives as an event, and acknowledges the others. */
const rejecting =
  (number: number) =>
  (hit: Hit): Reply =>
    hit.delivery.events.some(({ sequence }: Json) => sequence === number)
      ? { body: { ackSequence: number - 1, reject: { sequence: number, reason: 'Never.' } } }
      : acknowledge(hit);
/** The gap of a delivery that contains this sequence number. */
const gapAt = ({ delivery: { gaps = [] } }: Hit, number: number): Json =>
  gaps.find(({ from, to }: Json) => from <= number && number <= to);

/** The shortest wait after an answer that acknowledges a part. */
const PARTIAL_PAUSE_MS = 100;
/** Two clocks that show whole milliseconds. */
const ROUNDING_MS = 2;

export const answers = [
  scenario({
    name: 'answers: acknowledgements',
    about:
      'A 2xx with a JSON object whose `ackSequence` is in range acknowledges, whatever else it contains.',
    checks: ['ans-ack'],
    needs: NEEDS,
    async run(t) {
      const acknowledges = (what: string, reply: (hit: Hit) => Reply): Promise<unknown> =>
        t.check('ans-ack', `the server accepts an acknowledgement with ${what}`, async () => {
          const { made, get } = await withEvents(t, 2, reply);
          await acked(t, made, 2);
          const {
            callback: { health },
          } = await get();
          assert.deepEqual(
            [health.attempts, health.lastError],
            [0, undefined],
            '`health.attempts` and `health.lastError`:',
          );
        });
      await Promise.all([
        ...WORTH.map(([what, answer]) =>
          acknowledges(what, (hit) => ({ ...acknowledge(hit), ...answer })),
        ),
        acknowledges('additional members', ({ delivery: sent }) => ({
          body: { ackSequence: lastOf(sent), took: 'long', nested: { ackSequence: 0 } },
        })),
        acknowledges('white space around it', ({ delivery: sent }) => ({
          body: `\r\n { "ackSequence" : ${lastOf(sent)} } \n`,
        })),
        t.check('ans-ack', 'an answer acknowledges everything up to `ackSequence`', async () => {
          const endpoint = await t.endpoint();
          const made = await loaded(t, endpoint, 5);
          await acked(t, made, 5);
          assert.deepEqual(
            sequences(endpoint.deliveries.map((hit) => hit.delivery)),
            upTo(1, 5),
            'events of all deliveries:',
          );
        }),
      ]);
    },
  }),

  scenario({
    name: 'answers: no acknowledgement',
    about: 'A 2xx without a valid `ackSequence` is a failure and makes no progress.',
    checks: ['ans-no-ack', 'ans-reject-other'],
    needs: NEEDS,
    async run(t) {
      await Promise.all(
        WORTHLESS.map(([check, what, reply]) =>
          t.check(check, `${what} counts as no_ack and makes no progress`, async () => {
            const { made, fromStart } = await withEvents(t, 2, reply);
            const now = await failures(t, made, 1);
            assert.deepEqual(
              [now.acked, now.callback.health.lastError],
              [0, 'no_ack'],
              '`acked` and `health.lastError`:',
            );
            const log = await fromStart();
            assert.deepEqual(
              [sequences([log]), log.gaps],
              [[1, 2], undefined],
              'events and gaps in the log:',
            );
          }),
        ),
      );
      await t.check(
        'ans-no-ack',
        '`ackSequence` below `afterSequence` counts as no_ack and makes no progress',
        async () => {
          const { made, endpoint } = await withEvents(t, 1, ({ delivery: sent }) => ({
            body: { ackSequence: sent.afterSequence === 0 ? 1 : 0 },
          }));
          await acked(t, made, 1);
          await t.emit(t.topicOf(made), 1, { from: 2 });
          await arrived(t, endpoint, 2);
          const now = await failures(t, made, 1);
          assert.deepEqual(
            [now.acked, now.callback.health.lastError],
            [1, 'no_ack'],
            '`acked` and `health.lastError`:',
          );
        },
      );
    },
  }),

  scenario({
    name: 'answers: partial acknowledgement',
    about: 'Delivery continues after what was acknowledged or rejected.',
    checks: ['ans-partial', 'ans-reject', 'ans-reject-gap'],
    needs: NEEDS,
    async run(t) {
      const partial = async (): Promise<void> => {
        const endpoint = await t.endpoint();
        let answeredAt = 0;
        endpoint.answer = (hit, n) => {
          if (n > 1) return acknowledge(hit);
          answeredAt = Date.now();
          return { body: { ackSequence: 1 } };
        };
        const made = await loaded(t, endpoint, 5);
        const [first, second] = [await delivery(t, endpoint, 1), await delivery(t, endpoint, 2)];
        await t.check(
          'ans-partial',
          'after an ack of one of five events, the next delivery starts with the second',
          async () => {
            assert.deepEqual(
              [second.delivery.afterSequence, second.delivery.events[0]?.sequence],
              [1, 2],
              '`afterSequence` and the first event of the next delivery:',
            );
            ofSeveral(first);
            await acked(t, made, 5);
            const waitedMs = second.at - first.at;
            assert.ok(waitedMs >= 99, `the next delivery came after ${waitedMs} ms`);
          },
        );
        await t.check('ans-partial', 'it comes after at least 100 milliseconds', () => {
          ofSeveral(first);
          const waited = second.at - answeredAt;
          assert.ok(waited >= PARTIAL_PAUSE_MS - ROUNDING_MS, `it came after ${waited} ms`);
        });
      };
      const reject = async (): Promise<void> => {
        if (!t.declares('reject')) return;
        const { endpoint, made, fromStart } = await withEvents(t, 3, rejecting(2));
        await t.check(
          'ans-reject',
          'the next delivery starts with a gap of reason rejected in place of the event',
          async () => {
            const telling = await t.until('a delivery with the gap', () =>
              endpoint.deliveries.find((hit) => gapAt(hit, 2) !== undefined),
            );
            assert.deepEqual(
              [telling.delivery.afterSequence, telling.delivery.gaps[0]],
              [1, { from: 2, to: 2, reason: 'rejected' }],
              '`afterSequence` and the gap:',
            );
            assert.equal(telling.delivery.acked, 1, '`acked` with the gap:');
          },
        );
        await t.check(
          'ans-reject',
          'delivery continues after the gap, which every drain reports',
          async () => {
            await acked(t, made, 3);
            assert.deepEqual(
              endpoint.events.filter(({ sequence }) => sequence === 2).length,
              1,
              'deliveries of event 2:',
            );
            const log = await fromStart();
            assert.deepEqual(
              [sequences([log]), log.gaps],
              [[1, 3], [{ from: 2, to: 2, reason: 'rejected' }]],
              'events and gaps of a pull:',
            );
          },
        );
      };
      const gapAlready = (): Promise<unknown> =>
        t.check(
          'ans-reject-gap',
          'a redacted event keeps its gap reason when the endpoint rejects it',
          async () => {
            t.control.require('redact');
            const endpoint = await t.endpoint();
            endpoint.answer = (hit) =>
              gapAt(hit, 2) === undefined
                ? acknowledge(hit)
                : { body: { ackSequence: 1, reject: { sequence: 2, reason: 'Never.' } } };
            const name = t.control.type('plain');
            const ids = upTo(1, 3).map(() => t.unique('event'));
            const made = await loaded(t, endpoint, 3, {
              fill: async (topic) => {
                await t.control.do('emit', {
                  events: ids.map((eventId, at) => ({ name, eventId, data: { topic, n: at + 1 } })),
                });
                await t.control.do('redact', { name, eventId: ids[1]! });
              },
            });
            await acked(t, made, 3);
            const reasons = endpoint.deliveries.flatMap((hit) => gapAt(hit, 2)?.reason ?? []);
            assert.deepEqual(
              reasons,
              reasons.map(() => 'redacted'),
              'reasons of the gap, delivery by delivery:',
            );
            assert.ok(reasons.length > 0, 'no delivery contained the gap');
          },
        );
      await Promise.all([partial(), reject(), gapAlready()]);
    },
  }),

  scenario({
    name: 'answers: redirect and 410',
    about: 'A redirect is not followed, and 410 suspends the callback.',
    checks: ['ans-no-redirect', 'ans-gone', 'retry-categories'],
    needs: NEEDS,
    async run(t) {
      const elsewhere = await t.endpoint();
      const redirect = (status: number): Promise<unknown> =>
        t.check(
          ['ans-no-redirect', 'retry-categories'],
          `a redirect with status ${status} counts as http_4xx and is not followed`,
          async () => {
            const { made } = await withEvents(t, 1, () => ({
              status,
              headers: { location: elsewhere.url },
            }));
            const now = await failures(t, made, 1);
            assert.deepEqual(
              [now.acked, now.callback.health.lastError],
              [0, 'http_4xx'],
              '`acked` and `health.lastError`:',
            );
            assert.equal(elsewhere.hits.length, 0, 'requests to the redirect target:');
          },
        );
      const gone = async (): Promise<void> => {
        const { endpoint, made, get, fromStart } = await withEvents(t, 1, () => ({ status: 410 }));
        await t.check(
          ['ans-gone', 'retry-categories'],
          'status 410 suspends the callback and keeps its URL',
          async () => {
            const now = await t.until('the callback to be suspended', async () => {
              const one = await get();
              return stateOf(one) === 'suspended' && one;
            });
            assert.deepEqual(
              [now.callback?.origin, now.callback?.health.lastError],
              [new URL(endpoint.url).origin, 'gone'],
              '`callback.origin` and `health.lastError`:',
            );
          },
        );
        await t.check(
          'ans-gone',
          'after 410 the server sends nothing more, and the log continues',
          async () => {
            const { length } = endpoint.deliveries;
            await t.emit(t.topicOf(made), 1, { from: 2 });
            // Wait to see that nothing more arrives.
            await t.pause(300);
            assert.equal(endpoint.deliveries.length, length, 'attempts:');
            assert.deepEqual(sequences([await fromStart()]), [1, 2], 'events in the log:');
          },
        );
        await t.check(
          'ans-gone',
          'after a resume the server uses the URL and the secret that it kept',
          async () => {
            endpoint.answer = acknowledge;
            await t.mcp.request('triggers/update', {
              subscriptionId: made.subscriptionId,
              resume: true,
            });
            await t.until('both events to be acknowledged', async () => (await get()).acked === 2);
          },
        );
      };
      await Promise.all([...[301, 302, 303, 307, 308].map(redirect), gone()]);
    },
  }),

  scenario({
    name: 'answers: other failures',
    about: 'The category of a failure follows from the status.',
    checks: ['retry-categories'],
    needs: NEEDS,
    async run(t) {
      const rows = [
        [400, 'http_4xx'],
        [404, 'http_4xx'],
        [408, 'http_4xx'],
        [418, 'http_4xx'],
        [429, 'http_4xx'],
        [500, 'http_5xx'],
        [503, 'http_5xx'],
        [599, 'http_5xx'],
      ] as const;
      await Promise.all(
        rows.map(([status, category]) =>
          t.check('retry-categories', `status ${status} counts as ${category}`, async () => {
            const { made } = await withEvents(t, 1, () => ({ status }));
            assert.equal(
              (await failures(t, made, 1)).callback.health.lastError,
              category,
              '`health.lastError`:',
            );
          }),
        ),
      );
    },
  }),

  scenario({
    name: 'answers: information for the client',
    about: "The client learns the category of a failure and nothing else of the endpoint's answer.",
    checks: ['ans-category-only'],
    needs: NEEDS,
    async run(t) {
      const reply = {
        status: 418,
        headers: { 'x-reason': CANARY, server: CANARY },
        body: { error: CANARY },
      };
      const { made, endpoint, fromStart } = await withEvents(t, 1, () => reply);
      const now = await failures(t, made, 1);
      await t.check(
        'ans-category-only',
        '`health` does not contain the status of the answer',
        () => {
          const {
            attempts: _,
            lastError: __,
            failingSince: ___,
            lastDeliveryAt: ____,
            ...more
          } = now.callback.health;
          assert.ok(
            !JSON.stringify(more).includes('418'),
            `\`health\` contains the status: ${JSON.stringify(more)}`,
          );
        },
      );
      await t.check(
        'ans-category-only',
        "no response to the client contains the body or headers of an endpoint's answer",
        async () => {
          endpoint.consent = () => reply;
          const refused = await t.mcp.ask('triggers/subscribe', {
            key: t.unique(),
            select: quiet(t),
            callback: { ...endpoint.callback, url: `${endpoint.url}/other` },
          });
          assert.ok(refused.error !== undefined, 'a failed challenge returned no error');
          const told = {
            'triggers/get': now,
            'triggers/pull': await fromStart(),
            'triggers/subscriptions': await t.mcp.request('triggers/subscriptions'),
            'the error of a challenge': refused.error,
          };
          for (const [where, what] of Object.entries(told))
            assert.ok(
              !JSON.stringify(what).includes(CANARY),
              `${where} repeats the endpoint's answer`,
            );
        },
      );
    },
  }),

  scenario({
    name: 'answers: too large',
    about: 'After 413 the server sends fewer events; a single event becomes a gap.',
    checks: ['ans-413'],
    needs: NEEDS,
    async run(t) {
      const several = (): Promise<unknown> =>
        t.check(
          'ans-413',
          'after 413 the next attempt has at most half as many events',
          async () => {
            const endpoint = await t.endpoint();
            endpoint.answer = (hit, n) => (n === 1 ? { status: 413 } : acknowledge(hit));
            const made = await loaded(t, endpoint, 7);
            const first = ofSeveral(await delivery(t, endpoint, 1));
            const second = await delivery(t, endpoint, 2);
            const [before, after] = [first.delivery.events.length, second.delivery.events.length];
            assert.ok(
              after >= 1 && after <= before / 2,
              `${before} events were too many, and the next attempt had ${after}`,
            );
            await acked(t, made, 7);
          },
        );
      const skips = (): Promise<unknown> =>
        t.check(
          'ans-413',
          'a single event that gets 413 becomes a gap of reason too_large at once, and the next event follows',
          async () => {
            const large = ({ delivery: { events } }: Hit): boolean =>
              events.some(({ sequence }: Json) => sequence === 1);
            const { endpoint, made } = await withEvents(t, 2, (hit) =>
              large(hit) ? { status: 413 } : acknowledge(hit),
            );
            await acked(t, made, 2);
            assert.equal(
              endpoint.deliveries.filter((hit) => large(hit) && hit.delivery.events.length === 1)
                .length,
              1,
              'attempts with the single event:',
            );
            const told = endpoint.deliveries.flatMap((hit) => gapAt(hit, 1) ?? []);
            assert.deepEqual(told[0], { from: 1, to: 1, reason: 'too_large' }, 'the gap:');
          },
        );
      const empty = (): Promise<unknown> =>
        t.check(
          'ans-413',
          'status 413 for a delivery without events is an ordinary failure',
          async () => {
            let tries = 0;
            const { made } = await withEvents(t, 1, async (hit) => {
              // The first answer turns the only event into a gap.
              if (hit.delivery.events.length > 0 || ++tries === 1) return { status: 413 };
              // Long enough for the failure to be recorded.
              await t.pause(300);
              return acknowledge(hit);
            });
            const now = await failures(t, made, 1);
            assert.deepEqual(
              [stateOf(now), now.callback.health.lastError, now.callback.health.attempts],
              ['failing', 'http_4xx', 1],
              '`callback.state`, `health.lastError` and `health.attempts`:',
            );
            await acked(t, made, 1);
            assert.equal(tries, 2, 'attempts with the gap:');
          },
        );
      await Promise.all([several(), skips(), empty()]);
    },
  }),

  scenario({
    name: 'answers: Retry-After',
    about: 'After 429 and 503 the server respects Retry-After.',
    checks: ['ans-retry-after'],
    needs: NEEDS,
    async run(t) {
      // Without the header the next attempt comes within a second.
      const rows = [
        [429, 'in seconds', () => '2', 2000],
        [503, 'in seconds', () => '2', 2000],
        [503, 'as a date', () => new Date(serverTime(t) + 3000).toUTCString(), 1500],
      ] as const;
      await Promise.all(
        rows.map(([status, form, value, leastMs]) =>
          t.check(
            'ans-retry-after',
            `Retry-After ${form} is respected after ${status}`,
            async () => {
              let answeredAt = 0;
              const { endpoint } = await withEvents(t, 1, (hit, n) => {
                if (n > 1) return acknowledge(hit);
                answeredAt = Date.now();
                return { status, headers: { 'retry-after': value() } };
              });
              const { at } = await t.until(
                'the next attempt',
                () => endpoint.deliveries[1],
                20_000,
              );
              // Timers can fire slightly early, and a date has no milliseconds.
              assert.ok(
                at - answeredAt >= leastMs - 50,
                `the next attempt came after ${at - answeredAt} ms instead of at least ${leastMs} ms`,
              );
            },
          ),
        ),
      );
    },
  }),

  scenario({
    name: 'answers: a long Retry-After',
    about: 'The server respects Retry-After for at most one hour.',
    checks: ['ans-retry-after'],
    needs: { ...NEEDS, verbs: ['emit', 'advance'] },
    alone: true,
    async run(t) {
      const endpoints = await Promise.all(
        ['7200', new Date(serverTime(t) + 120 * MINUTE_MS).toUTCString()].map(async (later) => {
          const { endpoint, made } = await withEvents(
            t,
            1,
            () => ({ status: 503, headers: { 'retry-after': later } }),
            { ttlMs: 1440 * MINUTE_MS },
          );
          await failures(t, made, 1);
          return endpoint;
        }),
      );
      await t.check(
        'ans-retry-after',
        'the server respects a Retry-After of two hours for one hour',
        async () => {
          for (const ms of [10 * MINUTE_MS, 49 * MINUTE_MS]) {
            await t.control.do('advance', { ms });
            // Wait to see that nothing more arrives.
            await t.pause(200);
            assert.deepEqual(
              endpoints.map(({ deliveries }) => deliveries.length),
              [1, 1],
              'attempts at the endpoint that sent seconds, and at the one that sent a date:',
            );
          }
        },
      );
    },
  }),
];
