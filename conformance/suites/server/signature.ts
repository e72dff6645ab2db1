/**
 * The signatures of a callback request: under the secret of the subscription, and under the server's
 * own key (SEP: Signature, Server identity).
 */
import assert from 'node:assert/strict';
import { createHash, createPublicKey, verify, type JsonWebKey } from 'node:crypto';
import { NotApplicable } from '../../runner/observations.ts';
import {
  type CallbackEndpoint,
  acknowledge,
  newSecret,
  signatureOf,
  type Hit,
} from '../../runner/server/callback-endpoint.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';
import { acked, arrived, delivery, MINUTE_MS, serverTime } from './following.ts';

const NEEDS = { drains: ['callback'], verbs: ['emit'], types: ['plain'] } as const;
/** Time after a secret rotation during which the old secret signs too. */
const WINDOW_MS = 5 * MINUTE_MS;
/** Tolerance for the clocks of two machines. */
const CLOCKS_MS = MINUTE_MS;
const HEADER_MEMBERS = [
  'alg',
  'b64',
  'crit',
  'htm',
  'iat',
  'iss',
  'kid',
  'origin',
  'sub',
  'typ',
  'uh',
];

/** The entries of `webhook-signature` with version 1. */
const signatures = ({ headers }: Hit): string[] =>
  String(headers['webhook-signature'])
    .split(' ')
    .filter((entry) => entry.startsWith('v1,'));
const whsec = (bytes: number, fill = 7): string =>
  `whsec_${Buffer.alloc(bytes, fill).toString('base64')}`;

/** Invalid secrets by their defect. */
const WRONG_SECRETS: readonly (readonly [what: string, secret: string])[] = [
  ['of 23 bytes', whsec(23)],
  ['of 65 bytes', whsec(65)],
  ['of zero bytes', 'whsec_'],
  ['without prefix', whsec(32).slice('whsec_'.length)],
  ['with another prefix', whsec(32).replace('whsec_', 'whpk_')],
  ['with the prefix in upper case', whsec(32).replace('whsec_', 'WHSEC_')],
  ['in base64url', whsec(33, 0xff).replaceAll('/', '_')],
  ['with bits that decoders drop', whsec(32).replace(/c=$/, 'd=')],
  ['without padding', whsec(32).replace(/=+$/, '')],
  ['of characters outside base64', `whsec_${'!'.repeat(64)}`],
  ['with a line feed', `${whsec(32)}\n`],
  ['with a space', whsec(33).replace(/(.{20})/, '$1 ')],
];

/** Creates a subscription, delivers an event under its first secret, and changes the secret. */
async function rotated(t: ServerTest) {
  const endpoint = await t.endpoint();
  const old = endpoint.secret;
  const made = await t.subscribe({ callback: endpoint.callback, ttlMs: 60 * MINUTE_MS });
  const { subscriptionId } = made;
  await t.emit(t.topicOf(made), 1);
  await arrived(t, endpoint, 1);
  await acked(t, made, 1);
  endpoint.secret = newSecret();
  const at = serverTime(t);
  const updated = await t.mcp.request('triggers/update', {
    subscriptionId,
    callback: endpoint.callback,
  });
  return {
    endpoint,
    old,
    made,
    updated,
    at,
    get: () => t.mcp.request('triggers/get', { subscriptionId }),
  };
}

/** Waits for event 2; its delivery must be signed under exactly these secrets, in this order. */
async function arrivesSigned(
  t: ServerTest,
  endpoint: CallbackEndpoint,
  secrets: readonly string[],
): Promise<void> {
  await arrived(t, endpoint, 2);
  const hit = endpoint.deliveries.at(-1)!;
  assert.deepEqual(
    signatures(hit),
    secrets.map((secret) => signatureOf(secret, hit)),
    'webhook-signature:',
  );
}

