/** Tests the trace context of an event, from its source to every drain. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { ann, CALLBACK, listen, turns, world } from './harness.ts';

const _meta = {
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  tracestate: 'vendor=00f067aa0ba902b7,congo=t61rcWkgMzE',
};

describe('trace context of an event', () => {
  test('is in its _meta on pull, stream and callback [trace-kept]', async () => {
    const w = await world();
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
      callback: CALLBACK,
    });
    const stream = listen(w.engine, ann, { subscriptionId });
    await w.engine.emit({ name: 'tick', eventId: 'traced', data: { n: 1 }, _meta });
    await w.engine.emit({ name: 'tick', eventId: 'plain', data: { n: 2 } });
    await w.engine.settled();
    await turns();
    const after = { epoch: stream.deliveries[0]!.epoch, sequence: 0 };
    const { events } = await w.engine.pull(ann, { subscriptionId, after });
    const drained = [
      events,
      stream.deliveries.flatMap((one) => one.events),
      w.endpoints.requests.flatMap(({ delivery }) => delivery.events),
    ];
    for (const all of drained)
      assert.deepEqual(
        all.map((event) => [event.eventId, event._meta]),
        [
          ['traced', _meta],
          ['plain', undefined],
        ],
      );
    stream.abort.abort();
    await w.close();
  });

  test('is a header of a request with this event alone, not of one with several [trace-header]', async () => {
    const w = await world();
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
      callback: CALLBACK,
    });
    await w.engine.emit({ name: 'tick', data: { n: 1 }, _meta });
    await turns();
    await w.engine.emit({ name: 'tick', data: { n: 2 } });
    await turns();
    await w.engine.update(ann, { subscriptionId, paused: true });
    for (const n of [3, 4]) await w.engine.emit({ name: 'tick', data: { n }, _meta });
    await w.engine.settled();
    await w.engine.update(ann, { subscriptionId, paused: false });
    await turns();
    assert.deepEqual(
      w.endpoints.requests.map(({ headers, delivery }) => [
        delivery.events.length,
        headers['traceparent'],
        headers['tracestate'],
      ]),
      [
        [1, _meta.traceparent, _meta.tracestate],
        [1, undefined, undefined],
        [2, undefined, undefined],
      ],
    );
    assert.equal(w.endpoints.challenges[0]!.headers['traceparent'], undefined);
    await w.close();
  });

  test('is dropped and logged when it is not valid; the event is accepted [trace-kept]', async () => {
    const w = await world();
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }],
    });
    const bad = { traceparent: 'not-a-trace\r\nx: 1', tracestate: 'a=1' };
    await w.engine.emit({ name: 'tick', eventId: 'bad', data: { n: 1 }, _meta: bad });
    await w.engine.settled();
    const { events } = await w.engine.pull(ann, { subscriptionId });
    assert.deepEqual(
      events.map((event) => [event.eventId, event._meta]),
      [['bad', undefined]],
    );
    const [line] = w.logged.filter(({ message }) => message.includes('trace context'));
    assert.deepEqual(line?.fields, {
      trigger: 'tick',
      eventId: 'bad',
      members: ['traceparent', 'tracestate'],
    });
    assert.ok(!JSON.stringify(w.logged).includes('not-a-trace'));
    await w.close();
  });
});
