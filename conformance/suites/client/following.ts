/**
 * Following a log: from a correct server of a later revision, which sends unknown members, and
 * across a crash of the client.
 */
import assert from 'node:assert/strict';
import { withUnknownMembers } from '../../runner/wire/unknown-members.ts';
import { clientScenario } from '../../runner/client/scenario.ts';

const newer = (['stream', 'pull'] as const).map((drain) =>
  clientScenario({
    name: `${drain}: following a newer server`,
    about:
      'The client applies and acknowledges events, gaps and heartbeats with unknown members and gaps for unknown reasons.',
    checks: ['gen-ignore-unknown', 'rec-tell'],
    eras: 'each',
    async run(t) {
      t.server.settings = withUnknownMembers(t.server.settings);
      t.server.decorate = (value, method) =>
        method.startsWith('triggers/') || method.startsWith('notifications/')
          ? withUnknownMembers(value)
          : value;
      await t.drain(drain);
      t.server.append(3);
      await t.check(
        'gen-ignore-unknown',
        'the client acknowledges events in deliveries with unknown members',
        () => t.untilAcked(3),
      );
      t.server.log.appendGap(2, 'quarantined');
      t.server.append(1);
      await t.check(
        'gen-ignore-unknown',
        'the client acknowledges gaps with unknown members and an unknown reason, and the events after them',
        () => t.untilAcked(6),
      );
      await t.check('rec-tell', 'the application learns of the gap', () => {
        const { from, to, reason } = t.applied.find(({ applied }) => applied === 'gap') ?? {};
        assert.deepEqual({ from, to, reason }, { from: 4, to: 5, reason: 'quarantined' });
      });
    },
  }),
);

/** Time for a line of standard output to arrive. */
const PRINTED_MS = 2000;

const crash = clientScenario({
  name: 'following: killed while it acknowledges',
  about: 'The client dies when its acknowledgement arrives.',
  checks: ['ack-client-durable'],
  async run(t) {
    const { server } = t;
    await t.follow();
    server.append(1);
    await t.untilAcked(1);
    await t
      .until('the client to print what it hands on', () => t.program.applied.length > 0, PRINTED_MS)
      // Throws `NotShown` when the client prints nothing.
      .catch(() => t.applied);
    for (const method of ['triggers/ack', 'triggers/pull']) {
      server.override(method, (_params, correct) => {
        if (t.acked >= 4) t.program.kill('SIGKILL');
        return correct();
      });
    }
    server.append(3);
    await t.untilAcked(4);
    await t.kill();
    await t.check(
      'ack-client-durable',
      'the client acknowledged only what it had handed to its application',
      () => {
        assert.deepEqual(
          t.applied.filter(({ applied }) => applied === 'event').map(({ sequence }) => sequence),
          [1, 2, 3, 4],
        );
      },
    );
  },
});

export const following = [...newer, crash];
