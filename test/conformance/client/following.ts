/** Following a log on each drain, from a server that is right and newer than the client: it says more than the client knows. */
import assert from 'node:assert/strict';
import { clientScenario } from '../kit/client/scenario.ts';
import type { Json } from '../kit/wire/session.ts';

/** Members that no revision of the extension has yet, in every object. */
export const withUnknownMembers = (value: Json): Json => {
  if (Array.isArray(value)) return value.map(withUnknownMembers);
  if (value === null || typeof value !== 'object') return value;
  return { ...Object.fromEntries(Object.entries(value).map(([name, member]) => [name, OPAQUE.has(name) ? member : withUnknownMembers(member)])), newMember: { of: ['a', 'later', 'revision'] }, newFlag: true };
};
/** Not objects of this extension: what is in there is somebody else's. */
const OPAQUE = new Set(['data', 'arguments', 'inputSchema', 'payloadSchema', '_meta', 'capabilities']);

export const following = (['stream', 'pull'] as const).map((drain) => clientScenario({
  name: `${drain}: following a newer server`,
  about: 'Events, gaps and heartbeats with members that the client does not know are applied and acknowledged all the same.',
  checks: ['gen-ignore-unknown', 'gap-client-tells'],
  eras: 'each',
  async run(t) {
    t.server.settings = withUnknownMembers(t.server.settings);
    t.server.decorate = (value, method) => (method.startsWith('triggers/') || method.startsWith('notifications/') ? withUnknownMembers(value) : value);
    await t.drain(drain);
    t.server.append(3);
    await t.check('gen-ignore-unknown', 'events in deliveries with unknown members are acknowledged', () => t.untilAcked(3));
    t.server.log.appendGap(2);
    t.server.append(1);
    await t.check('gen-ignore-unknown', 'so are gaps with unknown members, and what follows them', () => t.untilAcked(6));
    await t.check('gap-client-tells', 'the application is told of the gap', () => {
      const { from, to, reason } = t.applied.find(({ applied }) => applied === 'gap') ?? {};
      assert.deepEqual({ from, to, reason }, { from: 4, to: 5, reason: 'too_large' });
    });
  },
}));
