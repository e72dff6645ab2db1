/** Servers without the extension: they do not declare it, or they declare it and do not have it, or not any more. */
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
/** Absence is what is checked: so long is looked at. */
const LOOK_MS = 1200;
/** What was under way when the answer came is no disregard of it. */
const UNDER_WAY_MS = 100;

const calls = (t: ClientTest): readonly Call[] => t.server.callsOf(...METHODS);

/** From now on the server has no method of the extension. */
function remove(t: ClientTest): void {
  for (const method of METHODS)
    t.server.behave(method, () => {
      throw methodNotFound();
    });
}

/** Whatever is asked of the extension after the first answer that it is not there. */
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
    about: 'A server that does not declare the extension is asked for nothing of it.',
    checks: ['cap-no-call'],
    eras: 'each',
    async run(t) {
      t.server.settings = undefined;
      t.start({ drain: 'stream' });
      await t.until('the client to greet the server', () =>
        t.server.callsOf(...GREETINGS).some(({ answer }) => answer?.result !== undefined),
      );
      await t.pause(LOOK_MS);
      await t.check(
        'cap-no-call',
        `no method of the extension is called in ${LOOK_MS / 1000} s`,
        () =>
          assert.deepEqual(
            calls(t).map(({ method }) => method),
            [],
          ),
      );
    },
  }),
  clientScenario({
    name: 'absent: declared and not there',
    about: 'A server declares the extension and knows none of its methods.',
    checks: ['cap-method-not-found'],
    async run(t) {
      remove(t);
      t.start({ drain: 'stream' });
      await t.check(
        'cap-method-not-found',
        'after -32601 no method of the extension is called',
        async () => assert.deepEqual(await afterRefusal(t), []),
      );
    },
  }),
  clientScenario({
    name: 'absent: not there any more',
    about: 'The server is replaced by one without the extension while it is being followed.',
    checks: ['cap-method-not-found'],
    async run(t) {
      await t.follow();
      t.server.append(2);
      await t.untilAcked(2);
      remove(t);
      t.server.stream?.cut();
      await t.check(
        'cap-method-not-found',
        'after -32601 in the middle of a log no method of the extension is called',
        async () => assert.deepEqual(await afterRefusal(t), []),
      );
    },
  }),
];
