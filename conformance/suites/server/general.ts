/**
 * Requirements that apply to every method: shapes, errors, declared settings, and no unsolicited
 * messages (SEP: Methods, Settings, Errors).
 */
import assert from 'node:assert/strict';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import { NotApplicable, NotShown } from '../../runner/observations.ts';
import { newSecret } from '../../runner/server/callback-endpoint.ts';
import { problemOf } from '../../runner/wire/schema.ts';
import type { Answer, Json, RpcError } from '../../runner/wire/session.ts';
import { stateOf } from './following.ts';

const METHODS = [
  'list',
  'subscribe',
  'update',
  'get',
  'subscriptions',
  'unsubscribe',
  'pull',
  'stream',
  'ack',
].map((name) => `triggers/${name}`);
/** The error codes of JSON-RPC, of MCP and of this extension. */
const CODES = new Set([
  -32700, -32600, -32601, -32602, -32603, -32020, -32021, -32022, -32023, -32024, -32025, -32026,
  -32027,
]);
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;
/** Ten years. */
const LIFETIME_MAX_MS = 315_576_000_000;
/** The members of this extension that are instants. */
const INSTANTS = new Set([
  'acceptedAt',
  'createdAt',
  'endsAt',
  'expiresAt',
  'failingSince',
  'lastDeliveryAt',
  'previousSecretUntil',
  'since',
  'suspendedAt',
  'timestamp',
  'verifiedAt',
]);
/** Members whose content this extension does not define. */
const OPAQUE = new Set(['arguments', 'data', '_meta']);

/** Every instant in a value, as `[path, value]`. */
function instantsIn(value: Json, path = ''): (readonly [path: string, value: Json])[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value as object).flatMap(([name, member]) => {
    if (OPAQUE.has(name)) return [];
    const at = `${path}/${name}`;
    return INSTANTS.has(name) ? [[at, member] as const] : instantsIn(member, at);
  });
}

/** A request that uses a parameter, of a level or an option. */
interface Parameter {
  readonly feature: string;
  readonly request: (t: ServerTest, subscriptionId: string) => [method: string, params: object];
}
const LEVELS_WITH_PARAMETERS = new Set(['callback', 'stream']);
/** Options whose parameter is a member of the callback. */
const OF_A_CALLBACK = new Set(['skip', 'limits']);

const updating =
  (params: object): Parameter['request'] =>
  (_, subscriptionId) => ['triggers/update', { subscriptionId, ...params }];
const subscribing =
  (params: (name: string, t: ServerTest) => object): Parameter['request'] =>
  (t) => {
    const name = t.control.type('plain');
    return [
      'triggers/subscribe',
      { key: t.unique(), select: [{ name }], ttlMs: 60_000, ...params(name, t) },
    ];
  };
/** A callback that no server can verify. */
const nowhere = () => ({ url: 'https://callback.invalid/in', secret: newSecret() });

/** Every parameter of a level or an option. */
const PARAMETERS: Readonly<Record<string, Parameter>> = {
  callback: { feature: 'callback', request: subscribing(() => ({ callback: nowhere() })) },
  ifNoneMatch: {
    feature: 'conditionalReads',
    request: (_, subscriptionId) => ['triggers/get', { subscriptionId, ifNoneMatch: 'x' }],
  },
  skipAfterMs: {
    feature: 'skip',
    request: subscribing(() => ({ callback: { ...nowhere(), skipAfterMs: 60_000 } })),
  },
  limits: {
    feature: 'limits',
    request: subscribing(() => ({ callback: { ...nowhere(), limits: { maxEvents: 1 } } })),
  },
  removeCallback: { feature: 'callback', request: updating({ removeCallback: true }) },
  resume: { feature: 'callback', request: updating({ resume: true }) },
  revokePrevious: { feature: 'callback', request: updating({ revokePrevious: true }) },
  paused: { feature: 'pause', request: updating({ paused: true }) },
  select: {
    feature: 'multiSelect',
    request: subscribing((name) => ({ select: [{ name }, { name }] })),
  },
  since: {
    feature: 'history',
    request: subscribing((name, t) => ({
      // A type without history rejects `since` too.
      select: [{ name: t.declares('history') ? t.control.type('history') : name }],
      since: new Date(Date.now() - 1000).toISOString(),
    })),
  },
  stream: {
    feature: 'stream',
    request: (_, subscriptionId) => ['triggers/stream', { subscriptionId }],
  },
};

