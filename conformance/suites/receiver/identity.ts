/**
 * The server's identity: `MCP-Delivery-Signature` under the keys that the receiver knows (SEP:
 * Server identity).
 */
import assert from 'node:assert/strict';
import {
  compact,
  detached,
  es256,
  hs256,
  unsigned,
  type Identity,
} from '../../runner/receiver/identity.ts';
import { receiverScenario, type ReceiverTest } from '../../runner/receiver/scenario.ts';
import { newSecret } from '../../runner/server/callback-endpoint.ts';
import type { Answered } from '../../runner/wire/sender.ts';
import type { Json } from '../../runner/wire/session.ts';

type Change = NonNullable<Parameters<ReceiverTest['sendAs']>[2]>;
type Row = readonly [what: string, change: Change, signer?: Identity];

const set = (more: Json): Change => ({ header: (correct) => ({ ...correct, ...more }) });
const without = (name: string): Change => ({ header: ({ [name]: _, ...rest }) => rest });
const now = (later: number): number => Math.floor(Date.now() / 1000) + later;

/** The one defect that a receiver may be unable to decide at the moment. */
const UNKNOWN_KID = 'a kid of no key set';

/** Defects of a signature of the server `correct`; the receiver has to reject each of them. */
function wrong(
  { registered: { url, audience, key } }: ReceiverTest,
  correct: Identity,
): readonly Row[] {
  const unlike = (make: (input: Buffer) => Buffer, header: object = {}): Change => ({
    token: (token, body) =>
      detached(
        { ...JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()), ...header },
        body,
        make,
      ),
  });
  return [
    ['no header', { token: () => null }],
    ['an empty header', { token: () => '' }],
    ['text that is not a JWS', { token: () => 'a..b' }],
    [
      'a JWS that is not detached',
      { token: (token, body) => token.replace('..', `.${body.toString('base64url')}.`) },
    ],
    ['another typ', set({ typ: 'JWT' })],
    ['the typ of a callback URL', set({ typ: 'mcp-callback+jwt' })],
    ['no typ', without('typ')],
    ['b64 true', set({ b64: true })],
    ['no crit', without('crit')],
    ['an additional entry in crit', set({ crit: ['b64', 'exp'] })],
    ['another htm', set({ htm: 'PUT' })],
    ['an additional member', set({ exp: now(600) })],
    ['iat 400 s in the past', set({ iat: now(-400) })],
    ['iat 400 s in the future', set({ iat: now(400) })],
    ['iat as a string', set({ iat: String(now(0)) })],
    ['no iss', without('iss')],
    ['the iss of another server', set({ iss: 'https://mcp.example.org/mcp' })],
    ['the iss of another endpoint at the same origin', set({ iss: `${correct.audience}2` })],
    ['another origin', set({ origin: 'https://hooks.example.org' })],
    ['the hash of another URL', set({ uh: correct.header(`${url}x`, '', audience).uh })],
    ['another sub', set({ sub: 'sub_somebodyElses000000000000000000' })],
    [
      'another body',
      {
        token: (token) =>
          token.replace(/[^.]+$/, detached({}, Buffer.from('{}'), correct.signer).split('..')[1]!),
      },
    ],
    ['no signature', unlike(unsigned)],
    ['alg none', unlike(unsigned, { alg: 'none' })],
    [
      'alg HS256 under the public key',
      unlike(hs256(Buffer.from(String(correct.jwk.x), 'base64url')), { alg: 'HS256' }),
    ],
    ['alg ES256', unlike(es256(), { alg: 'ES256' })],
    [UNKNOWN_KID, set({ kid: 'nobody' })],
    [
      'a token of the callback URL',
      {
        token: () =>
          compact(
            { typ: 'mcp-callback+jwt', alg: 'EdDSA' },
            { aud: audience, sub: key },
            correct.signer,
          ),
      },
    ],
  ];
}

/** The requests that the receiver accepted although it has to reject them. */
const taken = (list: readonly { readonly what: string; readonly answered: Answered }[]): string[] =>
  list
    .filter(({ answered }) => answered.status >= 200 && answered.status < 300)
    .map(({ what }) => what);

