/**
 * Servers without the extension: they do not declare it, declare it but know none of its methods, or
 * lose it.
 */
import assert from 'node:assert/strict';
import { methodNotFound, type Call } from '../../runner/client/exchange.ts';
import { clientScenario, type ClientTest } from '../../runner/client/scenario.ts';

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
const GREETINGS = ['server/discover', 'initialize'];
/** Time to watch for requests that must not come. */
const LOOK_MS = 1200;
/** Requests this soon after the error do not count: the client may have sent them before it. */
const UNDER_WAY_MS = 100;

const calls = (t: ClientTest): readonly Call[] => t.server.callsOf(...METHODS);

/** Removes every method of the extension from the server. */
function remove(t: ClientTest): void {
  for (const method of METHODS)
    t.server.override(method, () => {
      throw methodNotFound();
    });
}

/** The methods of the extension that the client calls after its first error -32601. */
async function afterRefusal(t: ClientTest): Promise<readonly string[]> {
  const refused = (): Call | undefined =>
    calls(t).find(({ answer }) => answer?.error?.code === -32601);
  await t.until('the client to call a method of the extension', () => refused() !== undefined);
  await t.pause(LOOK_MS);
  const until = refused()!.answeredAt! + UNDER_WAY_MS;
  return calls(t)
    .filter(({ at }) => at > until)
    .map(({ method }) => method);
}

export const absent = [
  clientScenario({
    name: 'absent: not declared',
    about: 'A client sends no request of the extension to a server that does not declare it.',
    checks: ['cap-no-call'],
    eras: 'each',
    async run(t) {
      t.server.settings = undefined;
      t.start({ drain: 'stream' });
      await t.until('the client to connect', () =>
        t.server.callsOf(...GREETINGS).some(({ answer }) => answer?.result !== undefined),
      );
      await t.pause(LOOK_MS);
      await t.check(
        'cap-no-call',
        `the client calls no method of the extension in ${LOOK_MS / 1000} s`,
        () =>
          assert.deepEqual(
            calls(t).map(({ method }) => method),
            [],
          ),
      );
    },
  }),
  clientScenario({
    name: 'absent: another revision',
    about:
      'A client sends no request of the extension to a server of a revision that it does not know.',
    checks: ['cap-revision'],
    eras: 'each',
    async run(t) {
      for (const revision of [undefined, '2999-01-01']) {
        t.server.settings = { ...t.server.settings, revision };
        const before = t.server.callsOf(...GREETINGS).length;
        const program = t.start({ drain: 'stream' });
        await t.until('the client to connect', () =>
          t.server
            .callsOf(...GREETINGS)
            .slice(before)
            .some(({ answer }) => answer?.result !== undefined),
        );
        await t.pause(LOOK_MS);
        await t.check(
          'cap-revision',
          `the client calls no method of the extension when \`revision\` is ${revision ?? 'absent'}`,
          () =>
            assert.deepEqual(
              calls(t).map(({ method }) => method),
              [],
            ),
        );
        await program.stop();
      }
    },
  }),
  clientScenario({
    name: 'absent: declared but missing',
    about: 'A server declares the extension but knows none of its methods.',
    checks: ['cap-no-call'],
    async run(t) {
      remove(t);
      t.start({ drain: 'stream' });
      await t.check(
        'cap-no-call',
        'the client calls no method of the extension after -32601',
        async () => assert.deepEqual(await afterRefusal(t), []),
      );
    },
  }),
  clientScenario({
    name: 'absent: removed',
    about: 'A server without the extension replaces the one that the client follows.',
    checks: ['cap-no-call'],
    async run(t) {
      await t.follow();
      t.server.append(2);
      await t.untilAcked(2);
      remove(t);
      t.server.stream?.abort();
      await t.check(
        'cap-no-call',
        'the client calls no method of the extension after -32601 while it follows a log',
        async () => assert.deepEqual(await afterRefusal(t), []),
      );
    },
  }),
];
