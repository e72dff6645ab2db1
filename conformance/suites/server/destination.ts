/**
 * Callback URLs that a server may accept, and requests to them (SEP: Destination rules, Signed
 * callback URLs).
 */
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { hmac } from '../../runner/server/callback-endpoint.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import { arrived, quiet, rejection } from './following.ts';

const NEEDS = { drains: ['callback'], types: ['plain'] } as const;
const SECRET = `whsec_${Buffer.alloc(32, 3).toString('base64')}`;
const URL_CHARS_MAX = 2048;

const NOT_HTTPS = [
  'http://callback.invalid/in',
  'ftp://callback.invalid/in',
  'ws://callback.invalid/in',
  'wss://callback.invalid/in',
  'file:///etc/passwd',
  'javascript:alert(1)',
];

/**
 * Addresses that are not globally reachable unicast, also in other spellings. None is loopback,
 * which a server may allow for tests.
 */
const NOT_PUBLIC: Readonly<Record<string, readonly string[]>> = {
  'in a private network': ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1'],
  'that is link-local': ['169.254.169.254'],
  'outside public networks': [
    '0.0.0.0',
    '192.0.2.1',
    '198.18.0.1',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
  ],
  'in a special IPv6 range': [
    '[::]',
    '[fc00::1]',
    '[fd00:ec2::254]',
    '[fe80::1]',
    '[fec0::1]',
    '[ff02::1]',
    '[2001:db8::1]',
    '[100::1]',
  ],
  'in IPv6 that embeds private IPv4': [
    '[::ffff:a00:1]',
    '[::ffff:10.0.0.1]',
    '[::a00:1]',
    '[64:ff9b::a00:1]',
    '[64:ff9b:1::a00:1]',
    '[2002:a00:1::1]',
  ],
  'written in another form': [
    '167772161',
    '0xa000001',
    '012.0.0.1',
    '10.1',
    '0x0a.0.0.1',
    '10.0.0.1.',
    '%31%30.0.0.1',
    '１０.0.0.1',
    '10。0。0。1',
    '2852039166',
  ],
};
const LOOPBACK = [
  '127.0.0.1',
  '127.255.255.254',
  '[::1]',
  '[::ffff:7f00:1]',
  '2130706433',
  '0x7f.1',
  '0177.0.0.1',
  '127.1',
];

/** Invalid variants of a valid URL, by their defect. */
const oddFormsOf = (url: string): Readonly<Record<string, readonly string[]>> => ({
  'longer than 2,048 characters': [
    `${url}?${'x'.repeat(URL_CHARS_MAX)}`,
    `${url}?${'x'.repeat(URL_CHARS_MAX - url.length)}`,
  ],
  'with characters outside printable ASCII': [
    `${url}/é`,
    `${url}/a b`,
    `${url}/\t`,
    `${url}/\u0000`,
    ` ${url}`,
    `${url}\n`,
  ],
  'with user information': [
    url.replace('://', '://user@'),
    url.replace('://', '://user:password@'),
    url.replace('://', '://@'),
  ],
  'with a fragment': [`${url}#x`, `${url}#`],
  'not in normal form': [
    url.replace(/^https?/, (scheme) => scheme.toUpperCase()),
    `${url}/a/../b`,
    `${url}/./b`,
    `${url}/%2e%2e/b`,
    `${url}\\b`,
    'https://CALLBACK.invalid/in',
    'https://callback.invalid',
    'https://callback.invalid:443/in',
    'https:/callback.invalid/in',
  ],
  'that is not a URL': ['', '/in', 'callback.invalid/in', 'https://'],
});

/** Checks that both methods with a callback reject each of these URLs. */
async function checkUrl(
  t: ServerTest,
  subscriptionId: string,
  check: string,
  what: string,
  urls: readonly string[],
  secret = SECRET,
): Promise<void> {
  await t.check(check, `a URL ${what} is rejected`, async () => {
    for (const url of urls) {
      for (const [method, params] of [
        ['triggers/subscribe', { key: t.unique(), select: quiet(t) }],
        ['triggers/update', { subscriptionId }],
      ] as const) {
        const { error } = await t.mcp.ask(method, { ...params, callback: { url, secret } });
        const data = error?.data as { readonly kind?: string; readonly path?: string } | undefined;
        assert.deepEqual(
          [error?.code, data?.kind, data?.path],
          [-32602, 'invalid', '/callback/url'],
          `code, \`data.kind\` and \`data.path\` of ${method} with ${JSON.stringify(url.slice(0, 80))}:`,
        );
      }
    }
  });
}

