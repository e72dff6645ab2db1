/** Positions and acknowledgement (SEP: Positions, Acknowledgement). */
import assert from 'node:assert/strict';
import { NotShown } from '../../runner/observations.ts';
import {
  coveredBy,
  gapsOf,
  gapSpans,
  untilHead,
  readAll,
  errorOf,
  spans,
  untilStreamed,
  upTo,
  WELL_BEYOND,
} from '../../runner/server/coverage.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json, RpcError } from '../../runner/wire/session.ts';

const UNKNOWN_EPOCH = 'AAAAAAAAAAAAAAAAAAAAAA';

/** The places of requests that take a position. */
const places = (
  t: ServerTest,
): readonly (readonly [where: string, method: string, params: (position: Json) => object])[] => [
  ['`after` of a pull', 'triggers/pull', (position) => ({ after: position })],
  ['`ack` of a pull', 'triggers/pull', (position) => ({ ack: position })],
  ['`position` of an acknowledgement', 'triggers/ack', (position) => ({ position })],
  ...(t.offers('stream')
    ? [
        [
          '`after` of a stream',
          'triggers/stream',
          (position: Json) => ({ after: position }),
        ] as const,
      ]
    : []),
];

/** Creates a log with `head` events, of which `sent` were sent and `acked` acknowledged. */
async function log(
  t: ServerTest,
  { head, sent, acked }: { readonly head: number; readonly sent: number; readonly acked: number },
) {
  const subscription = await t.subscribe();
  const { subscriptionId, epoch } = subscription;
  const topic = t.topicOf(subscription);
  await t.emit(topic, head);
  await untilHead(t, subscriptionId, head);
  await t.mcp.request('triggers/pull', { subscriptionId, maxEvents: sent });
  const at = (sequence: number) => ({ epoch, sequence });
  const ack = (sequence: number): Promise<Json> =>
    t.mcp.request('triggers/ack', { subscriptionId, position: at(sequence) }, { validated: false });
  if (acked > 0) await ack(acked);
  const get = (): Promise<Json> => t.mcp.request('triggers/get', { subscriptionId });
  return { subscription, subscriptionId, epoch, topic, at, ack, get };
}

/** The state that an error leaves unchanged. */
const state = ({ epoch, head, acked, oldest, etag, status }: Json) => ({
  epoch,
  head,
  acked,
  oldest,
  etag,
  status,
});

