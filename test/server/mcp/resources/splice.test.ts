/**
 * Tests frames inserted between the frames of another stream, wherever its bytes are split and
 * whichever side ends it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import fc from 'fast-check';
import { Splice } from '../../../../src/server/mcp/resources/splice.ts';

const frame = (message: object): string => `event: message\ndata: ${JSON.stringify(message)}\n\n`;

/** A source that the test feeds, spliced. */
function spliced(rewrite: ConstructorParameters<typeof Splice>[1]['rewrite'] = () => null) {
  const seen = { closed: 0, canceled: 0 };
  let feed!: ReadableStreamDefaultController<Uint8Array>;
  const source = new ReadableStream<Uint8Array>({
    start: (controller) => void (feed = controller),
    cancel: () => void (seen.canceled += 1),
  });
  const splice = new Splice(source, { rewrite, closed: () => void (seen.closed += 1) });
  return { splice, seen, feed };
}

describe('a splice', () => {
  test('passes every byte on, however they are split', async () => {
    const text = `: hello\n\n${frame({ method: 'a', text: 'ä\\n\\n💡' })}: keepalive\n\n${frame({ id: 1, result: {} })}`;
    const bytes = Buffer.from(text);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: bytes.length }), { maxLength: 12 }), async (cuts) => {
        const { splice, feed, seen } = spliced();
        const at = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
        for (let part = 1; part < at.length; part += 1)
          feed.enqueue(bytes.subarray(at[part - 1], at[part]));
        feed.close();
        assert.equal(await new Response(splice.body).text(), text);
        assert.equal(seen.closed, 1);
      }),
    );
  });

  test('inserts a message between two frames and never into one', async () => {
    const { splice, feed } = spliced();
    const reader = splice.body.getReader();
    const first = frame({ method: 'a' });
    feed.enqueue(Buffer.from(first.slice(0, 20)));
    const next = reader.read();
    splice.send({ method: 'ours' });
    assert.equal(Buffer.from((await next).value!).toString(), frame({ method: 'ours' }));
    feed.enqueue(Buffer.from(first.slice(20)));
    assert.equal(Buffer.from((await reader.read()).value!).toString(), first);
    await reader.cancel();
  });

  test('replaces one message with others', async () => {
    const { splice, feed } = spliced(({ method }) =>
      method === 'a' ? [{ method: 'b' }, { method: 'c' }] : null,
    );
    feed.enqueue(Buffer.from(frame({ method: 'a' }) + frame({ method: 'd' })));
    feed.close();
    assert.equal(
      await new Response(splice.body).text(),
      frame({ method: 'b' }) + frame({ method: 'c' }) + frame({ method: 'd' }),
    );
  });

  test('ends with a last message, cancels its source, and sends nothing more', async () => {
    const { splice, feed, seen } = spliced();
    feed.enqueue(Buffer.from(frame({ method: 'a' })));
    const reader = splice.body.getReader();
    await reader.read();
    splice.end({ id: 1, result: {} });
    splice.send({ method: 'late' });
    splice.end({ id: 1, result: {} });
    assert.equal(
      Buffer.from((await reader.read()).value!).toString(),
      frame({ id: 1, result: {} }),
    );
    assert.equal((await reader.read()).done, true);
    assert.deepEqual(seen, { closed: 1, canceled: 1 });
  });

  test('cancels its source when its reader stops', async () => {
    const { splice, seen } = spliced();
    await splice.body.cancel();
    splice.send({ method: 'late' });
    assert.deepEqual(seen, { closed: 1, canceled: 1 });
  });

  test('fails as its source does', async () => {
    const { splice, feed, seen } = spliced();
    const text = new Response(splice.body).text();
    feed.error(new Error('the source broke'));
    await assert.rejects(text, /the source broke/);
    assert.equal(seen.closed, 1);
  });

  test('reads from its source only on demand', async () => {
    let pulled = 0;
    const source = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          pulled += 1;
          controller.enqueue(Buffer.from(frame({ n: pulled })));
        },
      },
      { highWaterMark: 0 },
    );
    const splice = new Splice(source, { rewrite: () => null, closed: () => undefined });
    const reader = splice.body.getReader();
    await reader.read();
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(pulled <= 2, `${pulled} frames were read for one`);
    await reader.cancel();
  });
});
