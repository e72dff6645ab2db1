/**
 * Replays the session of `docs/session.md` against the minimal server, in both protocol revisions,
 * and compares every byte of the page. `SESSION_WRITE=1` writes the page instead.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { test } from 'vitest';
import { fileURLToPath } from 'node:url';

const PAGE = fileURLToPath(new URL('../../docs/session.md', import.meta.url));
const SERVER = fileURLToPath(new URL('../peers/minimal-server.mjs', import.meta.url));
const META = 'io.modelcontextprotocol';
const EXTENSION = `${META}/triggers`;
const TYPE = 'minimal.plain';

const INTRODUCTION = `# A recorded session

Every request and every answer of one session with the [minimal server](../conformance/peers/minimal-server.mjs), in both protocol revisions,
with the headers that matter and with the calls of the [control interface](conformance.md#testing-a-server). A test repeats the session and
compares it with this page: [\`session.test.ts\`](../conformance/test/session.test.ts).

Values that differ in every run are replaced: tokens, session ids, subscription ids, epochs, ETags, instants and \`renewAfterMs\`.
`;

/** Names of values by the member that has them. */
const KINDS: Readonly<Record<string, string>> = {
  subscriptionId: 'sub',
  epoch: 'epoch',
  etag: 'etag',
};

type Json = any;

/** Replaces the values that differ in every run by names in the order of their appearance. */
class Names {
  readonly #known = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  #name(value: string, kind: string): string {
    const known = this.#known.get(value);
    if (known !== undefined) return known;
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    const name = kind.replace('N', String(count));
    this.#known.set(value, name);
    return name;
  }

  in(text: string, token: string): string {
    return text
      .replaceAll(token, 'TOKEN')
      .replace(/("(?:main|other|stranger|namesake|sibling)": )"[^"]+"/g, '$1"TOKEN"')
      .replace(
        /("(subscriptionId|epoch|etag)": )"([^"]+)"/g,
        (_, member: string, kind: string, value: string) =>
          `${member}"${this.#name(value, `${KINDS[kind]}_N`)}"`,
      )
      .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '2026-12-01T12:00:00.000Z')
      .replace(/("renewAfterMs": )\d+/g, '$12160000')
      .replace(/(mcp-session-id: ).*/g, '$1SESSION');
  }
}

/** One message as an HTTP block. */
const block = (start: string, headers: Record<string, string>, body: string): string =>
  [
    '```http',
    start,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ...(body === '' ? [] : ['', body]),
    '```',
    '',
  ].join('\n');

const pretty = (text: string): string =>
  text === '' ? '' : JSON.stringify(JSON.parse(text) as unknown, null, 2);

