/**
 * Tests that no secret is ever logged: by each of the two filters on its own, and by a whole server
 * at its most verbose level.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { createLog, withoutSecrets } from '../../reference-server/log.ts';
import { LocalError } from '../../src/protocol/wire/errors.ts';
import { world } from '../server/engine/harness.ts';
import { boxOpened, startServer } from './harness.ts';

const CANARY = 'canary-90e4';

function logged(
  format: 'json' | 'text',
  write: (log: ReturnType<typeof createLog>) => void,
  secrets: readonly string[] = [],
): string {
  let all = '';
  write(
    createLog({
      level: 'debug',
      format,
      secrets: () => secrets,
      out: { write: (line) => void (all += line) },
    }),
  );
  return all;
}

describe('redacts a secret', () => {
  const rows: readonly (readonly [
    about: string,
    fields: object,
    message?: string,
    secrets?: readonly string[],
  ])[] = [
    ['under its name', { authorization: CANARY }],
    ['under its name, one level down', { headers: { authorization: CANARY, cookie: CANARY } }],
    ['as a callback', { callback: { url: CANARY, secret: CANARY } }],
    ['in the message, because it is known', {}, `it is ${CANARY}`, [CANARY]],
    [
      'in an error, because it is known',
      { err: new Error(`it is ${CANARY}`, { cause: new Error(CANARY) }) },
      '',
      [CANARY],
    ],
    ['with characters that JSON escapes', { text: `"${CANARY}\\` }, '', [`"${CANARY}\\`]],
    ['in an error that is a string, because it is known', { err: CANARY }, '', [CANARY]],
    [
      'in an error, because it looks like one',
      { err: new Error(`whsec_${CANARY.replace('-', '')}`) },
    ],
    ['in a header that was joined to a text', { text: `Authorization: Bearer ${CANARY}` }],
    ['in a callback URL', { text: `https://a.example/hook?x=1&cb=${CANARY}&y=2` }],
  ];
  for (const format of ['json', 'text'] as const) {
    for (const [about, fields, message = '', secrets = []] of rows) {
      test(`${about} (${format})`, () => {
        const line = logged(format, (log) => log.error(fields, message), secrets);
        assert.ok(line.includes('[secret]'), line);
        assert.ok(!line.includes(CANARY) && !line.includes(CANARY.replace('-', '')), line);
      });
    }
  }
  for (const format of ['json', 'text'] as const) {
    for (const [about, err] of [
      [
        'a member of an error',
        Object.assign(new Error('it failed'), { options: { secret: CANARY } }),
      ],
      [
        'a member of the cause of an error',
        new Error('it failed', {
          cause: Object.assign(new Error('inner'), { secret: CANARY, url: CANARY }),
        }),
      ],
      [
        'a member of an error in an AggregateError',
        new AggregateError([Object.assign(new Error('inner'), { body: CANARY })], 'it failed'),
      ],
      ['a thrown object', { note: { secret: CANARY } }],
    ] as const) {
      test(`as ${about} (${format})`, () => {
        const line = logged(format, (log) => log.error({ err }));
        assert.ok(!line.includes(CANARY), line);
      });
    }
  }
  test('in the form of a token, anywhere', () => {
    const token = `eyJhbGciOiJFUzI1NiJ9.${CANARY}.${CANARY}`;
    assert.equal(withoutSecrets(`a ${token} b`, []), 'a [secret] b');
  });
});

test('a log line without a secret is unchanged', () => {
  const text = logged('text', (log) => log.warn({ generation: 3, mode: 'x' }, 'hello'));
  assert.match(text, /^\d\d:\d\d:\d\d\.\d{3} warn {2}hello generation=3 mode=x\n$/);
  const { time, ...rest } = JSON.parse(
    logged('json', (log) => log.warn({ generation: 3 }, 'hello')),
  ) as Record<string, unknown>;
  assert.equal(typeof time, 'number');
  assert.deepEqual(rest, { level: 'warn', generation: 3, msg: 'hello' });
});

describe('an error in a log line', () => {
  const error = Object.assign(
    new Error('the store failed', {
      cause: Object.assign(new TypeError('disk full'), { code: 'ENOSPC' }),
    }),
    { code: 'store_full' },
  );

  test('has type, message, code and stack, and so has its cause', () => {
    const { err } = JSON.parse(logged('json', (log) => log.error({ err: error }))) as {
      err: Record<string, unknown> & { cause: Record<string, unknown> };
    };
    const {
      stack,
      cause: { stack: innerStack, ...inner },
      ...outer
    } = err;
    assert.deepEqual(
      [outer, inner],
      [
        { type: 'Error', message: 'the store failed', code: 'store_full' },
        { type: 'TypeError', message: 'disk full', code: 'ENOSPC' },
      ],
    );
    assert.match(String(stack), /the store failed\n +at /);
    assert.match(String(innerStack), /disk full\n +at /);
  });

  test('has both stacks as text', () => {
    assert.match(
      logged('text', (log) => log.error({ err: error }, 'commit failed')),
      / error commit failed\n {2}Error: the store failed\n[^]*\n {2}caused by: TypeError: disk full\n/,
    );
  });

  test('ends when the causes form a circle', () => {
    const circle = new Error('round');
    circle.cause = circle;
    assert.match(
      logged('json', (log) => log.error({ err: circle })),
      /"message":"round"/,
    );
  });

  test('shows why the engine could not commit: the message and the code of the store', async () => {
    let lines = '';
    const log = createLog({
      level: 'debug',
      format: 'json',
      secrets: () => [],
      out: { write: (line) => void (lines += line) },
    });
    const w = await world({ log });
    w.meddled.refuse = () =>
      new LocalError('store_failed', 'the disk is gone', {
        cause: Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR' }),
      });
    await assert.rejects(w.emit(1), { code: 'store_failed' });
    w.meddled.refuse = () => null;
    await w.close();
    const all = lines
      .trim()
      .split('\n')
      .map(
        (line) =>
          JSON.parse(line) as {
            readonly level: string;
            readonly err?: Readonly<Record<string, unknown>>;
          },
      );
    const { type, message, code, cause } = all.find(({ level }) => level === 'error')!.err!;
    assert.deepEqual([type, message, code], ['LocalError', 'the disk is gone', 'store_failed']);
    assert.deepEqual(
      { ...(cause as object), stack: undefined },
      { type: 'Error', message: 'disk I/O error', code: 'SQLITE_IOERR', stack: undefined },
    );
    assert.ok(all.every((line) => !('cause' in line)));
  });
});

test('a server that is used, misused and stopped logs no secret', async () => {
  const server = await startServer({}, 'debug');
  const secret = `whsec_${Buffer.from(`${CANARY}-${CANARY}-${CANARY}`).toString('base64')}`;
  const url = `http://127.0.0.1:9/${CANARY}?cb=${CANARY}`;
  const select = [{ name: 'box.opened' }];
  const token = await server.token('alice');
  for (const [method, params] of [
    ['triggers/subscribe', { key: 'k', select, callback: { url, secret } }],
    [
      'triggers/subscribe',
      { key: 'k', select, callback: { url: `https://10.0.0.1/${CANARY}`, secret } },
    ],
    ['triggers/subscribe', { key: 'k', select, callback: { url, secret: CANARY } }],
    ['triggers/subscribe', { select, key: 'plain' }],
    ['triggers/get', { subscriptionId: CANARY }],
    [`triggers/${CANARY}`, {}],
  ] as const)
    await server.call(method, params, { as: token });
  await server.emit(boxOpened.event({ eventId: CANARY, data: { box: CANARY, by: CANARY } }));
  await server.post(`{"${CANARY}`, { as: token });
  await server.post('x', { as: `${token}${CANARY}` });
  await server.post('x', { as: token, headers: { cookie: CANARY, 'mcp-session-id': CANARY } });
  const invalid = await server.emit({ name: 'box.opened', data: { box: 7, by: CANARY } });
  assert.equal(invalid.gap, 'invalid');
  await server.close();
  const all = server.output.join('');
  assert.ok(all.includes('listening') && all.includes('stopped'), 'the server logs');
  assert.ok(
    !all.includes(CANARY),
    all.split('\n').find((line) => line.includes(CANARY)),
  );
  assert.ok(!all.includes(secret) && !all.includes(token));
});
