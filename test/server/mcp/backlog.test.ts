/** Tests the bounds on what a client leaves unread of an event stream. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { withBoundedBacklog } from '../../../src/server/mcp/backlog.ts';
import { manualClock } from '../../../src/testing/index.ts';
import { pause } from '../../client/peer.ts';

const MINUTE = 60_000;

/** An event stream through the bound, with its writer, its reader and its clock. */
function stream() {
  const clock = manualClock(Date.now());
  let drops = 0;
  let write!: (text: string) => void;
  let end!: () => void;
  const source = new ReadableStream<Uint8Array>({
    start(controller) {
      write = (text) => controller.enqueue(new TextEncoder().encode(text));
      end = () => controller.close();
    },
  });
  const response = withBoundedBacklog(
    new Response(source, { headers: { 'content-type': 'text/event-stream' } }),
    () => {
      drops += 1;
    },
    { maxBytes: 1000, clock },
  );
  return {
    clock,
    write,
    end,
    reader: response.body!.getReader(),
    get drops() {
      return drops;
    },
  };
}

describe('unread bytes of an event stream', () => {
  test('[stream-stalled] a connection that takes no bytes for a minute is closed, once', async () => {
    const one = stream();
    one.write('data: 1\n\n');
    await pause(5);
    one.clock.advance(MINUTE - 1);
    assert.equal(one.drops, 0);
    one.clock.advance(MINUTE);
    assert.equal(one.drops, 1);
    one.write('data: 2\n\n');
    await pause(5);
    one.clock.advance(5 * MINUTE);
    assert.equal(one.drops, 1);
  });

  test('[stream-stalled] a connection that takes something of what waits stays open, and so does a silent one', async () => {
    const one = stream();
    for (let n = 0; n < 5; n += 1) one.write(`data: ${n}\n\n`);
    await pause(5);
    for (let n = 0; n < 5; n += 1) {
      one.clock.advance(MINUTE - 1);
      await one.reader.read();
    }
    one.clock.advance(10 * MINUTE);
    assert.equal(one.drops, 0);
  });

  test('[stream-unread] more unread bytes than the bound close the connection at once', async () => {
    const one = stream();
    one.write('x'.repeat(1000));
    await pause(5);
    assert.equal(one.drops, 0);
    one.write('y');
    await pause(5);
    assert.equal(one.drops, 1);
    one.clock.advance(2 * MINUTE);
    assert.equal(one.drops, 1);
  });

  test('a stream that has ended is not closed by the bound', async () => {
    const one = stream();
    one.write('data: 1\n\n');
    one.end();
    await pause(5);
    await one.reader.read();
    assert.equal((await one.reader.read()).done, true);
    one.clock.advance(2 * MINUTE);
    assert.equal(one.drops, 0);
  });
});
