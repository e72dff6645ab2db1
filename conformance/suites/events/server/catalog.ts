/** The list of event types of an SEP-3415 server, and its change notifications. */
import assert from 'node:assert/strict';
import { eventsScenario, INVALID_PARAMS, means } from '../../../runner/events/scenario.ts';
import { NotApplicable } from '../../../runner/observations.ts';
import type { ServerTest } from '../../../runner/server/scenario.ts';
import { StreamReader } from '../../../runner/server/stream-reader.ts';
import type { Json } from '../../../runner/wire/session.ts';
import { isObject } from './shapes.ts';

const MODES = ['poll', 'push', 'webhook'];
const LISTEN = 'subscriptions/listen';

/** Opens a `subscriptions/listen` stream for list changes and waits for its first message. */
async function listen(t: ServerTest): Promise<StreamReader> {
  const reader = new StreamReader(
    await t.mcp.open(LISTEN, { notifications: { eventsListChanged: true } }),
  );
  t.defer(async () => reader.close());
  await t.until(
    `an answer to ${LISTEN}`,
    () => reader.messages.length > 0 || reader.ended !== undefined,
  );
  return reader;
}

const listChanges = ({ messages }: StreamReader): number =>
  messages.filter(({ method }) => method === 'notifications/events/list_changed').length;

