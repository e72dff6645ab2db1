/** Large events whose data are a resource (SEP: Data by reference). */
import assert from 'node:assert/strict';
import {
  gapsOf,
  readAll,
  sequencesOf,
  untilHead,
  untilStreamed,
} from '../../runner/server/coverage.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json, RpcError, Session } from '../../runner/wire/session.ts';

const OPTION = 'dataRef';
/** Data above the limit of 240 KiB, with characters of one, two and four bytes. */
const PAD = 'xü𝄞'.repeat(36_000);

/** Emits a small, a large and a small event, and resolves once the log has them. */
async function emitThree(t: ServerTest, log: Json): Promise<{ eventId: string; data: Json }> {
  const topic = t.topicOf(log);
  const name = t.control.type('plain');
  const large = { eventId: t.unique('event'), data: { topic, n: 2, pad: PAD } };
  await t.emit(topic, 1);
  await t.control.do('emit', { events: [{ name, ...large }] });
  await t.emit(topic, 1, { from: 3 });
  await untilHead(t, log.subscriptionId, 3);
  return large;
}

const fromStart = ({ subscriptionId, epoch }: Json) => ({
  subscriptionId,
  after: { epoch, sequence: 0 },
});
const pulled = (mcp: Session, { subscriptionId, epoch }: Json): Promise<Json[]> =>
  readAll(mcp, subscriptionId, { epoch, sequence: 0 });
const eventsOf = (deliveries: readonly Json[]): Json[] =>
  deliveries.flatMap(({ events }) => events);

/** The URI in the second event of a log. */
async function uriIn(mcp: Session, log: Json): Promise<string> {
  const uri: unknown = eventsOf(await pulled(mcp, log))[1]?.dataRef?.uri;
  assert.equal(typeof uri, 'string', '`dataRef.uri` of the large event:');
  return uri as string;
}

/** Asserts that the second of three events is by reference, and that the others have their data. */
function requireReference(deliveries: readonly Json[]): void {
  assert.deepEqual(
    [sequencesOf(deliveries), gapsOf(deliveries)],
    [[1, 2, 3], []],
    'sequence numbers of events and of gaps:',
  );
  assert.deepEqual(
    eventsOf(deliveries).map((event) => ['data' in event, 'dataRef' in event]),
    [
      [true, false],
      [false, true],
      [true, false],
    ],
    'whether each event has `data`, and `dataRef`:',
  );
}

/** An error without the URI, which names what was asked for. */
const shown = ({ code, message, data }: RpcError, uri: string): string =>
  JSON.stringify({ code, message, data }).replaceAll(uri, '');

export const dataRef = [
  scenario({
    name: 'data by reference: a large event',
    about:
      'A log of a client that declares dataRef has a large event by reference, and every other log has a gap.',
    checks: ['ref-event', 'ref-read', 'ref-unknown'],
    needs: { verbs: ['emit'], types: ['plain'], options: [OPTION] },
    eras: 'each',
    async run(t) {
      const declaring = await t.open(t.mcp.era, [OPTION]);
      const log = await t.subscribe({}, declaring);
      const { select } = log;
      const other = await t.subscribe({ select });
      const endpoint = t.offers('callback') ? await t.endpoint() : undefined;
      if (endpoint !== undefined)
        await t.subscribe({ select, callback: endpoint.callback }, declaring);
      const { data } = await emitThree(t, log);

      await t.check('ref-event', 'pulls return the large event with its reference', async () =>
        requireReference(await pulled(t.mcp, log)),
      );
      await t.check('ref-event', 'a stream sends the same', async () => {
        if (!t.offers('stream')) return;
        const stream = await t.stream(fromStart(log));
        await untilStreamed(t, stream, 3);
        requireReference(stream.deliveries);
      });
      await t.check('ref-event', 'a callback receives the same', async () => {
        if (endpoint === undefined) return;
        await t.until('three events at the callback', () => endpoint.events.length >= 3);
        requireReference(endpoint.deliveries.map(({ delivery }) => delivery));
      });
      await t.check('ref-read', 'the resource is the data as one JSON text', async () => {
        const { uri, bytes } = eventsOf(await pulled(t.mcp, log))[1].dataRef;
        const { contents } = await declaring.request('resources/read', { uri });
        assert.equal(contents?.length, 1, 'the number of contents:');
        const [{ text, mimeType, uri: named }] = contents;
        assert.deepEqual(
          [named, mimeType, Buffer.byteLength(String(text))],
          [uri, 'application/json', bytes],
          'URI, MIME type and bytes of the content:',
        );
        assert.deepEqual(JSON.parse(text), data, 'the data:');
      });
      await t.check('ref-unknown', 'the log of a client without the option has a gap', async () => {
        await untilHead(t, other.subscriptionId, 3);
        const all = await pulled(declaring, other);
        assert.deepEqual(
          [sequencesOf(all), gapsOf(all)],
          [[1, 3], [[2, 'too_large']]],
          'sequence numbers of events and of gaps:',
        );
      });
    },
  }),

  scenario({
    name: 'data by reference: who can read it',
    about:
      'For everybody else, and once the log no longer has the event, the resource does not exist.',
    checks: ['ref-owner'],
    needs: { verbs: ['emit', 'redact'], types: ['plain'], options: [OPTION] },
    async run(t) {
      const declaring = await t.open(t.mcp.era, [OPTION]);
      const log = await t.subscribe({}, declaring);
      const ending = await t.subscribe({ select: log.select }, declaring);
      const { eventId } = await emitThree(t, log);
      await untilHead(t, ending.subscriptionId, 3);
      const [uri, last] = [await uriIn(t.mcp, log), await uriIn(t.mcp, ending)];
      const unknown = `${uri}-unknown`;
      const requireUnknown = async (mcp: Session, asked: string): Promise<void> => {
        const [found, expected] = [
          await mcp.errorOf('resources/read', { uri: asked }),
          await mcp.errorOf('resources/read', { uri: unknown }),
        ];
        assert.equal(shown(found, asked), shown(expected, unknown), 'the error object:');
      };
      await t.check('ref-owner', 'the owner reads the data', async () => {
        for (const one of [uri, last]) await declaring.request('resources/read', { uri: one });
      });
      await t.check('ref-owner', 'for another owner the resource does not exist', async () =>
        requireUnknown(await t.as('other'), uri),
      );
      await t.check('ref-owner', 'after a redaction it does not exist', async () => {
        await t.control.do('redact', { name: t.control.type('plain'), eventId });
        await requireUnknown(declaring, uri);
      });
      await t.check(
        'ref-owner',
        'after the end of the subscription it does not exist',
        async () => {
          await t.mcp.request('triggers/unsubscribe', { subscriptionId: ending.subscriptionId });
          await requireUnknown(declaring, last);
        },
      );
    },
  }),
];