export const signature = [
  scenario({
    name: 'signature: secrets',
    about: 'A secret consists of whsec_ and the base64 of 24 to 64 bytes.',
    checks: ['sig-secret-format'],
    needs: { drains: ['callback'], types: ['plain'] },
    async run(t) {
      const endpoint = await t.endpoint();
      const select = [{ name: t.control.type('plain'), arguments: { topic: t.unique('topic') } }];
      const { subscriptionId } = await t.subscribe();
      for (const [what, secret] of WRONG_SECRETS) {
        await t.check('sig-secret-format', `a secret ${what} is rejected`, async () => {
          const callback = { url: endpoint.url, secret };
          for (const [method, params] of [
            ['triggers/subscribe', { key: t.unique(), select, callback }],
            ['triggers/update', { subscriptionId, callback }],
          ] as const) {
            const { code, data } = await t.mcp.errorOf(method, params);
            assert.deepEqual(
              [code, data?.kind, data?.path],
              [-32602, 'invalid', '/callback/secret'],
              `code, \`data.kind\` and \`data.path\` of ${method}:`,
            );
          }
        });
      }
      await t.check('sig-secret-format', 'secrets of 24 and of 64 bytes are accepted', async () => {
        for (const bytes of [24, 64]) {
          endpoint.secret = newSecret(bytes);
          await t.subscribe({ callback: endpoint.callback });
        }
      });
    },
  }),

  scenario({
    name: 'signature: every request',
    about:
      'Challenges and deliveries are signed over the sent bytes, with the time of the attempt.',
    checks: ['sig-raw-bytes', 'sig-timestamp'],
    needs: NEEDS,
    async run(t) {
      const endpoint = await t.endpoint();
      const subscription = await t.subscribe({ callback: endpoint.callback });
      await t.emit(t.topicOf(subscription), 2, { data: { pad: 'größer/"\\\u2028 — 日本語 🎺' } });
      await arrived(t, endpoint, 2);
      await t.check(
        'sig-raw-bytes',
        'the signature is correct for the received bytes of the body',
        () => {
          for (const hit of endpoint.hits)
            assert.deepEqual(
              signatures(hit),
              [signatureOf(endpoint.secret, hit)],
              `webhook-signature of ${hit.delivery.challenge === undefined ? 'a delivery' : 'a challenge'}:`,
            );
        },
      );
      await t.check(
        'sig-timestamp',
        'the timestamp is the time of the attempt in whole seconds since 1970',
        () => {
          for (const { headers, at } of endpoint.hits) {
            const stamp = String(headers['webhook-timestamp']);
            assert.match(stamp, /^[0-9]{1,12}$/, `webhook-timestamp is ${stamp}`);
            const apart = Math.abs(Number(stamp) * 1000 - serverTime(t, at));
            assert.ok(
              apart <= CLOCKS_MS,
              `webhook-timestamp is ${Math.round(apart / 1000)} s away from the time of the request`,
            );
          }
        },
      );
    },
  }),

  scenario({
    name: 'signature: a new secret',
    about: 'After a secret rotation both secrets sign, and the client learns until when.',
    checks: ['sig-rotation', 'sig-rotation-shown'],
    needs: NEEDS,
    async run(t) {
      const { endpoint, old, made, updated, at, get } = await rotated(t);
      await t.check(
        'sig-rotation-shown',
        'previousSecretUntil is absent before a secret rotation',
        () =>
          assert.equal(
            made.callback.previousSecretUntil,
            undefined,
            '`callback.previousSecretUntil`:',
          ),
      );
      await t.check(
        'sig-rotation-shown',
        'after a secret rotation previousSecretUntil is five minutes ahead',
        async () => {
          for (const { callback } of [updated, await get()]) {
            const until = Date.parse(callback.previousSecretUntil);
            assert.ok(
              Math.abs(until - (at + WINDOW_MS)) <= CLOCKS_MS,
              `\`callback.previousSecretUntil\` is ${callback.previousSecretUntil}, ${Math.round((until - at) / 1000)} s after the rotation`,
            );
          }
        },
      );
      await t.emit(t.topicOf(made), 1, { from: 2 });
      await t.check(
        'sig-rotation',
        'after a secret rotation both secrets sign, and the new signature is first',
        async () => {
          await arrivesSigned(t, endpoint, [endpoint.secret, old]);
        },
      );
    },
  }),

  scenario({
    name: 'signature: a third secret',
    about: 'Two rotations within five minutes leave the newest secret and the one before it.',
    checks: ['sig-rotation'],
    needs: NEEDS,
    async run(t) {
      const { endpoint, made } = await rotated(t);
      const second = endpoint.secret;
      endpoint.secret = newSecret();
      await t.mcp.request('triggers/update', {
        subscriptionId: made.subscriptionId,
        callback: endpoint.callback,
      });
      await t.emit(t.topicOf(made), 1, { from: 2 });
      await t.check('sig-rotation', 'the newest secret and the one before it sign', () =>
        arrivesSigned(t, endpoint, [endpoint.secret, second]),
      );
    },
  }),

  scenario({
    name: 'signature: a revoked secret',
    about: 'With revokePrevious the previous secret no longer signs.',
    checks: ['sig-rotation-end', 'sig-rotation-shown'],
    needs: NEEDS,
    async run(t) {
      const [later, atOnce] = [await rotated(t), await rotated(t)];
      const update = ({ made: { subscriptionId } }: typeof later, params: object): Promise<Json> =>
        t.mcp.request('triggers/update', { subscriptionId, revokePrevious: true, ...params });
      atOnce.endpoint.secret = newSecret();
      for (const [what, one, params] of [
        ['during a rotation', later, {}],
        ['with a new secret', atOnce, { callback: atOnce.endpoint.callback }],
      ] as const) {
        const { callback } = await update(one, params);
        await t.check(
          'sig-rotation-shown',
          `previousSecretUntil is absent after revokePrevious ${what}`,
          () => assert.equal(callback.previousSecretUntil, undefined),
        );
        await t.emit(t.topicOf(one.made), 1, { from: 2 });
        await t.check(
          'sig-rotation-end',
          `only the newest secret signs after revokePrevious ${what}`,
          () => arrivesSigned(t, one.endpoint, [one.endpoint.secret]),
        );
      }
    },
  }),

  scenario({
    name: 'signature: the old secret',
    about: 'Five minutes after a secret rotation the old secret no longer signs.',
    checks: ['sig-rotation-end', 'sig-rotation-shown'],
    needs: { ...NEEDS, verbs: ['emit', 'advance'] },
    alone: true,
    async run(t) {
      const { endpoint, made, get } = await rotated(t);
      await t.control.do('advance', { ms: WINDOW_MS + 1000 });
      await t.emit(t.topicOf(made), 1, { from: 2 });
      await t.check(
        'sig-rotation-end',
        'after five minutes only the new secret signs',
        async () => {
          await arrivesSigned(t, endpoint, [endpoint.secret]);
        },
      );
      await t.check(
        'sig-rotation-shown',
        'after five minutes previousSecretUntil is absent again',
        async () =>
          assert.equal(
            (await get()).callback.previousSecretUntil,
            undefined,
            '`callback.previousSecretUntil`:',
          ),
      );
    },
  }),

  scenario({
    name: "signature: the server's own",
    about:
      'A server that publishes keys signs every request with one of them, with a new signature each time.',
    checks: ['cap-jwks', 'jws-key', 'jws-header', 'jws-fresh'],
    needs: NEEDS,
    async run(t) {
      const { jwksUri } = t.settings;
      if (jwksUri === undefined) throw new NotApplicable('The settings have no jwksUri.');
      const endpoint = await t.endpoint();
      // Retry-After asks for one second, so that the retry has another timestamp.
      endpoint.answer = (hit, n) =>
        n === 1 ? { status: 503, headers: { 'retry-after': '1' } } : acknowledge(hit);
      const subscription = await t.subscribe({ callback: endpoint.callback });
      await t.emit(t.topicOf(subscription), 1);
      const [first, second] = [await delivery(t, endpoint, 1), await delivery(t, endpoint, 2)];
      const hits = [endpoint.challenges[0]!, first, second];
      const keys = (
        (await (await fetch(jwksUri, { signal: AbortSignal.timeout(10_000) })).json()) as {
          readonly keys: readonly Json[];
        }
      ).keys;

      await t.check('cap-jwks', 'jwksUri has the origin of the MCP endpoint', () =>
        assert.equal(new URL(jwksUri).origin, new URL(t.subject.access.url).origin),
      );
      await t.check(
        'cap-jwks',
        'challenge, delivery and retry each have one MCP-Delivery-Signature',
        () => {
          for (const {
            names,
            delivery: { challenge },
          } of hits)
            assert.equal(
              names.filter((name) => name === 'mcp-delivery-signature').length,
              1,
              `occurrences of the header in ${challenge === undefined ? 'a delivery' : 'a challenge'}:`,
            );
        },
      );
      await t.check('jws-key', 'the signature verifies under the Ed25519 key that it names', () => {
        for (const hit of hits) {
          const { header, head, signature: bytes } = partsOf(hit);
          const key =
            keys.find(({ kid }) => kid === header.kid) ??
            assert.fail(`the key set at jwksUri has no key "${header.kid}"`);
          assert.deepEqual([key.kty, key.crv], ['OKP', 'Ed25519'], '`kty` and `crv` of the key:');
          assert.ok(
            verify(
              null,
              Buffer.concat([Buffer.from(`${head}.`), hit.raw]),
              createPublicKey({ key: key as JsonWebKey, format: 'jwk' }),
              bytes,
            ),
            'the signature does not verify',
          );
        }
      });
      await t.check(
        'jws-header',
        'the protected header has exactly the members of the SEP, with the values of the request',
        async () => {
          const resource = await resourceOf(t);
          for (const hit of hits) {
            const { header } = partsOf(hit);
            assert.deepEqual(Object.keys(header).sort(), HEADER_MEMBERS, 'the members:');
            const { typ, b64, crit, htm, iss, origin, uh, sub } = header;
            assert.deepEqual(
              { typ, b64, crit, htm },
              { typ: 'mcp-delivery+jws', b64: false, crit: ['b64'], htm: 'POST' },
            );
            const { url } = endpoint.callback;
            assert.deepEqual(
              { iss, origin, uh, sub },
              {
                iss: resource,
                origin: new URL(url).origin,
                uh: createHash('sha256').update(url).digest('base64url'),
                sub: subscription.subscriptionId,
              },
            );
          }
        },
      );
      await t.check('jws-header', 'the algorithm is EdDSA or Ed25519', () => {
        for (const hit of hits)
          assert.ok(
            ['EdDSA', 'Ed25519'].includes(partsOf(hit).header.alg),
            `\`alg\` is ${partsOf(hit).header.alg}`,
          );
      });
      await t.check('jws-fresh', 'each attempt has its own signature with its own time', () => {
        assert.equal(
          new Set(hits.map(({ headers }) => headers['mcp-delivery-signature'])).size,
          hits.length,
          `different signatures of ${hits.length} requests:`,
        );
        for (const hit of hits)
          assert.ok(
            Math.abs(partsOf(hit).header.iat * 1000 - serverTime(t, hit.at)) <= CLOCKS_MS,
            `\`iat\` is ${partsOf(hit).header.iat}, far from the time of the request`,
          );
        assert.ok(
          partsOf(second).header.iat > partsOf(first).header.iat,
          '`iat` of the retry is not later than that of the first attempt',
        );
      });
    },
  }),
];

