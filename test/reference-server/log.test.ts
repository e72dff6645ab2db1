/** Nothing secret is ever logged: not by the two nets on their own, and not by a whole server at its most talkative. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createLog, withoutSecrets } from '../../reference-server/log.ts';
import { doorOpened, startServer } from './harness.ts';

const CANARY = 'canary-90e4';

function logged(format: 'json' | 'text', write: (log: ReturnType<typeof createLog>) => void, secrets: readonly string[] = []): string {
  let all = '';
  write(createLog({ level: 'debug', format, secrets: () => secrets, out: { write: (line) => void (all += line) } }));
  return all;
}

describe('a secret does not get through', () => {
  const rows: readonly (readonly [about: string, fields: object, message?: string, secrets?: readonly string[]])[] = [
    ['under its name', { authorization: CANARY }],
    ['under its name, one level down', { headers: { authorization: CANARY, cookie: CANARY } }],
    ['as a callback', { callback: { url: CANARY, secret: CANARY } }],
    ['in the message, because it is known', {}, `it is ${CANARY}`, [CANARY]],
    ['in an error, because it is known', { err: new Error(`it is ${CANARY}`, { cause: new Error(CANARY) }) }, '', [CANARY]],
    ['with characters that JSON escapes', { text: `"${CANARY}\\` }, '', [`"${CANARY}\\`]],
    ['in an error, because it looks like one', { err: new Error(`whsec_${CANARY.replace('-', '')}`) }],
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
  test('as a token, wherever it stands', () => {
    const token = `eyJhbGciOiJFUzI1NiJ9.${CANARY}.${CANARY}`;
    assert.equal(withoutSecrets(`a ${token} b`, []), 'a [secret] b');
  });
});

test('what is not secret stays readable', () => {
  const text = logged('text', (log) => log.warn({ generation: 3, mode: 'x' }, 'hello'));
  assert.match(text, /^\d\d:\d\d:\d\d\.\d{3} warn  hello generation=3 mode=x\n$/);
  const { time, ...rest } = JSON.parse(logged('json', (log) => log.warn({ generation: 3 }, 'hello'))) as Record<string, unknown>;
  assert.equal(typeof time, 'number');
  assert.deepEqual(rest, { level: 'warn', generation: 3, msg: 'hello' });
});

test('a server that is used, misused and stopped logs no secret of anybody', async () => {
  const server = await startServer({}, 'debug');
  const secret = `whsec_${Buffer.from(`${CANARY}-${CANARY}-${CANARY}`).toString('base64')}`;
  const url = `http://127.0.0.1:9/${CANARY}?cb=${CANARY}`;
  const select = [{ name: 'door.opened' }];
  const token = await server.token('alice');
  for (const [method, params] of [
    ['triggers/subscribe', { select, callback: { url, secret } }],
    ['triggers/subscribe', { select, callback: { url: `https://10.0.0.1/${CANARY}`, secret } }],
    ['triggers/subscribe', { select, callback: { url, secret: CANARY } }],
    ['triggers/subscribe', { select, key: 'plain' }],
    ['triggers/get', { subscriptionId: CANARY }],
    [`triggers/${CANARY}`, {}],
  ] as const) await server.call(method, params, { as: token });
  await server.emit(doorOpened.event({ eventId: CANARY, data: { door: CANARY, by: CANARY } }));
  await server.post(`{"${CANARY}`, { as: token });
  await server.post('x', { as: `${token}${CANARY}` });
  await server.post('x', { as: token, headers: { cookie: CANARY, 'mcp-session-id': CANARY } });
  await assert.rejects(server.emit({ name: 'door.opened', data: { door: 7, by: CANARY } }));
  await server.close();
  const all = server.output.join('');
  assert.ok(all.includes('listening') && all.includes('stopped'), 'it logs at all');
  assert.ok(!all.includes(CANARY), all.split('\n').find((line) => line.includes(CANARY)));
  assert.ok(!all.includes(secret) && !all.includes(token));
});
