/** Tests peers with unusual bytes: those that event streams allow, and those that they do not. */
import assert from 'node:assert/strict';
import { describe } from 'vitest';
import { gzipSync } from 'node:zlib';
import { pause, type Call, type EventStream, type Json } from './peer.ts';
import { ALL, testRows, type Row } from './run-row.ts';

/** Writes everything by hand; then the stream stays open. */
const written = (
  write: (json: string, events: EventStream, n: number) => string | Uint8Array | Promise<unknown>,
): Pick<Row, 'calls' | 'drains'> => ({
  drains: ['stream'],
  calls: {
    'triggers/stream': async (call: Call) => {
      const events = call.events();
      for (let from = call.params.after.sequence, n = 1; from < 6; from += 2, n++) {
        const bytes = await write(events.notification(call.peer.delivery(from)), events, n);
        if (typeof bytes === 'string' || bytes instanceof Uint8Array) await events.raw(bytes);
      }
      return new Promise(() => undefined);
    },
  },
});
/** The first delivery as text, with `data` in place of the data of its first event. */
const data = (text: string): Pick<Row, 'calls'> => {
  const put = (json: string): string => json.replace('{"sequence":1}', () => text);
  return {
    calls: {
      ...written((json) => `data: ${put(json)}\n\n`).calls,
      'triggers/pull': async (call: Call) => {
        const result = { resultType: 'complete', ...(await call.honest()) };
        return call.send(
          200,
          'application/json',
          put(JSON.stringify({ jsonrpc: '2.0', id: call.id, result })),
        );
      },
    },
  };
};
const dataOf =
  (first: unknown) =>
  ({ items }: { readonly items: readonly Json[] }): void =>
    assert.deepEqual(items[0].event.data, first);
