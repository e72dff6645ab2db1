// Tests the two public Standard Webhooks verifiers as receivers of the reference server's
// `events/*` deliveries, in every profile and across a rotation of the secret: one receiver already
// has the new secret, and one still has the old one.
import assert from 'node:assert/strict';
import { describe } from 'vitest';
import { Webhook as StandardWebhook } from 'standardwebhooks';
import { Webhook as SvixWebhook } from 'svix';
import { CLIENT_CAPABILITIES_META_KEY } from '@modelcontextprotocol/server';
import { eventually } from '../../journeys/support.ts';
import { boxOpened, modern, startServer, type Running } from '../../reference-server/harness.ts';
import { serveFetch } from './loopback.ts';
import { peerTest } from './matrix.ts';

const EVENTS = 'io.modelcontextprotocol/events';
const VERIFIERS = { standardwebhooks: StandardWebhook, svix: SvixWebhook } as const;
const secret = (byte: number): string => `whsec_${Buffer.alloc(32, byte).toString('base64')}`;

interface Post {
  readonly body: string;
  readonly headers: Record<string, string>;
}

/** Whether a verifier with that secret accepts it. */
function accepts(
  Verifier: (typeof VERIFIERS)[keyof typeof VERIFIERS],
  key: string,
  { body, headers }: Post,
): boolean {
  try {
    new Verifier(key).verify(body, headers);
    return true;
  } catch (error) {
    assert.match((error as Error).constructor.name, /Verification/);
    return false;
  }
}

/** One `events/*` call of a client that declares that extension, or that declares nothing. */
async function call(
  server: Running,
  method: string,
  params: object,
  declared: boolean,
): Promise<Record<string, unknown>> {
  const { body, headers } = modern(method, params);
  if (declared)
    Object.assign(body.params._meta, {
      [CLIENT_CAPABILITIES_META_KEY]: { extensions: { [EVENTS]: {} } },
    });
  const answer = (await (await server.post(body, { headers })).json()) as {
    readonly result?: Record<string, unknown>;
    readonly error?: unknown;
  };
  assert.ok(answer.result, JSON.stringify(answer));
  return answer.result;
}

describe('published verifiers as receivers of events/*', () => {
  for (const [peer, Verifier] of Object.entries(VERIFIERS)) {
    for (const profile of ['sketch', 'sep'] as const) {
      peerTest(
        {
          peer,
          role: 'receiver',
          drain: 'events webhook',
          exercised: `signatures of challenge and events, and rotation, in profile ${profile}`,
        },
        async () => {
          const server = await startServer();
          const posts: Post[] = [];
          const hook = await serveFetch(async (request) => {
            const body = await request.text();
            posts.push({ body, headers: Object.fromEntries(request.headers) });
            const { type, challenge } = JSON.parse(body) as {
              readonly type?: string;
              readonly challenge?: string;
            };
            return type === 'verification'
              ? Response.json({ challenge })
              : new Response(null, { status: 204 });
          });
          const events = () =>
            posts.filter(({ body }) => 'eventId' in (JSON.parse(body) as object));
          const subscribe = (key: string) =>
            call(
              server,
              'events/subscribe',
              {
                name: boxOpened.type.name,
                arguments: {},
                delivery: { mode: 'webhook', url: `${hook.origin}/hook`, secret: key },
              },
              profile === 'sep',
            );
          try {
            const [old, next, other] = [secret(1), secret(2), secret(3)];
            const { id } = await subscribe(old);
            await server.emit({
              name: boxOpened.type.name,
              eventId: 'no.1',
              data: { box: 'front', by: 'ann' },
            });
            const first = await eventually('the first event', () => events()[0]);
            for (const post of posts)
              assert.deepEqual(
                [old, other].map((key) => accepts(Verifier, key, post)),
                [true, false],
              );
            assert.equal(accepts(Verifier, old, { ...first, body: `${first.body} ` }), false);
            assert.equal(first.headers['webhook-id'], 'no.1');

            assert.equal((await subscribe(next))['id'], id);
            await server.emit({
              name: boxOpened.type.name,
              eventId: 'no.2',
              data: { box: 'front', by: 'bob' },
            });
            const second = await eventually('an event after the rotation', () => events()[1]);
            assert.deepEqual(
              [old, next, other].map((key) => accepts(Verifier, key, second)),
              [true, true, false],
            );
            assert.equal(second.headers['x-mcp-subscription-id'], id);

            // An identifier that contains something like a timestamp would be signed ambiguously,
            // so another one replaces it.
            await server.emit({
              name: boxOpened.type.name,
              eventId: `no.${Math.floor(Date.now() / 1000)}`,
              data: { box: 'front', by: 'cid' },
            });
            const third = await eventually(
              'an event with an awkward identifier',
              () => events()[2],
            );
            assert.equal(accepts(Verifier, next, third), true);
            assert.match(third.headers['webhook-id']!, /^[A-Za-z0-9_-]+$/);
          } finally {
            await hook[Symbol.asyncDispose]();
            await server.close();
          }
          return 'accepted under the old and under the new secret';
        },
      );
    }
  }
});