export const identity = [
  receiverScenario({
    name: "identity: the server's signature",
    about: "Requests with the correct secret and one defect in the server's signature.",
    checks: ['jws-verify', 'jws-no-header-keys', 'jws-jwks-origin', 'jws-refusal'],
    needs: ['register'],
    async run(t) {
      const server = await t.identity('delivery-1');
      const forger = await t.identity('delivery-1');
      await t.use(await t.register(server.registration));
      const correct = async (): Promise<void> => {
        t.log.append(1);
        const delivery = t.log.delivery(t.log.acked);
        const { status, body } = await t.sendAs(server, delivery);
        assert.deepEqual(
          { status, ackSequence: body?.ackSequence },
          { status: 200, ackSequence: t.log.head },
        );
        t.log.acked = t.log.head;
      };
      await t.check('jws-verify', 'the receiver accepts a correct signature', correct);
      await t.check('jws-verify', 'the receiver accepts alg Ed25519', async () => {
        t.log.append(1);
        const { status } = await t.sendAs(
          server,
          t.log.delivery(t.log.acked),
          set({ alg: 'Ed25519' }),
        );
        assert.equal(status, 200);
        t.log.acked = t.log.head;
      });

      const all: { readonly what: string; readonly answered: Answered }[] = [];
      const refuse = async (rows: readonly Row[]): Promise<string[]> => {
        const list = [];
        for (const [what, change, signer = server] of rows)
          list.push({ what, answered: await t.sendAs(signer, t.next, change) });
        all.push(...list);
        return taken(list);
      };
      await t.check('jws-verify', 'the receiver rejects every signature with a defect', async () =>
        assert.deepEqual(await refuse(wrong(t, server)), []),
      );
      const { jwk } = forger;
      await t.check(
        'jws-no-header-keys',
        'the receiver rejects a header with keys or key addresses',
        async () =>
          assert.deepEqual(
            await refuse([
              ['jwk', set({ jwk }), forger],
              ['jku', set({ jku: forger.jwksUri }), forger],
              ['x5u', set({ x5u: forger.jwksUri }), forger],
              ['x5c', set({ x5c: ['AAAA'] }), forger],
              ['jwk next to a correct signature', set({ jwk: server.jwk })],
              ['jku next to a correct signature', set({ jku: server.jwksUri })],
            ]),
            [],
          ),
      );
      await t.check(
        'jws-jwks-origin',
        'the receiver rejects a key outside the declared key set',
        async () =>
          assert.deepEqual(
            await refuse([
              ['a key of another server under the same kid', {}, forger],
              [
                'a key of another server whose key set the header names',
                set({ jku: forger.jwksUri }),
                forger,
              ],
            ]),
            [],
          ),
      );
      await t.check('jws-jwks-origin', 'the receiver fetches no key set that a request names', () =>
        assert.equal(forger.fetched, 0),
      );
      await t.check('jws-refusal', 'the receiver answers each of these requests with 401', () =>
        assert.deepEqual(
          all
            .filter(
              ({ what, answered: { status } }) =>
                status !== 401 && !(what === UNKNOWN_KID && status === 503),
            )
            .map(({ what, answered }) => `${what}: HTTP ${answered.status}`),
          [],
        ),
      );
      await t.check('jws-refusal', 'the receiver applies no request that it rejected', async () => {
        if (t.control.has('applied'))
          assert.deepEqual(
            (await t.applied()).filter(({ eventId }) => eventId?.startsWith('refused-')),
            [],
          );
        await correct();
      });
    },
  }),
  receiverScenario({
    name: 'identity: an unknown key',
    about: 'Several requests with unknown kids arrive, one after the other.',
    checks: ['jws-unknown-kid', 'jws-after-hmac'],
    needs: ['register'],
    async run(t) {
      const server = await t.identity('delivery-1');
      await t.use(await t.register(server.registration));
      await t.check(
        'jws-after-hmac',
        'the receiver fetches no keys for a request whose webhook signature is wrong',
        async () => {
          for (let n = 0; n < 3; n++) {
            const { status } = await t.sendAs(server, t.next, {
              ...set({ kid: `nobody-${n}` }),
              secret: newSecret(),
            });
            assert.equal(status, 401);
          }
          // A fetch that the receiver does not wait for needs time.
          await new Promise((resolve) => setTimeout(resolve, 200));
          assert.equal(server.fetched, 0, 'fetches of the key set:');
        },
      );
      await t.sendAs(server, t.next);
      const before = server.fetched;
      const statuses: number[] = [];
      for (let n = 0; n < 4; n++) {
        const { status } = await t.sendAs(server, t.next, set({ kid: `nobody-${n}` }));
        statuses.push(status);
      }
      await t.check(
        'jws-unknown-kid',
        'the receiver fetches the key set at most once more within a minute',
        () =>
          assert.ok(
            server.fetched - before <= 1,
            `the key set was fetched ${server.fetched - before} more times`,
          ),
      );
      await t.check(
        'jws-unknown-kid',
        'the receiver answers 503 to an unknown kid while it does not fetch the key set again',
        // The first of them may have caused a fetch, which decides about it.
        () => assert.deepEqual(statuses.slice(1), [503, 503, 503]),
      );
    },
  }),
  receiverScenario({
    name: 'identity: keys of another origin',
    about: 'The settings of a server name a key set that does not have the origin of the server.',
    checks: ['jws-jwks-origin'],
    needs: ['register'],
    async run(t) {
      const [server, stranger] = [await t.identity('delivery-1'), await t.identity('delivery-1')];
      await t.check(
        'jws-jwks-origin',
        'the receiver takes no keys from another origin than that of the server',
        async () => {
          // A receiver can refuse the registration, or every request for it.
          const registered = await t
            .register({ ...server.registration, jwksUri: stranger.jwksUri })
            .catch(() => null);
          if (registered !== null) {
            await t.use(registered);
            const { status } = await t.sendAs(stranger, t.next);
            assert.ok(status >= 400, `HTTP ${status}`);
          }
          assert.equal(stranger.fetched, 0, 'fetches of the key set:');
        },
      );
    },
  }),
  receiverScenario({
    name: 'identity: keys that cannot be fetched',
    about: 'A correct request arrives while the key set of the server cannot be fetched.',
    checks: ['jws-refusal'],
    needs: ['register'],
    async run(t) {
      const server = await t.identity('delivery-1');
      server.isDown = true;
      await t.use(await t.register(server.registration));
      t.log.append(1);
      const delivery = t.log.delivery(t.log.acked);
      await t.check(
        'jws-refusal',
        'the receiver answers 503 while it cannot fetch the keys',
        async () => assert.equal((await t.sendAs(server, delivery)).status, 503),
      );
      server.isDown = false;
      await t.check(
        'jws-refusal',
        'the receiver applies the repeated request when it can fetch the keys',
        async () => {
          const { status, body } = await t.repeated(() => t.sendAs(server, delivery), delivery);
          assert.deepEqual(
            { status, ackSequence: body?.ackSequence },
            { status: 200, ackSequence: 1 },
          );
        },
      );
    },
  }),
];