export const destination = [
  scenario({
    name: 'destination: accepted URLs',
    about: 'A callback URL has to be https, in normal form, with a public host.',
    checks: ['ssrf-https', 'ssrf-normal-form', 'ssrf-literal'],
    needs: NEEDS,
    async run(t) {
      const endpoint = await t.endpoint();
      const { subscriptionId } = await t.subscribe();
      await checkUrl(t, subscriptionId, 'ssrf-https', 'that is not https', NOT_HTTPS);
      for (const [what, urls] of Object.entries(oddFormsOf(endpoint.url)))
        await checkUrl(t, subscriptionId, 'ssrf-normal-form', what, urls, endpoint.secret);
      const hosts =
        t.subject.callbackBase === undefined
          ? NOT_PUBLIC
          : { ...NOT_PUBLIC, 'of this machine': LOOPBACK };
      for (const [what, names] of Object.entries(hosts))
        await checkUrl(
          t,
          subscriptionId,
          'ssrf-literal',
          `whose host is an address ${what}`,
          names.map((name) => `https://${name}/in`),
        );
      await t.check(
        'ssrf-normal-form',
        'a rejected URL is not called, and a valid one of 2,048 characters is accepted',
        async () => {
          assert.equal(endpoint.hits.length, 0, 'requests to the callback:');
          const url = `${endpoint.url}?`.padEnd(URL_CHARS_MAX, 'x');
          await t.subscribe({ callback: { url, secret: endpoint.secret } });
        },
      );
    },
  }),

  scenario({
    name: 'destination: the URL as it is',
    about: 'A callback URL is used byte for byte.',
    checks: ['curl-opaque'],
    needs: { ...NEEDS, verbs: ['emit'] },
    async run(t) {
      const endpoint = await t.endpoint();
      const url = `${endpoint.url}//A%2f%7e%20b/;p=1,2?cb=e%79J.a.b&empty=&&flag&q=%C3%A9+x%27`;
      const made = await t.subscribe({ callback: { url, secret: endpoint.secret } });
      await t.emit(t.topicOf(made), 1);
      await t.check(
        'curl-opaque',
        'the request has the escapes, case and empty parameters of the registered URL',
        async () => {
          await arrived(t, endpoint, 1);
          for (const { path } of endpoint.hits)
            assert.equal(
              path,
              url.slice(new URL(url).origin.length),
              'path and query of the request:',
            );
        },
      );
    },
  }),

  scenario({
    name: 'destination: challenges',
    about: 'The rules for deliveries apply to challenges too.',
    checks: ['ans-no-redirect', 'cb-answer-limit'],
    needs: NEEDS,
    // These failures fill the quota for failed verifications.
    alone: true,
    async run(t) {
      const proof = (challenge: string, secret: string): string =>
        JSON.stringify({ challenge, proof: hmac(secret, `challenge.${challenge}`) });
      const elsewhere = await t.endpoint();
      const rows = [
        [
          'ans-no-redirect',
          'a challenge does not follow a redirect',
          'http_4xx',
          () => ({ status: 307, headers: { location: elsewhere.url } }),
        ],
        [
          'cb-answer-limit',
          'a proof that ends after 8,192 bytes does not count',
          'challenge_failed',
          (text: string) => ({ body: `${text.slice(0, -1)}${' '.repeat(8192)}}` }),
        ],
        [
          'cb-answer-limit',
          'a compressed proof does not count',
          'challenge_failed',
          (text: string) => ({ headers: { 'content-encoding': 'gzip' }, body: gzipSync(text) }),
        ],
      ] as const;
      for (const [check, what, reason, reply] of rows) {
        await t.check(check, what, async () => {
          const endpoint = await t.endpoint();
          elsewhere.secret = endpoint.secret;
          endpoint.consent = ({ delivery: { challenge } }) =>
            reply(proof(challenge, endpoint.secret));
          const { code, data } = await rejection(t, 'triggers/subscribe', {
            key: t.unique(),
            select: quiet(t),
            callback: endpoint.callback,
          });
          assert.deepEqual(
            [code, data?.category],
            [-32027, reason],
            'code and `data.category` of the error:',
          );
          assert.equal(elsewhere.hits.length, 0, 'requests to the redirect target:');
        });
      }
    },
  }),

  scenario({
    name: 'destination: private names',
    about: 'A name with a forbidden address returns the same error as a name that does not exist.',
    checks: ['ssrf-blind'],
    needs: NEEDS,
    alone: true,
    async run(t) {
      const ask = (host: string) =>
        rejection(t, 'triggers/subscribe', {
          key: t.unique(),
          select: quiet(t),
          callback: { url: `https://${host}/in`, secret: SECRET },
        });
      const name = t.control.hostName('inside');
      await t.check(
        'ssrf-blind',
        'a name with a private address and an unknown name return the same error, connection_refused',
        async () => {
          const [inside, nowhere] = [
            await ask(name),
            await ask(
              `${t
                .unique('no-such-name')
                .replaceAll(/[^a-z0-9.-]/gi, 'x')
                .toLowerCase()}.invalid`,
            ),
          ];
          assert.deepEqual(
            [inside.code, inside.data?.category],
            [-32027, 'connection_refused'],
            'code and `data.category` of the error:',
          );
          const shown = ({ code, message, data, status }: typeof inside): string =>
            JSON.stringify({ code, message, data, status });
          assert.equal(shown(inside), shown(nowhere), 'the error object:');
        },
      );
    },
  }),
];