export const catalog = [
  eventsScenario({
    name: 'catalog: the offer',
    about: 'The capability and the list of event types have the shape of the SEP.',
    checks: [
      'capability-events-object',
      'result-type',
      'list-implemented',
      'descriptor-delivery-subset',
      'list-pagination',
    ],
    async run(t, events) {
      await t.check(
        'capability-events-object',
        'the settings are an object with no member but listChanged',
        () => {
          assert.ok(isObject(t.settings), `the settings are ${JSON.stringify(t.settings)}`);
          const { listChanged, ...rest } = t.settings;
          assert.ok(
            listChanged === undefined || typeof listChanged === 'boolean',
            `listChanged is ${JSON.stringify(listChanged)}`,
          );
          assert.deepEqual(rest, {}, 'other members:');
        },
      );
      await t.check(
        'result-type',
        'events/list and events/poll return a complete result',
        async () => {
          assert.equal(
            (await t.mcp.request('events/list')).resultType,
            'complete',
            'resultType of events/list:',
          );
          assert.equal(
            (await events.poll(events.topic())).resultType,
            'complete',
            'resultType of events/poll:',
          );
        },
      );
      const first = await t.check(
        'list-implemented',
        'every descriptor has all its members',
        async () => {
          const page = await t.mcp.request('events/list');
          assert.ok(
            Array.isArray(page.events) && page.events.length > 0,
            `events is ${JSON.stringify(page.events)?.slice(0, 80)}`,
          );
          for (const { name, description, inputSchema, payloadSchema, delivery } of page.events) {
            assert.ok(typeof name === 'string' && name !== '', `name is ${JSON.stringify(name)}`);
            assert.equal(typeof description, 'string', `type of the description of "${name}":`);
            assert.ok(isObject(inputSchema), `inputSchema of "${name}" is not an object`);
            assert.ok(isObject(payloadSchema), `payloadSchema of "${name}" is not an object`);
            assert.ok(Array.isArray(delivery), `delivery of "${name}" is not a list`);
          }
          return page;
        },
      );
      await t.check(
        'descriptor-delivery-subset',
        'delivery lists one or more of the three modes',
        () => {
          for (const { name, delivery } of first?.events ?? []) {
            assert.ok(
              Array.isArray(delivery) && delivery.length > 0,
              `delivery of "${name}" is ${JSON.stringify(delivery)}`,
            );
            assert.deepEqual(
              delivery.filter((mode: Json) => !MODES.includes(mode)),
              [],
              `unknown modes of "${name}":`,
            );
            assert.equal(new Set(delivery).size, delivery.length, `different modes of "${name}":`);
          }
        },
      );
      await t.check(
        'list-pagination',
        'the pages form one list without repeated names',
        async () => {
          const names = (await events.list()).map(({ name }) => name);
          assert.deepEqual(
            names.filter((name, at) => names.indexOf(name) !== at),
            [],
            'repeated names:',
          );
          assert.ok(names.includes(events.name), `no page contains "${events.name}"`);
        },
      );
    },
  }),

  eventsScenario({
    name: 'catalog: changes',
    about: 'Subscribers to list changes learn of added and removed types.',
    checks: ['listen-acknowledged', 'list-changed-notification'],
    verbs: ['declare', 'remove'],
    async run(t, events) {
      const { listChanged = false } = t.settings;
      const stream = await listen(t);
      await t.check(
        'listen-acknowledged',
        `${LISTEN} acknowledges eventsListChanged exactly when the server declares listChanged`,
        () => {
          const { method, params } = (stream.messages[0] as Json) ?? {};
          assert.equal(method, 'notifications/subscriptions/acknowledged', 'the first message:');
          assert.equal(
            params?.notifications?.eventsListChanged ?? false,
            listChanged,
            'eventsListChanged in the acknowledged filter:',
          );
        },
      );
      await t.check(
        'list-changed-notification',
        'the server reports an added and a removed type',
        async () => {
          if (!listChanged) throw new NotApplicable('The server does not declare listChanged.');
          const name = await events.ownType();
          await t.until(
            'notifications/events/list_changed after a type was added',
            () => listChanges(stream) > 0,
          );
          assert.ok(
            (await events.list()).some((type) => type.name === name),
            `events/list does not contain "${name}"`,
          );
          const seen = listChanges(stream);
          await t.control.do('remove', { name, reason: 'trigger_removed' });
          await t.until(
            'notifications/events/list_changed after a type was removed',
            () => listChanges(stream) > seen,
          );
        },
      );
    },
  }),

  eventsScenario({
    name: 'catalog: errors',
    about: 'An invalid request returns the error code of its cause.',
    checks: [
      'poll-errors-are-jsonrpc',
      'stream-error-before-open',
      'error-codes',
      'error-unsupported',
      'subscribe-webhook-only',
    ],
    types: ['plain', 'pullOnly'],
    async run(t, events) {
      const unknown = { name: 'no.such.type', arguments: {} };
      const unfit = { name: events.name, arguments: { topic: 7 } };
      const webhook = {
        mode: 'webhook',
        url: 'https://callbacks.invalid/a',
        secret: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
      };
      const seen: number[] = [];
      const refused = async (method: string, params: object): Promise<Json> => {
        const error = await t.mcp.errorOf(method, params);
        seen.push(error.code);
        return error;
      };
      await t.check(
        'poll-errors-are-jsonrpc',
        'a poll of an unknown name returns NotFound',
        async () => {
          const { code } = await refused('events/poll', { ...unknown, cursor: null });
          assert.ok(means(code, 'NotFound'), `the code is ${code}`);
        },
      );
      await t.check(
        'poll-errors-are-jsonrpc',
        'a poll with arguments that do not fit the inputSchema returns InvalidParams',
        async () =>
          assert.equal(
            (await refused('events/poll', { ...unfit, cursor: null })).code,
            INVALID_PARAMS,
            'the code:',
          ),
      );
      await t.check(
        'stream-error-before-open',
        'a stream with an unknown name or invalid arguments receives an error and nothing else',
        async () => {
          for (const [followed, isRight] of [
            [unknown, (code: number) => means(code, 'NotFound')],
            [unfit, (code: number) => code === INVALID_PARAMS],
          ] as const) {
            const { messages, ended } = await events.stream(followed);
            assert.deepEqual(
              messages.flatMap(({ method }) => method ?? []),
              [],
              'notifications before the error:',
            );
            assert.ok(
              isRight(ended?.error?.code ?? 0),
              `the answer for "${followed.name}" is ${JSON.stringify(ended)?.slice(0, 120)}`,
            );
            seen.push(ended!.error!.code);
          }
        },
      );
      const pullOnly = { name: t.control.type('pullOnly'), arguments: {} };
      await t.check(
        'error-unsupported',
        'a mode that the type does not offer returns Unsupported with the feature',
        async () => {
          const { ended } = await events.stream(pullOnly);
          const refusals: Json[] = [
            ended?.error,
            await refused('events/subscribe', { ...pullOnly, delivery: webhook }),
          ];
          for (const error of refusals) {
            assert.ok(
              means(error?.code, 'Unsupported'),
              `the answer is ${JSON.stringify(error)?.slice(0, 120)}`,
            );
            assert.ok(
              typeof error.data?.feature === 'string' && error.data.feature !== '',
              `data is ${JSON.stringify(error.data)}`,
            );
          }
        },
      );
      await t.check('subscribe-webhook-only', 'events/subscribe rejects other modes', async () => {
        for (const mode of ['poll', 'push', 'fax']) {
          const { code } = await refused('events/subscribe', {
            ...events.topic(),
            delivery: { ...webhook, mode },
          });
          assert.ok(
            means(code, 'Unsupported') || code === INVALID_PARAMS,
            `mode "${mode}" is rejected with code ${code}`,
          );
        }
      });
      const [one] = seen.filter((code) => code !== INVALID_PARAMS);
      const isSep = one === undefined || one <= -32020;
      await t.check(
        'error-codes',
        isSep
          ? 'the codes are those of the SEP, -32023 to -32027'
          : 'the codes are those of the design sketch, -32011 to -32015',
        () => {
          const known = isSep ? [-32027, -32023] : [-32015, -32011];
          assert.deepEqual(
            seen.filter(
              (code) => code !== INVALID_PARAMS && !(code >= known[0]! && code <= known[1]!),
            ),
            [],
            'unknown codes, or codes of the other set:',
          );
        },
      );
    },
  }),
];