export const positions = [
  scenario({
    name: 'positions: rejected positions',
    about:
      'The server rejects a position that does not belong to the log, reports the state of the log, and changes nothing.',
    checks: ['pos-epoch', 'pos-beyond-head', 'err-codes'],
    needs: { verbs: ['emit'], types: ['plain'] },
    eras: 'each',
    async run(t) {
      const { subscriptionId, epoch, at, get } = await log(t, { head: 5, sent: 3, acked: 2 });
      const other = (await t.subscribe()).epoch;
      const before = state(await get());
      const conflicts: { readonly what: string; readonly rejection: RpcError }[] = [];

      for (const [where, method, params] of places(t)) {
        for (const half of [3, '3', { sequence: 3 }, { epoch }, [epoch, 3], `${epoch}:3`]) {
          await t.check(
            'pos-epoch',
            `${JSON.stringify(half).replace(epoch, 'EPOCH')} as ${where} is rejected as invalid`,
            async () => {
              const { code, data } = await errorOf(t, method, {
                subscriptionId,
                ...params(half),
              });
              assert.deepEqual(
                [code, data?.kind],
                [-32602, 'invalid'],
                'code and `data.kind` of the error:',
              );
            },
          );
        }
        const wrong: readonly (readonly [
          check: string,
          what: string,
          position: Json,
          kind: string,
        ])[] = [
          ['pos-epoch', 'an unknown epoch', { epoch: UNKNOWN_EPOCH, sequence: 3 }, 'epoch'],
          ['pos-epoch', 'an unknown epoch with 0', { epoch: UNKNOWN_EPOCH, sequence: 0 }, 'epoch'],
          ['pos-epoch', 'the epoch of another log', { epoch: other, sequence: 0 }, 'epoch'],
          ['pos-beyond-head', 'a position one above the head', at(6), 'position'],
          [
            'pos-beyond-head',
            'a position at the largest integer',
            at(Number.MAX_SAFE_INTEGER),
            'position',
          ],
        ];
        for (const [check, what, position, kind] of wrong) {
          await t.check(
            check,
            `${what} as ${where} returns Conflict of kind "${kind}"`,
            async () => {
              const rejection = await errorOf(t, method, { subscriptionId, ...params(position) });
              conflicts.push({ what: `${what}, as ${where}`, rejection });
              assert.deepEqual(
                [rejection.code, rejection.data?.kind],
                [-32602, kind],
                'code and `data.kind` of the error:',
              );
            },
          );
        }
      }
      await t.check(
        ['pos-epoch', 'pos-beyond-head'],
        'a valid ack is not applied when the position next to it is rejected',
        async () => {
          for (const position of [at(6), { epoch: UNKNOWN_EPOCH, sequence: 0 }])
            await t.mcp.errorOf('triggers/pull', { subscriptionId, after: position, ack: at(3) });
          assert.equal((await get()).acked, 2, '`acked`:');
        },
      );
      await t.check(
        'err-codes',
        'a Conflict of kind "epoch" or "position" reports the state of the log',
        () => {
          assert.ok(conflicts.length > 0, 'no position was rejected');
          for (const {
            what,
            rejection: { data },
          } of conflicts)
            assert.deepEqual(
              [data?.epoch, data?.head, data?.acked],
              [epoch, 5, 2],
              `\`epoch\`, \`head\` and \`acked\` of the error for ${what}:`,
            );
        },
      );
      await t.check(
        ['pos-epoch', 'pos-beyond-head'],
        'rejected positions leave the log unchanged',
        async () => assert.deepEqual(state(await get()), before),
      );
      await t.check('pos-epoch', 'a valid position is accepted in each place', async () => {
        for (const [where, method, params] of places(t)) {
          if (method !== 'triggers/stream')
            await t.mcp.request(method, { subscriptionId, ...params(at(2)) });
          else
            await untilStreamed(t, await t.stream({ subscriptionId, ...params(at(2)) }), 5).catch(
              (error: unknown) => {
                throw new Error(`${where}: ${(error as Error).message}`);
              },
            );
        }
      });
    },
  }),

  scenario({
    name: 'positions: below the retained events',
    about:
      'Reading from a position below the retained events starts there, with a gap for the trimmed ones.',
    checks: ['pos-old-valid'],
    needs: { verbs: ['emit'], types: ['short'] },
    async run(t) {
      const name = t.control.type('short');
      const subscription = await t.subscribe({
        select: [{ name, arguments: { topic: t.unique('topic') } }],
      });
      const {
        subscriptionId,
        epoch,
        retention: { maxEvents },
      } = subscription;
      const head = WELL_BEYOND * maxEvents;
      await t.emit(t.topicOf(subscription), head, { name });
      await untilHead(t, subscriptionId, head);
      const reads = async (from: number): Promise<void> => {
        const { oldest } = await t.mcp.request('triggers/get', { subscriptionId });
        if (oldest <= from + 1)
          throw new NotShown(
            `The server still has sequence number ${from + 1} of ${head}, although its retention is ${maxEvents} events.`,
          );
        const read = await readAll(t.mcp, subscriptionId, { epoch, sequence: from });
        assert.equal(read[0]?.afterSequence, from, '`afterSequence` of the first result:');
        assert.equal(
          gapSpans(gapsOf(read)),
          `${spans(upTo(from + 1, oldest - 1))} retention`,
          'gaps:',
        );
        assert.equal(spans(coveredBy(read)), `${from + 1}-${head}`, 'covered sequence numbers:');
      };
      for (const from of [0, 3])
        await t.check(
          'pos-old-valid',
          `a pull after ${from} starts with a gap and continues with the retained events`,
          () => reads(from),
        );
      await t.check('pos-old-valid', 'a stream after 3 starts with the gap too', async () => {
        if (!t.offers('stream')) return;
        const stream = await t.stream({ subscriptionId, after: { epoch, sequence: 3 } });
        await untilStreamed(t, stream, head);
        assert.equal(
          stream.deliveries[0].afterSequence,
          3,
          '`afterSequence` of the first delivery:',
        );
        assert.equal(spans(coveredBy(stream.deliveries)), `4-${head}`, 'covered sequence numbers:');
      });
      await t.check('pos-old-valid', 'a trimmed position can be acknowledged', async () =>
        assert.equal(
          (
            await t.mcp.request('triggers/ack', {
              subscriptionId,
              position: { epoch, sequence: 3 },
            })
          ).acked,
          3,
          '`acked`:',
        ),
      );
      await t.check(
        'pos-old-valid',
        'a pull after 3 reports the gap although everything is acknowledged',
        async () => {
          await t.mcp.request('triggers/ack', {
            subscriptionId,
            position: { epoch, sequence: head },
          });
          await reads(3);
        },
      );
    },
  }),

  scenario({
    name: 'acknowledging',
    about:
      'An acknowledgement covers everything below it, never decreases, and does not exceed what was sent.',
    checks: ['ack-cumulative', 'ack-only-said', 'ack-sent'],
    needs: { verbs: ['emit'], types: ['plain'] },
    eras: 'each',
    async run(t) {
      const { subscriptionId, epoch, topic, ack, at, get } = await log(t, {
        head: 6,
        sent: 4,
        acked: 0,
      });
      const seen: number[] = [];
      const look = async (): Promise<Json> => {
        const now = await get();
        seen.push(
          now.acked,
          (await t.mcp.request('triggers/pull', { subscriptionId, maxEvents: 0 })).acked,
        );
        return now;
      };
      const result = ({ epoch: its, acked, head }: Json) => ({ epoch: its, acked, head });

      await t.check(
        'ack-sent',
        'a position that no delivery has covered cannot be acknowledged',
        async () => {
          for (const [method, params] of [
            ['triggers/ack', { position: at(5) }],
            ['triggers/pull', { ack: at(5) }],
          ] as const) {
            const { code, data } = await t.mcp.errorOf(method, { subscriptionId, ...params });
            assert.deepEqual(
              [code, data?.kind, data?.sent],
              [-32602, 'position', 4],
              `code, \`data.kind\` and \`data.sent\` of the error of ${method}:`,
            );
          }
          assert.equal((await look()).acked, 0, '`acked` afterwards:');
        },
      );
      await t.check(
        'ack-sent',
        'a range that was read ahead of what was sent does not make the numbers before it acknowledgeable',
        async () => {
          await t.mcp.request('triggers/pull', { subscriptionId, after: at(5) });
          const { code, data } = await errorOf(t, 'triggers/ack', {
            subscriptionId,
            position: at(6),
          });
          assert.deepEqual(
            [code, data?.kind, data?.sent],
            [-32602, 'position', 4],
            'code, `data.kind` and `data.sent` of the error after a pull of 6 alone:',
          );
        },
      );
      await t.check('ack-cumulative', 'acknowledging 3 acknowledges 1 and 2', async () => {
        assert.deepEqual(
          result(await ack(3)),
          { epoch, acked: 3, head: 6 },
          'the result of triggers/ack:',
        );
        assert.equal((await look()).acked, 3, '`acked` of the subscription:');
      });
      await t.check(
        'ack-cumulative',
        'reading continues after the acknowledged position',
        async () =>
          assert.equal(
            (await t.mcp.request('triggers/pull', { subscriptionId, maxEvents: 1 })).events[0]
              ?.sequence,
            4,
            'the first sequence number of a pull:',
          ),
      );
      await t.check(
        'ack-cumulative',
        'a lower or equal acknowledgement succeeds and changes nothing',
        async () => {
          const before = state(await get());
          for (const sequence of [3, 1, 0]) {
            assert.deepEqual(
              result(await ack(sequence)),
              { epoch, acked: 3, head: 6 },
              `the result of acknowledging ${sequence}:`,
            );
            assert.deepEqual(
              state(await look()),
              before,
              `the subscription after acknowledging ${sequence}:`,
            );
          }
        },
      );
      await t.check('ack-cumulative', 'the result has the current head', async () => {
        await t.emit(topic, 1, { from: 7 });
        await untilHead(t, subscriptionId, 7);
        assert.deepEqual(
          result(await ack(4)),
          { epoch, acked: 4, head: 7 },
          'the result of triggers/ack:',
        );
      });
      await t.check(
        'ack-sent',
        'a gap at the end of the log can be acknowledged once a pull has reported it',
        async () => {
          await t.emit(topic, 1, { from: 8, data: { pad: 'x'.repeat(250_000) } });
          await untilHead(t, subscriptionId, 8);
          assert.equal(
            spans(coveredBy([await t.mcp.request('triggers/pull', { subscriptionId })])),
            '5-8',
            'sequence numbers covered by the pull:',
          );
          assert.equal((await ack(8)).acked, 8, '`acked`:');
        },
      );
      if (t.offers('stream'))
        await t.check(
          'ack-sent',
          'a gap at the end of the log can be acknowledged once a stream has reported it',
          async () => {
            await t.emit(topic, 1, { from: 9, data: { pad: 'x'.repeat(250_000) } });
            await untilStreamed(t, await t.stream({ subscriptionId }), 9);
            assert.equal((await ack(9)).acked, 9, '`acked`:');
          },
        );
      await look();
      await t.check('ack-only-said', '`acked` never decreased', () =>
        assert.deepEqual(
          seen,
          seen.toSorted((a, b) => a - b),
          '`acked` over time:',
        ),
      );
    },
  }),

  scenario({
    name: 'acknowledging: explicit only',
    about:
      'Only an explicit acknowledgement changes `acked`: not reading, not renewing, not a gap.',
    checks: ['ack-only-said'],
    needs: { verbs: ['emit', 'redact'], types: ['plain'] },
    async run(t) {
      const { subscription, subscriptionId, epoch, topic, ack, at, get } = await log(t, {
        head: 6,
        sent: 6,
        acked: 2,
      });
      const [{ eventId }] = (
        await t.mcp.request('triggers/pull', { subscriptionId, after: at(2), maxEvents: 1 })
      ).events;
      const happens: readonly (readonly [what: string, act: () => Promise<unknown>])[] = [
        ['everything was pulled', () => readAll(t.mcp, subscriptionId, { epoch, sequence: 0 })],
        ...(t.offers('stream')
          ? [
              [
                'everything was streamed',
                async () => untilStreamed(t, await t.stream({ subscriptionId }), 6),
              ] as const,
            ]
          : []),
        [
          'the subscription was renewed, paused and resumed',
          async () => {
            await t.mcp.request('triggers/subscribe', {
              key: subscription.key,
              select: subscription.select,
            });
            for (const paused of t.declares('pause') ? [true, false] : [])
              await t.mcp.request('triggers/update', { subscriptionId, paused });
          },
        ],
        [
          'further events were appended',
          async () => {
            await t.emit(topic, 1, { from: 7 });
            await untilHead(t, subscriptionId, 7);
          },
        ],
        [
          'the next sequence number became a gap',
          () => t.control.do('redact', { name: t.control.type('plain'), eventId }),
        ],
        ['the gap was pulled', () => t.mcp.request('triggers/pull', { subscriptionId })],
      ];
      for (const [what, act] of happens) {
        await t.check('ack-only-said', `\`acked\` is unchanged after ${what}`, async () => {
          await act();
          // A server that acknowledges by itself may do so a moment later.
          await t.pause(50);
          assert.equal((await get()).acked, 2, '`acked`:');
        });
      }
      await t.check('ack-only-said', 'an explicit acknowledgement covers the gap', async () =>
        assert.equal((await ack(3)).acked, 3, '`acked` of the result:'),
      );
      await t.check('ack-only-said', 'the ack of a pull acknowledges too', async () =>
        assert.equal(
          (await t.mcp.request('triggers/pull', { subscriptionId, ack: at(4) })).acked,
          4,
          '`acked` of the result:',
        ),
      );
    },
  }),
];