async function record(
  peer: { readonly url: string; readonly token: string; readonly control: string },
  revision: '2026-07-28' | '2025-11-25',
): Promise<string> {
  const modern = revision === '2026-07-28';
  const lines: string[] = [`## Revision ${revision}\n`];
  let id = 0;
  let session: string | undefined;

  const post = async (
    method: string,
    params: Json,
    { notification = false, headers = {} } = {},
  ): Promise<Response> => {
    const _meta = {
      [`${META}/protocolVersion`]: revision,
      [`${META}/clientInfo`]: { name: 'example-client', version: '1' },
      [`${META}/clientCapabilities`]: { extensions: { [EXTENSION]: {} } },
    };
    const sent = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${peer.token}`,
      ...(method === 'initialize' ? {} : { 'mcp-protocol-version': revision }),
      ...(modern ? { 'mcp-method': method } : {}),
      ...(session === undefined ? {} : { 'mcp-session-id': session }),
      ...headers,
    };
    const body = JSON.stringify({
      jsonrpc: '2.0',
      ...(notification ? {} : { id: ++id }),
      method,
      params: { ...params, ...(modern ? { _meta } : {}) },
    });
    lines.push(block('POST /mcp HTTP/1.1', sent, pretty(body)));
    const response = await fetch(peer.url, { method: 'POST', headers: sent, body });
    session ??= response.headers.get('mcp-session-id') ?? undefined;
    return response;
  };
  const shown = (response: Response): Record<string, string> =>
    Object.fromEntries(
      ['content-type', 'mcp-session-id'].flatMap((name) => {
        const value = response.headers.get(name);
        return value === null ? [] : [[name, value]];
      }),
    );
  const call = async (...args: Parameters<typeof post>): Promise<Json> => {
    const response = await post(...args);
    const text = await response.text();
    lines.push(block(`HTTP/1.1 ${response.status}`, shown(response), pretty(text)));
    return text === '' ? undefined : JSON.parse(text);
  };
  const control = async (body?: object): Promise<void> => {
    const headers = { 'content-type': 'application/json' };
    lines.push(
      body === undefined
        ? block('GET / HTTP/1.1', {}, '')
        : block('POST / HTTP/1.1', headers, JSON.stringify(body, null, 2)),
    );
    const response = await fetch(
      peer.control,
      body === undefined ? {} : { method: 'POST', headers, body: JSON.stringify(body) },
    );
    lines.push(
      block(`HTTP/1.1 ${response.status}`, shown(response), pretty(await response.text())),
    );
  };
  const say = (text: string): void => void lines.push(`${text}\n`);
  const event = (topic: string, n: number) => ({
    name: TYPE,
    eventId: `${topic}-${n}`,
    timestamp: '2026-12-01T12:00:00.000Z',
    data: { topic, n },
  });

  say('The client learns what the server can do.');
  if (modern) await call('server/discover', {});
  else {
    await call('initialize', {
      protocolVersion: revision,
      capabilities: {},
      clientInfo: { name: 'example-client', version: '1' },
    });
    await call('notifications/initialized', {}, { notification: true });
  }
  say('The kit learns what the control interface can do.');
  await control();
  say('A log begins.');
  const topic = modern ? 'a' : 'b';
  const select = [{ name: TYPE, arguments: { topic } }];
  const { result: made } = await call('triggers/subscribe', { key: `key-${topic}`, select });
  const { subscriptionId, epoch } = made;
  say('Two events occur. The control interface answers when they are accepted.');
  await control({ do: 'emit', events: [event(topic, 1), event(topic, 2)] });
  say('The client reads them, and acknowledges them after it has handled them.');
  await call('triggers/pull', { subscriptionId, waitMs: 1000 });
  await call('triggers/ack', { subscriptionId, position: { epoch, sequence: 2 } });
  say('A position that does not exist is an error of the extension. Its HTTP status is 200.');
  await call('triggers/ack', { subscriptionId, position: { epoch, sequence: 9 } });
  say('An unknown method is an error of the base protocol.');
  await call('triggers/nothing', {});
  if (modern) {
    say('So is a header that says something else than the body.');
    await call('triggers/get', { subscriptionId }, { headers: { 'mcp-method': 'triggers/list' } });
  }
  say('On a stream, events arrive as notifications. The end of the subscription ends the stream.');
  const stream = await post('triggers/stream', { subscriptionId });
  const reader = stream.body!.getReader();
  let text = '';
  const decoder = new TextDecoder();
  const frames = async (count: number): Promise<void> => {
    while (text.split('\n\n').length <= count) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
    }
  };
  await frames(1);
  const at = lines.length;
  await control({ do: 'emit', events: [event(topic, 3)] });
  await frames(2);
  await call('triggers/unsubscribe', { subscriptionId });
  await frames(Infinity);
  const body = text
    .trim()
    .split('\n\n')
    .map((frame) =>
      frame.replace(/^data: (.*)$/m, (_, data: string) =>
        pretty(data)
          .split('\n')
          .map((line) => `data: ${line}`)
          .join('\n'),
      ),
    )
    .join('\n\n');
  const meanwhile = lines.splice(at);
  lines.push(...meanwhile);
  say('Meanwhile, the stream carried these messages.');
  lines.push(block(`HTTP/1.1 ${stream.status}`, shown(stream), body));
  say('The id stays known as ended for at least a day.');
  await call('triggers/get', { subscriptionId });
  return new Names().in(lines.join('\n'), peer.token);
}

test('the recorded session of docs/session.md is what happens', async (t) => {
  const child = spawn(process.execPath, [SERVER, '--drains', 'stream,pull'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.onTestFinished(() => void child.kill());
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const peer = JSON.parse(line) as Parameters<typeof record>[0];
  const page = [
    INTRODUCTION,
    await record(peer, '2026-07-28'),
    await record(peer, '2025-11-25'),
  ].join('\n');
  const { origin } = new URL(peer.url);
  const text = `${page.replaceAll(origin, 'http://127.0.0.1:8080').trimEnd()}\n`;
  if (process.env['SESSION_WRITE'] === '1') writeFileSync(PAGE, text);
  assert.equal(readFileSync(PAGE, 'utf8'), text, 'run this test with SESSION_WRITE=1');
});
