/** Tests streams as their reader sees them: order, window, heartbeats and ends (SEP: Stream). */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, test } from 'vitest';
import { eventually, lastOf, sequencesOf, world, type Json, type World } from './world.ts';
import type { StreamReader } from './stream-reader.ts';

/** Reads the deliveries up to this number. */
async function readTo(stream: StreamReader, sequence: number): Promise<Json[]> {
  const all = [await stream.next()];
  while (lastOf(all.at(-1)!) < sequence) all.push(await stream.next());
  return all;
}

/** Reads what is in flight: all of it has arrived once a heartbeat follows. */
async function settled(w: World, stream: StreamReader): Promise<Json[]> {
  const all: Json[] = [];
  const before = stream.deliveries.length;
  await w.pass(15_000);
  await eventually('a heartbeat', () => stream.deliveries.length > before);
  while (stream.unread > 0) all.push(await stream.next());
  return all;
}

describe('triggers/stream', () => {
  test('[stream-continues] begins each delivery where the one before ended, and the first at the requested position', async (t) => {
    const w = await world(t);
    const { subscriptionId, epoch } = await w.subscribe();
    await w.open(130);
    for (const after of [undefined, 0, 1, 77, 130]) {
      const stream = await w.stream({
        subscriptionId,
        ...(after === undefined ? {} : { after: { epoch, sequence: after } }),
        window: { events: 1000 },
      });
      await w.open(1);
      const head = (await w.get(subscriptionId))['head'] as number;
      const all = await readTo(stream, head);
      let position = after ?? 0;
      for (const one of all) {
        assert.equal(one['afterSequence'], position);
        position = lastOf(one);
      }
      assert.deepEqual(
        all.flatMap(sequencesOf),
        Array.from({ length: head - (after ?? 0) }, (_, at) => (after ?? 0) + 1 + at),
      );
      stream.close();
    }
  });

  test('[stream-window] never has more events in flight than the window, and an acknowledgement on any connection makes room', async (t) => {
    const w = await world(t);
    const made = await w.subscribe();
    await w.open(20);
    const stream = await w.stream({
      subscriptionId: made['subscriptionId'],
      window: { events: 4 },
    });
    let received = (await settled(w, stream)).flatMap(sequencesOf);
    assert.deepEqual(received, [1, 2, 3, 4]);
    await w.ack(made, 1);
    received = (await settled(w, stream)).flatMap(sequencesOf);
    assert.deepEqual(received, [5]);
    await w.pull(made['subscriptionId'], {
      ack: { epoch: made['epoch'], sequence: 5 },
      maxEvents: 0,
    });
    received = (await settled(w, stream)).flatMap(sequencesOf);
    assert.deepEqual(received, [6, 7, 8, 9]);
  });

  test('[stream-window] never has more bytes in flight, except for a single event', async (t) => {
    const w = await world(t);
    const made = await w.subscribe();
    await w.open(3, { text: 'x'.repeat(600) });
    await w.open(1, { text: 'x'.repeat(5000) });
    await w.open(2, { text: 'x'.repeat(100) });
    const stream = await w.stream({
      subscriptionId: made['subscriptionId'],
      window: { bytes: 2048 },
    });
    const sizes = (events: Json[]): number =>
      events.reduce((sum, event) => sum + Buffer.byteLength(JSON.stringify(event)), 0);
    const flights: number[][] = [];
    for (;;) {
      const events = (await settled(w, stream)).flatMap(({ events }) => events as Json[]);
      if (events.length === 0) break;
      assert.ok(
        sizes(events) <= 2048 || events.length === 1,
        `${events.length} events of ${sizes(events)} bytes in flight`,
      );
      flights.push(events.map(({ sequence }) => sequence as number));
      await w.ack(made, flights.at(-1)!.at(-1)!);
    }
    assert.deepEqual(flights, [[1, 2], [3], [4], [5, 6]]);
  });

  test('[stream-window] counts what is in flight already when many events come at once', async (t) => {
    const w = await world(t);
    const made = await w.subscribe();
    const stream = await w.stream({
      subscriptionId: made['subscriptionId'],
      window: { bytes: 2048 },
    });
    await w.open(1, { text: 'x'.repeat(600) });
    await readTo(stream, 1);
    await Promise.all(Array.from({ length: 6 }, () => w.open(1, { text: 'x'.repeat(400) })));
    await settled(w, stream);
    const events = stream.deliveries.flatMap(({ events }) => events as Json[]);
    const bytes = events.reduce((sum, event) => sum + Buffer.byteLength(JSON.stringify(event)), 0);
    assert.ok(
      events.length > 1 && bytes <= 2048,
      `${events.length} events of ${bytes} bytes in flight`,
    );
  });

  test('[stream-window-clamp] clamps a window beyond any bound to at least 100 events', async (t) => {
    const w = await world(t);
    const { subscriptionId } = await w.subscribe();
    await w.open(150);
    const wide = await w.stream({
      subscriptionId,
      window: { events: 2 ** 53 - 1, bytes: 2 ** 53 - 1 },
    });
    assert.ok((await readTo(wide, 100)).flatMap(sequencesOf).length >= 100);
    const usual = await w.stream({ subscriptionId });
    assert.equal((await settled(w, usual)).flatMap(sequencesOf).length, 100);
  });

  test('[stream-heartbeat] is silent for at most 15 seconds, whatever happens on the log', async (t) => {
    const w = await world(t);
    const { subscriptionId } = await w.subscribe();
    const stream = await w.stream({ subscriptionId });
    await stream.next();
    for (let beat = 0; beat < 4; beat += 1) {
      await w.pass(15_000);
      const { events, afterSequence: after, head } = await stream.next();
      assert.deepEqual([events, after, head], [[], 0, 0]);
    }
    // An event restarts the interval: the next message comes within 15 s of it.
    await w.pass(7_000);
    await w.open(1);
    await readTo(stream, 1);
    await w.pass(15_000);
    assert.deepEqual((await stream.next())['events'], []);
  });

  test('[stream-heartbeat, stream-stalled] with a full window still sends heartbeats, and stays open without an acknowledgement', async (t) => {
    const w = await world(t);
    const made = await w.subscribe();
    await w.open(3);
    const stream = await w.stream({
      subscriptionId: made['subscriptionId'],
      window: { events: 1 },
    });
    assert.deepEqual((await readTo(stream, 1)).flatMap(sequencesOf), [1]);
    await w.pass(50_000);
    await w.ack(made, 1);
    assert.deepEqual((await settled(w, stream)).flatMap(sequencesOf), [2]);
    await w.pass(30_000);
    assert.equal(stream.over, false);
    const beats = stream.unread;
    assert.ok(beats >= 2, `${beats} heartbeats in 30 s`);
    await w.pass(120_000);
    assert.equal(stream.over, false);
    await w.ack(made, 2);
    assert.deepEqual((await settled(w, stream)).flatMap(sequencesOf), [3]);
    await w.call('triggers/unsubscribe', { subscriptionId: made['subscriptionId'] });
    const end = await stream.end();
    assert.deepEqual([end['id'], end['result']?.['resultType']], [stream.id, 'complete']);
  });

  test('[stream-log-stays] leaves the subscription unchanged when the server ends the stream or the client cuts it', async (t) => {
    const w = await world(t);
    const made = await w.subscribe();
    const { subscriptionId } = made;
    await w.open(3);
    const plain = (one: Json): Json => ({ ...one, renewAfterMs: undefined });
    const before = plain(await w.get(subscriptionId));
    const cut = await w.stream({ subscriptionId });
    await readTo(cut, 3);
    cut.close();
    await eventually('the stream is released', async () => (await w.engine.health()).streams === 0);
    assert.deepEqual(plain(await w.get(subscriptionId)), before);
    const again = await w.stream({ subscriptionId, window: { events: 1 } });
    await readTo(again, 1);
    again.close();
    await eventually('the stream is released', async () => (await w.engine.health()).streams === 0);
    assert.deepEqual(plain(await w.get(subscriptionId)), before);
    assert.deepEqual(sequencesOf(await w.pull(subscriptionId)), [1, 2, 3]);
  });

  test('[stream-several] has its own position and window beside other streams over the log', async (t) => {
    const w = await world(t);
    const made = await w.subscribe();
    const { subscriptionId, epoch } = made;
    await w.open(6);
    const all = await w.stream({ subscriptionId });
    const narrow = await w.stream({ subscriptionId, window: { events: 2 } });
    const late = await w.stream({
      subscriptionId,
      after: { epoch, sequence: 4 },
      window: { events: 1 },
    });
    const received = async (): Promise<number[][]> => {
      await w.pass(15_000);
      await w.pass(1_000);
      await eventually('all streams have sent a heartbeat', () =>
        [all, narrow, late].every((stream) => stream.deliveries.at(-1)?.['events'].length === 0),
      );
      return [all, narrow, late].map((stream) => stream.deliveries.flatMap(sequencesOf));
    };
    assert.deepEqual(await received(), [[1, 2, 3, 4, 5, 6], [1, 2], [5]]);
    await w.ack(made, 3);
    assert.deepEqual(await received(), [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5], [5]]);
    narrow.close();
    await w.ack(made, 6);
    await w.open(1);
    assert.deepEqual(await received().then(([a, , c]) => [a, c]), [
      [1, 2, 3, 4, 5, 6, 7],
      [5, 6, 7],
    ]);
    for (const stream of [all, narrow, late])
      assert.ok(
        stream.deliveries.every((one) => one['requestId'] === stream.id && !('_meta' in one)),
      );
  });

  test('[stream-unread] does not buffer without limit for a client that does not read: the connection is closed and the stream released', async (t) => {
    const w = await world(t);
    const made = await w.subscribe();
    const { subscriptionId } = made;
    const { hostname, port } = new URL(w.url);
    const socket = connect(Number(port), hostname);
    t.onTestFinished(() => void socket.destroy());
    const body = JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'triggers/stream',
      params: {
        subscriptionId,
        window: { events: 1000, bytes: 4_194_304 },
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
          'io.modelcontextprotocol/clientCapabilities': {},
        },
      },
    });
    socket.pause();
    socket.write(
      `POST /mcp HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMCP-Method: triggers/stream\r\nAuthorization: Bearer ${w.token('alice')}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
    await eventually('the stream is open', async () => (await w.engine.health()).streams === 1);
    // The client acknowledges what it never read, so that the window alone limits nothing.
    let produced = 0;
    while (produced < 64 * 2 ** 20 && (await w.engine.health()).streams === 1) {
      await w.open(10, { text: 'x'.repeat(200_000) });
      produced += 10 * 200_000;
      for (let more = true; more;) {
        const page = await w.pull(subscriptionId);
        await w.ack(made, sequencesOf(page).at(-1)!);
        more = page['hasMore'];
      }
    }
    await eventually('the stream is released', async () => (await w.engine.health()).streams === 0);
    assert.ok(
      produced < 64 * 2 ** 20,
      `${produced} bytes were produced and nothing stopped the stream`,
    );
  });
});