const deep = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;
const bytewise = async (text: string, events: EventStream, size = 1): Promise<void> => {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) {
    await events.raw(bytes.subarray(at, at + size));
    if (at % 16 === 0) await new Promise(setImmediate);
  }
};
/** JSON with a line break at every comma, one `data:` field per line. */
const lines = (json: string): string =>
  json
    .split(/(?<=,)(?=")/)
    .map((line) => `data: ${line}`)
    .join('\n');
/** Answers to a pull, compressed or otherwise transformed. */
const body = (
  change: (json: string) => string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
  type = 'application/json',
): Pick<Row, 'calls' | 'drains'> => ({
  drains: ['pull'],
  calls: {
    'triggers/pull': async (call: Call) =>
      call.send(
        200,
        type,
        change(
          JSON.stringify({
            jsonrpc: '2.0',
            id: call.id,
            result: { resultType: 'complete', ...(await call.honest()) },
          }),
        ),
        headers,
      ),
  },
});
/** JSON that an event cannot have. */
const refused: readonly [string, string][] = [
  ['a lone surrogate in data', '"\\ud800"'],
  ['a lone surrogate in the name of a member', '{"\\udc00":1}'],
  ['numbers above the range of doubles', '1e999'],
  ['100 levels of nesting', deep(100)],
  ['100,000 levels of nesting', deep(100_000)],
];
const SILENT = { silenceMs: 300 };

describe('bytes', { concurrent: true }, () => {
  testRows([
    {
      name: 'split at every byte',
      ...written(async (json, events, n) =>
        n === 1 ? bytewise(`data: ${json}\n\n`, events) : `data: ${json}\n\n`,
      ),
      always: 'all',
    },
    {
      name: 'split at every seventh byte, with non-ASCII text',
      ...written(async (json, events) =>
        bytewise(`data: ${json.replaceAll('"timer"', '"timer"')}\n: é漢😀\n\n`, events, 7),
      ),
      always: 'all',
    },
    {
      name: 'lines that end in CRLF',
      ...written((json) => `event: message\r\ndata: ${json}\r\n\r\n`),
      always: 'all',
    },
    {
      name: 'lines that end in CR',
      ...written((json) => `event: message\rdata: ${json}\r\r:\r`),
      always: 'all',
    },
    {
      name: 'CRLF split between CR and LF',
      ...written(async (json, events) => {
        await events.raw(`data: ${json}\r`);
        await pause(5);
        await events.raw('\n\r');
        await pause(5);
        await events.raw('\n');
      }),
      always: 'all',
    },
    {
      name: 'a byte order mark',
      ...written((json, _events, n) => `${n === 1 ? '\uFEFF' : ''}data: ${json}\n\n`),
      always: 'all',
    },
    {
      name: 'comments everywhere',
      ...written((json) => `: a\n:b\n:\ndata: ${json}\n: c\n\n: d\n\n`),
      always: 'all',
    },
    { name: 'no space after the colon', ...written((json) => `data:${json}\n\n`), always: 'all' },
    { name: 'many lines of data', ...written((json) => `${lines(json)}\n\n`), always: 'all' },
    {
      name: 'unknown fields',
      ...written((json) => `color: red\ndata: ${json}\nnonsense\n\n`),
      always: 'all',
    },
    {
      name: 'an id and a retry interval',
      ...written((json, _events, n) => `id: ${n}\nretry: 0\ndata: ${json}\n\n`),
      always: 'all',
    },
    {
      name: 'an id with a NUL',
      ...written((json) => `id: a\0b\ndata: ${json}\n\n`),
      always: 'all',
    },
    {
      name: 'an event with another name',
      ...written((json) => `event: delivery\ndata: ${json}\n\n`),
      tuning: SILENT,
      always: 'waits timeout silence',
    },
    {
      name: 'events without data in between',
      ...written((json) => `event: message\n\ndata:\n\ndata: ${json}\n\n`),
      always: 'all',
    },
    {
      name: 'data that is not JSON in between',
      ...written((json) => `data: {"jsonrpc":\n\ndata: NaN\n\ndata: ${json}\n\n`),
      always: 'all',
    },
    {
      name: 'data that is not JSON-RPC in between',
      ...written((json) => `data: {"a":1}\n\ndata: [${json}]\n\ndata: 7\n\ndata: ${json}\n\n`),
      always: 'all',
    },
    {
      name: 'two messages in one event',
      ...written((json) => `data: ${json}\ndata: ${json}\n\n`),
      tuning: SILENT,
      always: 'waits timeout silence',
    },
    {
      name: 'a stream that declares itself JSON',
      drains: ['stream'],
      calls: {
        'triggers/stream': async (call) =>
          call.send(200, 'application/json', `data: ${JSON.stringify(call.peer.delivery(0))}\n\n`),
      },
      always: 'peer_misbehaved',
    },
    {
      name: 'a stream compressed with gzip',
      drains: ['stream'],
      calls: {
        'triggers/stream': async (call) => {
          const json = JSON.stringify({
            jsonrpc: '2.0',
            method: 'notifications/triggers/delivery',
            params: {
              ...call.peer.delivery(0, 6),
              requestId: call.id,
            },
          });
          call.peer.noteSent(call.peer.delivery(0, 6));
          return call.send(200, 'text/event-stream', gzipSync(`data: ${json}\n\n`), {
            'content-encoding': 'gzip',
          });
        },
      },
      always: 'waits unreachable',
      read: ALL,
    },

    {
      name: 'white space around the answer',
      ...body((json) => ` \r\n\t${json}\n `),
      always: 'all',
    },
    {
      name: 'a byte order mark before the answer',
      ...body((json) => `\uFEFF${json}`),
      always: 'all',
    },
    {
      name: 'an answer in UTF-16',
      ...body((json) => Buffer.from(json, 'utf16le')),
      always: 'peer_misbehaved',
    },
    {
      name: 'trailing text after the answer',
      ...body((json) => `${json}{}`),
      always: 'peer_misbehaved',
    },
    { name: 'half of the answer', ...body((json) => json.slice(0, -2)), always: 'peer_misbehaved' },
    {
      name: 'a parameter in the media type',
      ...body((json) => json, {}, 'application/json; charset=utf-8; q=1'),
      always: 'all',
    },
    {
      name: 'an answer compressed with gzip',
      ...body((json) => gzipSync(json), { 'content-encoding': 'gzip' }),
      always: 'all',
    },

    // As the format of event streams specifies: replaced.
    {
      name: 'invalid UTF-8',
      ...written((json) =>
        Buffer.from(`data: ${json.replace(/\{"sequence":\d\}/, '"~~"')}\n\n`).map((byte) =>
          byte === 0x7e ? 0xff : byte,
        ),
      ),
      always: 'all',
      also: dataOf('\uFFFD\uFFFD'),
    },
    { name: 'NUL in data', ...data('"a\\u0000b"'), always: 'all', also: dataOf('a\0b') },
    {
      name: 'NUL as a byte in data',
      ...data('"a\0b"'),
      drains: ['stream'],
      always: 'peer_misbehaved hole',
    },
    {
      name: 'NUL as a byte in data',
      ...data('"a\0b"'),
      drains: ['pull'],
      always: 'peer_misbehaved',
    },
    ...refused.flatMap(([name, text]): Row[] => [
      { name, ...data(text), drains: ['stream'], always: 'peer_misbehaved delivery' },
      { name, ...data(text), drains: ['pull'], always: 'peer_misbehaved result' },
    ]),
    {
      name: 'members named like inherited ones',
      ...data(
        '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"toString":1,"hasOwnProperty":null}',
      ),
      always: 'all',
      also: ({ items }) => {
        assert.equal(({} as Json).polluted, undefined);
        const [first] = items as Json[];
        assert.ok(
          Object.hasOwn(first.event.data, '__proto__') &&
            Object.getPrototypeOf(first.event.data) === Object.prototype,
          'unchanged',
        );
      },
    },
    { name: 'a member twice', ...data('{"a":1,"a":2}'), always: 'all', also: dataOf({ a: 2 }) },
    {
      name: 'numbers with more digits than a double holds',
      ...data('0.1000000000000000055511151231257827'),
      always: 'all',
      also: dataOf(0.1),
    },
    { name: '50 levels of nesting', ...data(deep(50)), always: 'all' },
    {
      name: 'a megabyte',
      ...data(JSON.stringify('x'.repeat(1_000_000))),
      always: 'all',
      also: dataOf('x'.repeat(1_000_000)),
    },
  ]);
});
