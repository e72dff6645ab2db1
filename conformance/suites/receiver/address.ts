/**
 * Signed callback URLs: which tokens the receiver accepts, and for which body (SEP: Signed callback
 * URLs).
 */
import assert from 'node:assert/strict';
import { compact, es256, hs256, unsigned } from '../../runner/receiver/identity.ts';
import { receiverScenario, withToken, type ReceiverTest } from '../../runner/receiver/scenario.ts';
import { newSecret } from '../../runner/server/callback-endpoint.ts';
import type { Answered, Sending } from '../../runner/wire/sender.ts';

const REFUSED = [401, 404];
const nowS = (later: number): number => Math.floor(Date.now() / 1000) + later;

/** Sends requests that the receiver has to reject, and collects the answers. */
class Attempts {
  readonly #all: { readonly what: string; readonly answered: Answered }[] = [];
  readonly #t: ReceiverTest;

  constructor(t: ReceiverTest) {
    this.#t = t;
  }

  /** Sends the next event with each token in the URL. Returns the names of the accepted tokens. */
  async tokens(rows: readonly (readonly [what: string, token: string])[]): Promise<string[]> {
    return this.send(
      rows.map(([what, token]) => [what, { url: withToken(this.#t.registered.url, token) }]),
    );
  }

  /** Sends the next event with each change. Returns the names of the accepted requests. */
  async send(
    rows: readonly (readonly [
      what: string,
      sending: Partial<Sending> & { readonly url?: string; readonly key?: string },
    ])[],
  ): Promise<string[]> {
    const list = [];
    for (const [what, { key, ...sending }] of rows)
      list.push({
        what,
        answered: await this.#t.send(
          key === undefined ? this.#t.next : { ...this.#t.next, key },
          sending,
        ),
      });
    this.#all.push(...list);
    return list
      .filter(({ answered }) => answered.status >= 200 && answered.status < 300)
      .map(({ what }) => what);
  }

  /** The requests with another answer than 401 or 404, each with its status. */
  notRefused(): string[] {
    return this.#all
      .filter(({ answered }) => !REFUSED.includes(answered.status))
      .map(({ what, answered }) => `${what}: HTTP ${answered.status}`);
  }
}

export const address = [
  receiverScenario({
    name: 'address: foreign tokens',
    about:
      'The token of the callback URL is replaced by tokens that the receiver did not mint, and the valid token is misused.',
    checks: ['curl-alg', 'curl-body', 'curl-not-instead', 'curl-refusal'],
    async run(t) {
      const { header, claims, token } = t.token();
      const attempts = new Attempts(t);
      const [first = '', second = '', third = ''] = token.split('.');
      await t.deliver(1);
      await t.check('curl-alg', 'the receiver signs its token with Ed25519', () =>
        assert.ok(['EdDSA', 'Ed25519'].includes(header.alg), `alg is ${header.alg}`),
      );
      await t.check('curl-alg', 'the receiver rejects tokens with another alg', async () =>
        assert.deepEqual(
          await attempts.tokens([
            ['none', compact({ ...header, alg: 'none' }, claims, unsigned)],
            [
              'none, with the valid signature',
              `${Buffer.from(JSON.stringify({ ...header, alg: 'none' })).toString('base64url')}.${second}.${third}`,
            ],
            [
              'HS256 under the secret',
              compact(
                { ...header, alg: 'HS256' },
                claims,
                hs256(Buffer.from(t.registered.secret.slice(6), 'base64')),
              ),
            ],
            ['HS256 under an empty key', compact({ ...header, alg: 'HS256' }, claims, hs256(''))],
            ['ES256', compact({ ...header, alg: 'ES256' }, claims, es256())],
          ]),
          [],
        ),
      );
      await t.check('curl-refusal', 'the receiver rejects changed tokens', async () =>
        assert.deepEqual(
          await attempts.tokens([
            [
              'a later exp',
              `${first}.${Buffer.from(JSON.stringify({ ...claims, exp: claims.exp + 1 })).toString('base64url')}.${third}`,
            ],
            ['another signature', `${first}.${second}.${'A'.repeat(86)}`],
            ['no signature', `${first}.${second}.`],
            ['nothing', ''],
          ]),
          [],
        ),
      );
      await t.check(
        'curl-body',
        'the receiver rejects a body with another key than the token',
        async () =>
          assert.deepEqual(await attempts.send([['another key', { key: 'somebody-elses' }]]), []),
      );
      await t.check(
        'curl-refusal',
        'the receiver answers each of these requests with 401 or 404',
        () => assert.deepEqual(attempts.notRefused(), []),
      );
      await t.check(
        'curl-not-instead',
        'the receiver rejects a valid token without a valid signature',
        async () => {
          assert.deepEqual(
            await attempts.send([
              ['no signature', { headers: { 'webhook-signature': null } }],
              ['another secret', { secrets: [newSecret()] }],
            ]),
            [],
          );
        },
      );
      await t.check(
        ['curl-refusal', 'curl-not-instead'],
        'the receiver applies no request that it rejected',
        () => t.nothingApplied(),
      );
      await t.check(
        'curl-refusal',
        'the receiver applies a valid request after the rejected ones',
        () => t.deliver(1),
      );
    },
  }),
  receiverScenario({
    name: 'address: its own tokens',
    about: "The token is replaced by tokens that the receiver's own key signs, with other claims.",
    checks: ['curl-alg', 'curl-claims', 'curl-aud', 'curl-refusal'],
    needs: ['register', 'mint'],
    async run(t) {
      const { header, claims } = t.token();
      const attempts = new Attempts(t);
      const mint = async (header_: object, claims_: object): Promise<string> =>
        (await t.control.do('mint', { header: header_, claims: claims_ })).token;
      const altered = async (what: string, more: object): Promise<readonly [string, string]> => [
        what,
        await mint(header, { ...claims, ...more }),
      ];
      await t.check('curl-claims', 'the receiver accepts a token with the original claims', () =>
        mint(header, claims).then((token) =>
          t.deliver(1, { url: withToken(t.registered.url, token) }),
        ),
      );
      await t.check(
        'curl-claims',
        'the receiver rejects a foreign iss, a past exp and another path',
        async () =>
          assert.deepEqual(
            await attempts.tokens([
              await altered('another iss', { iss: 'https://hooks.example.org' }),
              await altered('an exp that has passed', { exp: nowS(-600), iat: nowS(-1200) }),
              await altered('another htp', { htp: `${claims.htp}/more` }),
            ]),
            [],
          ),
      );
      await t.check(
        'curl-claims',
        'the receiver rejects the valid token on another path',
        async () => {
          const elsewhere = new URL(t.registered.url);
          elsewhere.pathname += '/more';
          assert.deepEqual(await attempts.send([['another path', { url: elsewhere.href }]]), []);
        },
      );
      await t.check(
        'curl-alg',
        'the receiver rejects a token with its own signature but another alg',
        async () =>
          assert.deepEqual(
            await attempts.tokens([
              ['HS256', await mint({ ...header, alg: 'HS256' }, claims)],
              ['none', await mint({ ...header, alg: 'none' }, claims)],
            ]),
            [],
          ),
      );
      const { typ: _, ...untyped } = header;
      await t.check('curl-alg', 'the receiver rejects tokens of another typ', async () =>
        assert.deepEqual(
          await attempts.tokens([
            ['JWT', await mint({ ...header, typ: 'JWT' }, claims)],
            ['mcp-delivery+jws', await mint({ ...header, typ: 'mcp-delivery+jws' }, claims)],
            ['none', await mint(untyped, claims)],
          ]),
          [],
        ),
      );
      const other = await t.register({
        audience: 'https://mcp.example.org/other',
        key: t.registered.key,
      });
      await t.check(
        'curl-aud',
        'the receiver rejects the secret and the URL that the same key has at another server',
        async () => {
          assert.deepEqual(
            await attempts.send([
              ["the other server's secret", { secrets: [other.secret] }],
              ["the other server's URL", { url: other.url }],
            ]),
            [],
          );
        },
      );
      await t.check(
        'curl-refusal',
        'the receiver answers each of these requests with 401 or 404',
        () => assert.deepEqual(attempts.notRefused(), []),
      );
      await t.check('curl-refusal', 'the receiver applies no request that it rejected', () =>
        t.nothingApplied(),
      );
    },
  }),
];
