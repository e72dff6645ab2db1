/** Only its owner can see a subscription (SEP: Isolation). */
import assert from 'node:assert/strict';
import { NotApplicable } from '../../runner/observations.ts';
import { scenario } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';

/** Whether only this machine reaches the address. */
const isLoopback = (url: string): boolean =>
  /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(url).hostname);

const UNKNOWN = 'sub_conformance_00000000000000000000';

export const isolation = [
  scenario({
    name: 'isolation: another owner',
    about: 'For every other owner a subscription is like one that never existed.',
    checks: ['iso-own', 'iso-not-found', 'iso-iss-sub'],
    needs: { types: ['plain'] },
    eras: 'each',
    async run(t) {
      const subscription = await t.subscribe();
      const { subscriptionId, epoch, etag } = subscription;
      // With events in the log, an acknowledgement by another principal could do harm.
      if (t.control.has('emit')) {
        await t.emit(t.topicOf(subscription), 2);
        await t.pullAll(subscriptionId, 2);
      }
      const other = await t.as('other');
      const position = { epoch, sequence: 1 };
      const asked: readonly (readonly [method: string, params: (id: string) => object])[] = [
        ['triggers/get', (id) => ({ subscriptionId: id })],
        ['triggers/update', (id) => ({ subscriptionId: id, ttlMs: 60_000 })],
        ['triggers/pull', (id) => ({ subscriptionId: id })],
        ['triggers/ack', (id) => ({ subscriptionId: id, position })],
        ['triggers/unsubscribe', (id) => ({ subscriptionId: id, ifMatch: etag })],
        ...(t.offers('stream')
          ? [['triggers/stream', (id: string) => ({ subscriptionId: id })] as const]
          : []),
      ];
      for (const [method, params] of asked) {
        await t.check(
          ['iso-own', 'iso-not-found'],
          `${method} of another owner's subscription returns the error of an unknown one`,
          async () => {
            const [foreign, unknown] = [
              await other.errorOf(method, params(subscriptionId)),
              await other.errorOf(method, params(UNKNOWN)),
            ];
            const shown = ({ code, message, data, status }: typeof foreign) =>
              JSON.stringify({ code, message, data, status });
            assert.equal(shown(foreign), shown(unknown), 'the error object:');
            assert.deepEqual(foreign.data, { kind: 'subscription' }, '`data`:');
          },
        );
      }
      const ended = await t.subscribe();
      await t.mcp.request('triggers/unsubscribe', { subscriptionId: ended.subscriptionId });
      await t.check(
        'iso-not-found',
        'no other owner learns that and how a subscription ended',
        async () =>
          assert.deepEqual(
            (await other.errorOf('triggers/get', { subscriptionId: ended.subscriptionId })).data,
            { kind: 'subscription' },
            '`data`:',
          ),
      );
      await t.check(
        'iso-own',
        'no other owner lists the subscription, and it is unchanged',
        async () => {
          const pages = await other.pages('triggers/subscriptions');
          assert.ok(
            !pages
              .flatMap(({ subscriptions }) => subscriptions)
              .some((one: Json) => one.subscriptionId === subscriptionId),
            'the subscription is listed',
          );
          const now = await t.mcp.request('triggers/get', { subscriptionId });
          assert.deepEqual([now.paused, now.acked, now.etag], [undefined, 0, etag]);
        },
      );
      await t.check(
        'iso-iss-sub',
        'the same subject of another issuer is another owner',
        async () => {
          const namesake = await t.as('namesake');
          assert.deepEqual(
            (await namesake.errorOf('triggers/get', { subscriptionId })).data,
            { kind: 'subscription' },
            '`data`:',
          );
        },
      );
      await t.check(
        'iso-iss-sub',
        'another client of the same user is another owner, and its key is a key of its own',
        async () => {
          const sibling = await t.as('sibling');
          assert.deepEqual(
            (await sibling.errorOf('triggers/get', { subscriptionId })).data,
            { kind: 'subscription' },
            '`data`:',
          );
          const { key, select } = subscription;
          const theirs = await t.subscribe({ key, select }, sibling);
          assert.equal(theirs.created, true, '`created` of the same key:');
        },
      );
    },
  }),

  scenario({
    name: 'isolation: unauthenticated',
    about: 'Without a verified access token the server answers triggers/list only.',
    checks: ['iso-principal'],
    needs: { types: ['plain'] },
    async run(t) {
      // Everybody who reaches a loopback address is on the same machine.
      if (t.subject.access.token === undefined && isLoopback(t.subject.access.url))
        throw new NotApplicable('The server runs in development, without authorization.');
      await t.check(
        'iso-principal',
        'the server rejects every subscription method without a token',
        async () => {
          const { url } = t.subject.access;
          for (const [method, params] of [
            [
              'triggers/subscribe',
              { key: t.unique(), select: [{ name: t.control.type('plain') }] },
            ],
            ['triggers/subscriptions', {}],
            ['triggers/get', { subscriptionId: UNKNOWN }],
          ] as const) {
            const response = await fetch(url, {
              method: 'POST',
              headers: {
                'content-type': 'application/json',
                accept: 'application/json, text/event-stream',
                'mcp-protocol-version': t.mcp.era,
                'mcp-method': method,
              },
              body: JSON.stringify({
                jsonrpc: '2.0',
                id: 1,
                method,
                params: {
                  ...params,
                  _meta: {
                    'io.modelcontextprotocol/protocolVersion': t.mcp.era,
                    'io.modelcontextprotocol/clientInfo': { name: 'nobody', version: '1' },
                    'io.modelcontextprotocol/clientCapabilities': {},
                  },
                },
              }),
            });
            // HTTP authorization may reject the request before the method is read.
            if (response.status === 401 || response.status === 403) continue;
            const error = /"error":(\{.*\})/.exec(await response.text())?.[1] ?? '';
            for (const part of [/-32024/, /"kind": *"authentication"/])
              assert.match(
                error,
                part,
                `${method} without a token returned HTTP ${response.status} and not Forbidden`,
              );
          }
        },
      );
    },
  }),

  scenario({
    name: 'isolation: permission of the request',
    about: 'A new selection and a new callback need the permission of the request.',
    checks: ['iso-scopes'],
    needs: { types: ['plain'], verbs: ['permit'] },
    alone: true,
    async run(t) {
      const name = t.control.type('plain');
      const { subscriptionId } = await t.subscribe();
      const endpoint = t.offers('callback') ? await t.endpoint() : undefined;
      await t.control.do('permit', { principal: 'main', name, allowed: false, told: false });
      t.defer(() => t.control.do('permit', { principal: 'main', name, allowed: true }));
      const changes: readonly (readonly [what: string, change: object])[] = [
        ['select', { select: [{ name, arguments: { topic: t.unique('topic') } }] }],
        ...(endpoint === undefined ? [] : [['callback', { callback: endpoint.callback }] as const]),
      ];
      for (const [what, change] of changes)
        await t.check('iso-scopes', `a new ${what} without permission is rejected`, async () => {
          const { code } = await t.mcp.errorOf('triggers/update', { subscriptionId, ...change });
          assert.ok(code === -32024 || code === -32023, `the error has code ${code}`);
          assert.equal(endpoint?.hits.length ?? 0, 0, 'requests to the callback:');
        });
    },
  }),

  scenario({
    name: 'isolation: the client token',
    about: "The client's token goes to the server alone.",
    checks: ['iso-token'],
    needs: { drains: ['callback'], types: ['plain'], verbs: ['emit'] },
    async run(t) {
      const endpoint = await t.endpoint();
      const subscription = await t.subscribe({ callback: endpoint.callback });
      await t.emit(t.topicOf(subscription), 1);
      await t.until('a delivery', () => endpoint.events.length > 0);
      await t.check('iso-token', "no callback request contains the client's token", () => {
        const { token } = t.subject.access;
        for (const { headers, raw } of endpoint.hits) {
          assert.ok(
            headers.authorization === undefined,
            'a callback request has an Authorization header',
          );
          if (token !== undefined)
            assert.ok(
              !JSON.stringify(headers).includes(token) && !raw.includes(token),
              'a callback request contains the token',
            );
        }
      });
    },
  }),
];