/**
 * The resource URI of the server: what its protected resource metadata says (RFC 9728), or the URL of
 * its MCP endpoint when it publishes none.
 */
async function resourceOf({ subject: { access } }: ServerTest): Promise<string> {
  const { origin, pathname } = new URL(access.url);
  for (const path of [pathname.replace(/\/$/, ''), '']) {
    const response = await fetch(`${origin}/.well-known/oauth-protected-resource${path}`, {
      signal: AbortSignal.timeout(10_000),
    });
    const { resource } = Object(await response.json().catch(() => undefined));
    if (response.ok && typeof resource === 'string') return resource;
  }
  return access.url;
}

/**
 * The parts of a detached JWS: the protected header as text and as JSON, and the signature. Throws
 * for any other text.
 */
function partsOf({ headers }: Hit): {
  readonly head: string;
  readonly header: Json;
  readonly signature: Buffer;
} {
  const [head = '', payload, bytes = '', ...rest] = String(headers['mcp-delivery-signature']).split(
    '.',
  );
  assert.ok(
    payload === '' && rest.length === 0 && bytes !== '',
    'MCP-Delivery-Signature is not a protected header, two full stops and a signature',
  );
  return {
    head,
    header: JSON.parse(Buffer.from(head, 'base64url').toString()),
    signature: Buffer.from(bytes, 'base64url'),
  };
}
