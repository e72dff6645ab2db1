/** Tests the tracking of a session's notification stream, whose state the SDK does not expose. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test, type TestContext } from 'vitest';
import { ServerStream } from '../../../../src/client/sdk/server-stream.ts';
import { systemClock } from '../../../../src/protocol/lib/clock.ts';
import { until } from '../../support.ts';

/** A server with scripted answers. */
async function answering(t: TestContext): Promise<{ url: string; responses: ServerResponse[] }> {
  const responses: ServerResponse[] = [];
  const server = createServer((_, response) => responses.push(response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, responses };
}

const ASK = { method: 'GET', headers: { accept: 'application/json, text/event-stream' } };

interface Opened {
  readonly stream: ServerStream;
  readonly url: string;
  readonly responses: ServerResponse[];
  readonly response: ServerResponse;
  readonly body: Promise<string>;
  lost(): number;
}

async function opened(t: TestContext, signal?: AbortSignal): Promise<Opened> {
  const { url, responses } = await answering(t);
  const stream = new ServerStream(fetch);
  let losses = 0;
  stream.onLost(() => {
    losses += 1;
  });
  const asked = stream.fetch(url, { ...ASK, ...(signal ? { signal } : {}) });
  await until(() => responses.length === 1);
  responses[0]!.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
  const body = (await asked).text();
  body.catch(() => undefined);
  return { stream, url, responses, response: responses[0]!, body, lost: () => losses };
}

describe('the stream of a session', () => {
  test('opened, then ended: lost once, with its bytes passed on unchanged', async (t) => {
    const { stream, response, body, lost } = await opened(t);
    assert.deepEqual(stream.state, { phase: 'open' });
    response.end('data: hello\n\n');
    assert.deepEqual([await body, lost(), stream.state], ['data: hello\n\n', 1, { phase: 'lost' }]);
  });

  test('broken off: lost once', async (t) => {
    const { stream, response, body, lost } = await opened(t);
    response.destroy();
    await assert.rejects(body);
    assert.deepEqual([lost(), stream.state], [1, { phase: 'lost' }]);
  });

  test('closed on this side: not lost', async (t) => {
    const stop = new AbortController();
    const { stream, body, lost } = await opened(t, stop.signal);
    stop.abort();
    await assert.rejects(body);
    assert.deepEqual([lost(), stream.state], [0, { phase: 'open' }]);
  });

  test('refused: a waiter gets the status', async (t) => {
    const { url, responses } = await answering(t);
    const stream = new ServerStream(fetch);
    assert.deepEqual(
      await stream.settled(systemClock, 10),
      { phase: 'absent' },
      'nothing was requested',
    );
    const settled = stream.settled(systemClock, 20_000);
    void stream.fetch(url, ASK);
    await until(() => responses.length === 1);
    responses[0]!.writeHead(405).end();
    assert.deepEqual(await settled, { phase: 'absent', status: 405 });
  });

  test('lost, then refused when reopened: a waiter gets both, with the status', async (t) => {
    const { stream, url, responses, response, body } = await opened(t);
    response.end();
    await body;
    const settled = stream.settled(systemClock, 20_000);
    void stream.fetch(url, ASK);
    await until(() => responses.length === 2);
    responses[1]!.writeHead(404).end();
    assert.deepEqual(await settled, { phase: 'lost', status: 404 });
  });

  test('ignores requests that do not open such a stream', async (t) => {
    const { url, responses } = await answering(t);
    const stream = new ServerStream(fetch);
    const asked = [
      stream.fetch(url, { method: 'POST', headers: ASK.headers, body: '{}' }),
      stream.fetch(url),
    ];
    await until(() => responses.length === 2);
    for (const response of responses) response.writeHead(404).end();
    await Promise.all(asked);
    assert.deepEqual(stream.state, { phase: 'absent' });
  });
});
