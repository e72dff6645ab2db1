/**
 * Tests that a stream lasts no longer than the authorization of its request, by the engine's clock.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { untilUnauthorized } from '../../../src/server/mcp/request-context.ts';
import { manualClock } from '../../../src/testing/index.ts';

const { signal: never } = new AbortController();

describe('a request with an authorization', () => {
  test('ends when the authorization does, and leaves no timer', async () => {
    const clock = manualClock();
    let end = never;
    const ended = untilUnauthorized(
      { stop: never, clock, authorizedUntil: clock.now() + 1000 },
      (signal) => {
        end = signal;
        return new Promise((resolve) =>
          signal.addEventListener('abort', () => resolve(), { once: true }),
        );
      },
    );
    clock.advance(999);
    assert.equal(end.aborted, false);
    clock.advance(1);
    await ended;
    assert.equal(clock.pending, 0);
  });

  test('is over before it begins when the authorization has expired, even if no timer has fired', async () => {
    const clock = manualClock();
    for (const authorizedUntil of [clock.now(), clock.now() - 1]) {
      await untilUnauthorized({ stop: never, clock, authorizedUntil }, async (signal) =>
        assert.equal(signal.aborted, true),
      );
    }
    assert.equal(clock.pending, 0);
  });

  test('without an expiry ends only with the client', async () => {
    const clock = manualClock();
    await untilUnauthorized({ stop: never, clock, authorizedUntil: null }, async (signal) =>
      assert.equal(signal, never),
    );
    assert.equal(clock.pending, 0);
  });
});