/** The same instant in other forms of RFC 3339. */
const formsOf = (at: number): readonly (readonly [what: string, text: string])[] => {
  const utc = new Date(at).toISOString();
  const local = (hours: number): string =>
    new Date(at + hours * 3_600_000).toISOString().replace('Z', '');
  return [
    ['three decimals and Z', utc],
    ['no decimals', utc.replace(/\.\d+/, '')],
    ['one decimal', utc.replace(/\.(\d)\d+/, '.$1')],
    ['nine decimals', utc.replace('Z', '000000Z')],
    ['an offset', `${local(2)}+02:00`],
    ['a negative offset', `${local(-5)}-05:00`],
    ['lower case', utc.toLowerCase()],
  ];
};
const UNKNOWN = 'sub_conformance_00000000000000000000';

/** The members of a subscription, without its expiry and the renewal hint, which is random. */
async function configuration(t: ServerTest, subscriptionId: string): Promise<Json> {
  const {
    renewAfterMs: _,
    expiresAt: __,
    _meta,
    resultType,
    ...rest
  } = await t.mcp.request('triggers/get', { subscriptionId });
  return rest;
}

export const general = [
  scenario({
    name: 'general: declared settings',
    about: 'The server does what its settings declare.',
    checks: ['cap-levels', 'cap-client-optional'],
    eras: 'each',
    async run(t) {
      const types: Json[] = (await t.mcp.request('triggers/list')).triggers;
      await t.check(
        'cap-levels',
        '"log" is among the levels, and "pull" among the drains of every trigger type',
        () => {
          const { levels } = t.settings;
          assert.ok(t.declares('log'), `the levels are ${JSON.stringify(levels)}`);
          for (const { name, drains } of types)
            assert.ok(
              drains?.includes('pull'),
              `the drains of ${name} are ${JSON.stringify(drains)}`,
            );
        },
      );
      await t.check('cap-levels', 'a result has the resultType of its revision', async () => {
        if (t.mcp.era === '2025-11-25')
          throw new NotApplicable('Results have no resultType in this revision.');
        for (const [method, params] of [
          ['triggers/list', {}],
          ['triggers/subscriptions', {}],
        ] as const)
          assert.equal(
            (await t.mcp.request(method, params)).resultType,
            'complete',
            `\`resultType\` of ${method}:`,
          );
      });
      await t.check(
        'cap-client-optional',
        'the server serves a client that declares nothing',
        async () => {
          await t.mcp.request('triggers/list', {}, { clientCapabilities: {} });
          await t.mcp.request('triggers/subscriptions', {}, { clientCapabilities: {} });
        },
      );
    },
  }),

  scenario({
    name: 'general: capability of 2026-07-28',
    about: 'The settings are under extensions.',
    checks: ['cap-extensions'],
    eras: '2026-07-28',
    async run(t) {
      if (!t.subject.eras.includes('2026-07-28'))
        throw new NotApplicable('The server does not speak this revision.');
      await t.check('cap-extensions', 'capabilities.extensions contains valid settings', () =>
        assert.equal(problemOf('ServerCapability', t.settings), null),
      );
    },
  }),

  scenario({
    name: 'general: capability of 2025-11-25',
    about: 'The settings are under experimental.',
    checks: ['cap-experimental'],
    eras: '2025-11-25',
    async run(t) {
      await t.check('cap-experimental', 'capabilities.experimental contains valid settings', () =>
        assert.equal(problemOf('ServerCapability', t.settings), null),
      );
    },
  }),

  scenario({
    name: 'general: levels',
    about: 'Every declared level works.',
    checks: ['cap-levels'],
    needs: { types: ['plain'] },
    eras: 'each',
    async run(t) {
      const { subscriptionId } = await t.subscribe();
      await t.check('cap-levels', 'the server answers a pull', () =>
        t.mcp.request('triggers/pull', { subscriptionId }),
      );
      if (t.offers('stream')) {
        await t.check('cap-levels', 'the server opens a stream', async () => {
          const stream = await t.stream({ subscriptionId });
          await t.until('a first delivery', () => {
            if (stream.ended !== undefined)
              throw new Error(`the stream ended: ${JSON.stringify(stream.ended)}`);
            return stream.deliveries[0];
          });
        });
      }
      if (t.offers('callback')) {
        await t.check('cap-levels', 'the server accepts a callback', async () => {
          await t.subscribe({ callback: (await t.endpoint()).callback });
        });
      }
    },
  }),

  scenario({
    name: 'general: options',
    about: 'The server takes the parameter of every option that it declares.',
    checks: ['cap-levels'],
    needs: { types: ['plain'] },
    eras: 'each',
    async run(t) {
      const { subscriptionId } = await t.subscribe();
      const declared = Object.entries(PARAMETERS).filter(
        ([, { feature }]) => t.declares(feature) && !LEVELS_WITH_PARAMETERS.has(feature),
      );
      if (declared.length === 0)
        throw new NotApplicable('the server declares no option that has a parameter');
      for (const [parameter, { feature, request }] of declared)
        await t.check(
          'cap-levels',
          `\`${parameter}\` is taken by a server that declares "${feature}"`,
          async () => {
            const [method, params] = request(t, subscriptionId);
            const { error } = await t.mcp.ask(method, params);
            assert.notEqual(error?.code, -32026, 'the code of the error:');
          },
        );
    },
  }),

  scenario({
    name: 'general: levels and options that the server lacks',
    about: 'The server rejects the parameters of a level or an option that it does not declare.',
    checks: ['subs-unsupported'],
    needs: { types: ['plain'] },
    async run(t) {
      const { subscriptionId } = await t.subscribe();
      // Without callbacks, the callback itself is what the server lacks.
      const lacking = Object.entries(PARAMETERS).filter(
        ([, { feature }]) =>
          !t.declares(feature) && (!OF_A_CALLBACK.has(feature) || t.declares('callback')),
      );
      if (lacking.length === 0)
        throw new NotApplicable('the server declares every level and option that has a parameter');
      for (const [parameter, { feature, request }] of lacking)
        await t.check(
          'subs-unsupported',
          `\`${parameter}\` is rejected by a server that does not declare "${feature}"`,
          async () => {
            const { code, data } = await t.mcp.errorOf(...request(t, subscriptionId));
            assert.deepEqual([code, data?.feature], [-32026, parameter]);
          },
        );
    },
  }),

  scenario({
    name: 'general: shapes of requests',
    about:
      'The server ignores unknown members, rejects invalid ones with a path, and changes nothing when it rejects.',
    checks: ['gen-ignore-unknown', 'gen-integers', 'err-codes', 'gen-atomic', 'err-no-value'],
    needs: { types: ['plain'] },
    eras: 'each',
    async run(t) {
      const subscription = await t.subscribe();
      const { subscriptionId, epoch } = subscription;
      await t.check(
        'gen-ignore-unknown',
        'the server ignores unknown members at any depth',
        async () => {
          const made = await t.subscribe({
            unheardOf: { deep: [1] },
            select: [{ name: t.control.type('plain'), arguments: {}, unheardOf: true }],
          });
          await t.mcp.request('triggers/pull', {
            subscriptionId: made.subscriptionId,
            after: { epoch: made.epoch, sequence: 0, unheardOf: 1 },
            unheardOf: null,
          });
        },
      );
      const before = await configuration(t, subscriptionId);
      const refusals: { readonly what: string; readonly rejection: RpcError }[] = [];
      const refused = async (what: string, method: string, params: object): Promise<RpcError> => {
        const rejection = await t.mcp.errorOf(method, params);
        refusals.push({ what, rejection });
        return rejection;
      };
      const numbers: readonly (readonly [
        what: string,
        method: string,
        params: (value: Json) => object,
        path: string,
        /** Further values outside the range. */
        more?: readonly Json[],
      ])[] = [
        [
          'a sequence',
          'triggers/pull',
          (value) => ({ subscriptionId, after: { epoch, sequence: value } }),
          '/after/sequence',
        ],
        [
          'a sequence',
          'triggers/ack',
          (value) => ({ subscriptionId, position: { epoch, sequence: value } }),
          '/position/sequence',
        ],
        [
          'a count',
          'triggers/pull',
          (value) => ({ subscriptionId, maxEvents: value }),
          '/maxEvents',
        ],
        ['a duration', 'triggers/pull', (value) => ({ subscriptionId, waitMs: value }), '/waitMs'],
        [
          'a lifetime',
          'triggers/update',
          (value) => ({ subscriptionId, ttlMs: value }),
          '/ttlMs',
          [0, LIFETIME_MAX_MS + 1, null],
        ],
        [
          'a lifetime',
          'triggers/subscribe',
          (value) => ({ key: t.unique(), select: subscription.select, ttlMs: value }),
          '/ttlMs',
          [0, LIFETIME_MAX_MS + 1, null],
        ],
      ];
      for (const [what, method, params, path, more = []] of numbers) {
        for (const value of [-1, 1.5, 2 ** 53, '1', true, {}, ...more]) {
          const title = `${what} that is ${JSON.stringify(value)} in ${method}`;
          await t.check('gen-integers', `${title} is rejected`, async () =>
            assert.equal(
              (await refused(title, method, params(value))).code,
              -32602,
              'the code of the error:',
            ),
          );
          await t.check(
            'err-codes',
            `the error for ${title} has a JSON Pointer into params`,
            () => {
              const { data } =
                refusals.find((one) => one.what === title)?.rejection ??
                assert.fail('the request was not rejected');
              assert.equal(data?.path, path, '`data.path`:');
            },
          );
        }
      }
      const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
      const url = 'https://callback.invalid/in?token=do-not-repeat';
      const wrongs: readonly (readonly [
        what: string,
        method: string,
        params: Json,
        code: number,
        data: Json,
      ])[] = [
        ['an empty params object', 'triggers/subscribe', {}, -32602, { kind: 'invalid' }],
        [
          'a subscribe without a key',
          'triggers/subscribe',
          { select: [{ name: 'conformance.no_such_type' }] },
          -32602,
          { kind: 'invalid' },
        ],
        [
          'an unknown trigger type',
          'triggers/subscribe',
          { key: t.unique(), select: [{ name: 'conformance.no_such_type' }] },
          -32023,
          { kind: 'trigger' },
        ],
        [
          'an unknown subscription',
          'triggers/get',
          { subscriptionId: UNKNOWN },
          -32023,
          { kind: 'subscription' },
        ],
        [
          'a stale ETag',
          'triggers/update',
          { subscriptionId, ttlMs: 75_000, ifMatch: 'no-such-etag' },
          -32602,
          { kind: 'etag' },
        ],
        [
          'a position of another epoch',
          'triggers/ack',
          { subscriptionId, position: { epoch: 'AAAAAAAAAAAAAAAAAAAAAA', sequence: 0 } },
          -32602,
          { kind: 'epoch' },
        ],
        [
          'a position beyond the log',
          'triggers/pull',
          { subscriptionId, after: { epoch, sequence: 10 ** 6 } },
          -32602,
          { kind: 'position' },
        ],
        [
          'a lifetime next to noExpiry',
          'triggers/update',
          { subscriptionId, ttlMs: 75_000, noExpiry: true },
          -32602,
          { kind: 'invalid', path: ['/noExpiry', ''] },
        ],
        [
          'a lifetime next to noExpiry',
          'triggers/subscribe',
          { key: t.unique(), select: subscription.select, ttlMs: 75_000, noExpiry: true },
          -32602,
          { kind: 'invalid', path: ['/noExpiry', ''] },
        ],
        [
          'noExpiry that is false',
          'triggers/update',
          { subscriptionId, noExpiry: false },
          -32602,
          { kind: 'invalid', path: '/noExpiry' },
        ],
        [
          'a secret that is too short',
          'triggers/update',
          { subscriptionId, callback: { url, secret: 'whsec_c2hvcnQtc2VjcmV0' } },
          -32602,
          { kind: 'invalid' },
        ],
        ...(t.offers('callback')
          ? ([
              [
                'a callback URL without https',
                'triggers/update',
                {
                  subscriptionId,
                  callback: { url: 'http://callback.invalid/in?token=do-not-repeat', secret },
                },
                -32602,
                { kind: 'invalid' },
              ],
              [
                'a callback URL that no server may call',
                'triggers/update',
                {
                  subscriptionId,
                  callback: { url: 'https://10.0.0.1/in?token=do-not-repeat', secret },
                },
                -32602,
                { kind: 'invalid', path: '/callback/url' },
              ],
              [
                'a callback that is null',
                'triggers/update',
                { subscriptionId, callback: null },
                -32602,
                { kind: 'invalid', path: '/callback' },
              ],
              [
                'a callback next to removeCallback',
                'triggers/update',
                { subscriptionId, callback: { url, secret }, removeCallback: true },
                -32602,
                { kind: 'invalid', path: ['/removeCallback', ''] },
              ],
            ] as const)
          : []),
      ];
      for (const [what, method, params, code, data] of wrongs) {
        await t.check('err-codes', `${what} returns error ${code} with its data`, async () => {
          const rejection = await refused(what, method, params);
          assert.equal(rejection.code, code, 'the code of the error:');
          for (const [member, value] of Object.entries(data))
            // Of two members that exclude each other, the schema names neither: both paths are right.
            if (Array.isArray(value))
              assert.ok(
                value.includes(rejection.data?.[member]),
                `\`data.${member}\` is ${JSON.stringify(rejection.data?.[member])} and none of ${JSON.stringify(value)}`,
              );
            else assert.equal(rejection.data?.[member], value, `\`data.${member}\`:`);
        });
      }
      await t.check(
        'err-codes',
        'every code belongs to this extension or the base protocol',
        () => {
          for (const { what, rejection } of refusals)
            assert.ok(CODES.has(rejection.code), `${what} returned code ${rejection.code}`);
        },
      );
      await t.check('err-no-value', 'no error repeats a URL, a secret or a token', () => {
        for (const {
          what,
          rejection: { message, data },
        } of refusals) {
          const text = message + JSON.stringify(data);
          for (const value of [
            'do-not-repeat',
            'callback.invalid',
            secret.slice(6),
            'c2hvcnQtc2VjcmV0',
            t.subject.access.token ?? 'whsec_',
          ])
            assert.ok(!text.includes(value), `the error for ${what} repeats a secret value`);
        }
      });
      await t.check('gen-atomic', 'rejected requests leave the subscription unchanged', async () =>
        assert.deepEqual(await configuration(t, subscriptionId), before),
      );
    },
  }),

  scenario({
    name: 'general: order of checks',
    about:
      'Of several defects, the server reports the one that comes first in the order of the SEP.',
    checks: ['gen-check-order'],
    needs: { types: ['plain'] },
    async run(t) {
      const subscription = await t.subscribe();
      const { subscriptionId } = subscription;
      const order: readonly (readonly [
        what: string,
        method: string,
        params: Json,
        expected: Json,
      ])[] = [
        ['shape before existence', 'triggers/get', { subscriptionId: 7 }, { kind: 'invalid' }],
        [
          'shape before preconditions',
          'triggers/update',
          { subscriptionId, ttlMs: -1, ifMatch: 'stale' },
          { kind: 'invalid' },
        ],
        [
          'existence before preconditions',
          'triggers/update',
          { subscriptionId: UNKNOWN, ifMatch: 'stale' },
          { kind: 'subscription' },
        ],
        [
          'existence of the type before arguments and URL',
          'triggers/subscribe',
          {
            key: t.unique(),
            select: [{ name: 'conformance.no_such_type', arguments: { topic: 1 } }],
            ...(t.offers('callback')
              ? {
                  callback: {
                    // Valid in shape, and a URL that no server may call.
                    url: 'https://user@callback.invalid/',
                    secret: `whsec_${Buffer.alloc(32).toString('base64')}`,
                  },
                }
              : {}),
          },
          { kind: 'trigger' },
        ],
        [
          'arguments before preconditions',
          'triggers/update',
          {
            subscriptionId,
            select: [{ name: t.control.type('plain'), arguments: { topic: 1 } }],
            ifMatch: 'stale',
          },
          { kind: 'invalid' },
        ],
      ];
      for (const [what, method, params, expected] of order) {
        await t.check('gen-check-order', `the server checks ${what}`, async () =>
          assert.equal(
            (await t.mcp.errorOf(method, params)).data?.kind,
            expected.kind,
            '`data.kind`:',
          ),
        );
      }
    },
  }),

  scenario({
    name: 'general: instants',
    about: 'The server writes every instant in UTC with three decimals.',
    checks: ['gen-instants'],
    needs: { types: ['plain'], verbs: ['emit'] },
    async run(t) {
      const endpoint = t.offers('callback') ? await t.endpoint() : undefined;
      const subscription = await t.subscribe({
        ttlMs: 60_000,
        ...(endpoint === undefined ? {} : { callback: endpoint.callback }),
      });
      const { subscriptionId } = subscription;
      await t.emit(t.topicOf(subscription), 1);
      const pulled = await t.pullAll(subscriptionId, 1);
      const stream = t.offers('stream')
        ? await t.stream({ subscriptionId, after: { epoch: subscription.epoch, sequence: 0 } })
        : undefined;
      if (stream !== undefined)
        await t.until('the event on the stream', () => stream.events.length > 0);
      const seen: Record<string, Json> = { subscription, pull: pulled, stream: stream?.deliveries };
      if (endpoint !== undefined) {
        await t.until(
          'the event to be acknowledged',
          async () => (await t.mcp.request('triggers/get', { subscriptionId })).acked === 1,
        );
        endpoint.secret = newSecret();
        seen['callback'] = endpoint.deliveries.map(({ delivery }) => delivery);
        seen['subscription after a rotation'] = await t.mcp.request('triggers/update', {
          subscriptionId,
          callback: endpoint.callback,
        });
        // A request that fails adds the instants of the failure.
        endpoint.answer = () => ({ status: 410 });
        endpoint.consent = () => ({ status: 410 });
        await t.emit(t.topicOf(subscription), 1, { from: 2 });
        seen['subscription after a failure'] = await t.until('the failure', async () => {
          const now = await t.mcp.request('triggers/get', { subscriptionId });
          return stateOf(now) === 'suspended' && now;
        });
      }
      await t.check(
        'gen-instants',
        'every instant of subscriptions, deliveries and events has three decimals and ends with Z',
        () => {
          for (const [path, value] of instantsIn(seen))
            assert.match(String(value), INSTANT, `${path} is ${JSON.stringify(value)}`);
        },
      );
    },
  }),

  scenario({
    name: 'general: instants of a client',
    about: 'The server accepts every form of an RFC 3339 date-time.',
    checks: ['gen-instants'],
    needs: { types: ['history'], options: ['history'] },
    async run(t) {
      const at = Math.floor(Date.now() / 1000) * 1000 - 5000;
      for (const [what, since] of formsOf(at))
        await t.check('gen-instants', `the server accepts \`since\` with ${what}`, async () => {
          const made = await t.subscribe({
            select: [{ name: t.control.type('history'), arguments: { topic: t.unique('topic') } }],
            since,
          });
          assert.match(String(made.since), INSTANT, '`since` of the result');
          // A server can honor it later, as far back as the history of the type reaches.
          assert.ok(
            Date.parse(made.since) >= at,
            `\`since\` of the result is ${made.since}, earlier than ${since}`,
          );
        });
    },
  }),

  scenario({
    name: 'general: no unsolicited messages',
    about:
      'Deliveries come only on the stream that requested them, and a client that does not use the extension receives no message of it.',
    checks: ['cap-unasked', 'deg-none'],
    needs: { types: ['plain'], verbs: ['emit'] },
    eras: 'each',
    async run(t) {
      const subscription = await t.subscribe();
      const answers: Answer[] = [];
      await t.emit(t.topicOf(subscription), 2);
      for (const [method, params] of [
        ['triggers/list', {}],
        ['triggers/get', { subscriptionId: subscription.subscriptionId }],
        [
          'triggers/pull',
          {
            subscriptionId: subscription.subscriptionId,
            waitMs: 300,
            after: { epoch: subscription.epoch, sequence: 2 },
          },
        ],
      ] as const) {
        answers.push(await t.mcp.ask(method, params));
      }
      await t.check('cap-unasked', 'the response to another method carries no delivery', () => {
        const methods = answers
          .flatMap(({ messages }) => messages.map(({ method }) => method))
          .filter((method) => method?.startsWith('notifications/triggers/'));
        assert.deepEqual(methods, [], 'notifications on answers to other methods:');
      });
      await t.check(
        'deg-none',
        'a client that does not use the extension receives no message of it',
        async () => {
          const plain = await t.open(t.mcp.era);
          for (const method of ['ping', 'tools/list', 'resources/list']) {
            const { messages } = await plain
              .ask(method, {}, { clientCapabilities: {} })
              .catch(() => ({ messages: [] as Answer['messages'] }));
            for (const message of messages)
              assert.ok(
                !message.method?.startsWith('notifications/triggers/'),
                `${method} was accompanied by ${message.method}`,
              );
          }
        },
      );
    },
  }),

  scenario({
    name: 'general: unexpected failures',
    about: 'An internal error is one sentence without internal details.',
    checks: ['err-internal'],
    async run(t) {
      await t.check(
        'err-internal',
        'no error for malformed input contains a stack trace, a path or a statement',
        async () => {
          const odd = [
            { subscriptionId: '\u0000' },
            { subscriptionId: `${'x'.repeat(100_000)}` },
            { subscriptionId: "'; DROP TABLE subscriptions; --" },
            { subscriptionId: '../../etc/passwd' },
            { cursor: 'AAAA' },
            { select: [{ name: '__proto__' }] },
            { subscriptionId: ['a'] },
            [],
          ];
          const messages = new Set<string>();
          for (const method of METHODS) {
            for (const params of odd) {
              const { error } = await t.mcp
                .ask(method, params as object)
                .catch(() => ({ error: undefined }));
              if (error === undefined) continue;
              assert.doesNotMatch(
                error.message + JSON.stringify(error.data ?? null),
                /\bat .+:\d+:\d+|SQLITE|node_modules|\.(?:ts|js|py|go|rs|java)\b:?\d*|Traceback|panic/,
                `${method} exposes internal details`,
              );
              if (error.code === -32603) messages.add(error.message);
            }
          }
          assert.ok(messages.size <= 1, `internal errors have ${messages.size} different messages`);
        },
      );
    },
  }),

  scenario({
    name: 'general: quotas',
    about: 'An error for an exceeded quota names the quota.',
    checks: ['lim-quota-named'],
    needs: { types: ['plain'] },
    alone: true,
    async run(t) {
      const other = await t.as('other');
      await t.check(
        'lim-quota-named',
        'the number of subscriptions of one principal is limited, and the error names the limit',
        async () => {
          const made: string[] = [];
          t.defer(() =>
            Promise.all(
              made.map((subscriptionId) => other.ask('triggers/unsubscribe', { subscriptionId })),
            ),
          );
          const select = [{ name: t.control.type('plain'), arguments: {} }];
          for (let count = 0; count < MANY; count += 50) {
            const answers = await Promise.all(
              Array.from({ length: 50 }, () =>
                other.ask('triggers/subscribe', { key: t.unique(), select, ttlMs: 60_000 }),
              ),
            );
            made.push(...answers.flatMap(({ result }) => result?.subscriptionId ?? []));
            const refused = answers.find(({ error }) => error !== undefined)?.error;
            if (refused === undefined) continue;
            const { limit } = Object(refused.data) as { readonly limit?: unknown };
            assert.deepEqual(
              [refused.code, limit],
              [-32025, 'subscriptions'],
              'the code of the error, and `data.limit`:',
            );
            return;
          }
          throw new NotShown(`No quota applied to ${MANY} subscriptions.`);
        },
      );
    },
  }),
];

/** The most subscriptions that the kit creates to reach the quota. */
const MANY = 2000;
