/**
 * Tests the client ledger: a restarted client continues where it was, and a broken file is
 * reported.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'vitest';
import { fileLedger } from '../../../src/protocol/ledger/file-ledger.ts';
import {
  memoryLedger,
  type Ledger,
  type PositionRecord,
  type RegistrationRecord,
} from '../../../src/protocol/ledger/ledger.ts';
import { startPeer } from '../../client/peer.ts';
import { connected, subscribeFast, take, words } from '../../client/support.ts';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'triggers-ledger-'));
  t.onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}
const position = (key: string, sequence: number): PositionRecord => ({
  kind: 'position',
  server: 'https://mcp.example.com/mcp',
  key,
  subscriptionId: 'sub_1',
  epoch: 'epoch-1',
  sequence,
  past: ['epoch-0'],
});
const registration: RegistrationRecord = {
  kind: 'registration',
  server: 'https://mcp.example.com/mcp',
  key: 'k',
  url: 'https://hooks.example.com/cb',
  expiresAt: 1,
  secret: 'whsec_x',
  earlierSecrets: [{ secret: 'whsec_old', until: null }],
};

const LEDGERS: Record<string, (t: TestContext) => Ledger> = {
  memory: () => memoryLedger(),
  file: (t) => fileLedger(join(folder(t), 'new', 'ledger.json')),
};

for (const [name, make] of Object.entries(LEDGERS)) {
  describe(`ledger: ${name}`, () => {
    test('keeps one record per kind, server and key', async (t) => {
      const ledger = make(t);
      const { server } = registration;
      assert.equal(await ledger.load('position', server, 'k'), undefined);
      await ledger.save(position('k', 1));
      await ledger.save(position('other', 7));
      await ledger.save(registration);
      await ledger.save(position('k', 2));
      assert.deepEqual(await ledger.load('position', server, 'k'), position('k', 2));
      assert.deepEqual(await ledger.load('registration', server, 'k'), registration);
      assert.equal(await ledger.load('position', 'https://elsewhere.example', 'k'), undefined);
      await ledger.remove('position', server, 'k');
      await ledger.remove('position', server, 'never there');
      assert.equal(await ledger.load('position', server, 'k'), undefined);
      assert.deepEqual(await ledger.load('position', server, 'other'), position('other', 7));
    });
  });
}

describe('file ledger', () => {
  test('[ack-client-durable] a saved record is there for the next process, in a file that only its owner can read', async (t) => {
    const path = join(folder(t), 'ledger.json');
    const ledger = fileLedger(path);
    await Promise.all(Array.from({ length: 50 }, (_, n) => ledger.save(position('k', n))));
    assert.deepEqual(
      await fileLedger(path).load('position', 'https://mcp.example.com/mcp', 'k'),
      position('k', 49),
    );
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(join(path, '..')), ['ledger.json'], 'no temporary file is left');
  });

  test('a file that could not be read once is read again at the next call', async (t) => {
    const path = join(folder(t), 'ledger.json');
    mkdirSync(path);
    const ledger = fileLedger(path);
    await assert.rejects(Promise.resolve(ledger.load('position', 'server', 'key')), {
      code: 'EISDIR',
    });
    rmdirSync(path);
    assert.equal(await ledger.load('position', 'server', 'key'), undefined);
  });

  test('a process that is killed while it saves leaves a whole ledger', (t) => {
    const path = join(folder(t), 'ledger.json');
    const program = `
      import { fileLedger } from ${JSON.stringify(join(process.cwd(), 'src/protocol/ledger/file-ledger.ts'))};
      const ledger = fileLedger(${JSON.stringify(path)});
      const save = (n) => ledger.save({ ...${JSON.stringify(position('k', 0))}, sequence: n, past: Array(200).fill('epoch-x') });
      await save(1);
      setTimeout(() => process.kill(process.pid, 'SIGKILL'), 60);
      for (let n = 2; ; n++) await save(n);`;
    for (let round = 0; round < 3; round++) {
      const { signal } = spawnSync(process.execPath, [
        '--input-type=module-typescript',
        '-e',
        program,
      ]);
      assert.equal(signal, 'SIGKILL');
      const { records } = JSON.parse(readFileSync(path, 'utf8')) as { records: PositionRecord[] };
      assert.ok(records[0]!.sequence >= 1);
    }
  });

  const broken: readonly [string, string][] = [
    ['not JSON', '{"version":1,"records":[{"secret":"whsec_canary'],
    ['another version', '{"version":3,"records":[]}'],
    ['no records', '{"version":2}'],
    ['a list', '[]'],
    [
      'a record without its server',
      JSON.stringify({ version: 2, records: [{ ...position('k', 1), server: undefined }] }),
    ],
    [
      'a position that is not a number',
      JSON.stringify({ version: 2, records: [{ ...position('k', 1), sequence: -1 }] }),
    ],
    [
      'a mark that is not a text',
      JSON.stringify({
        version: 2,
        records: [
          { kind: 'mark', server: 's', key: 'k', mode: 'events.poll', mark: 5, number: null },
        ],
      }),
    ],
    [
      'a mark whose number is invalid',
      JSON.stringify({
        version: 2,
        records: [
          {
            kind: 'mark',
            server: 's',
            key: 'k',
            mode: 'events.poll',
            mark: 'c',
            number: { sequence: 1 },
          },
        ],
      }),
    ],
    [
      'a record of an unknown kind',
      JSON.stringify({ version: 2, records: [{ kind: 'whsec_canary' }] }),
    ],
  ];
  for (const [name, text] of broken) {
    test(`${name} → ledger_corrupt, which says what to do and repeats nothing`, async (t) => {
      const path = join(folder(t), 'ledger.json');
      writeFileSync(path, text);
      await assert.rejects(
        fileLedger(path).load('position', 's', 'k'),
        (error: Error & { code: string }) => {
          assert.equal(error.code, 'ledger_corrupt');
          assert.match(error.message, /Restore it from a backup, or move it away/);
          assert.doesNotMatch(`${error.stack}${String(error.cause)}`, /canary/);
          return true;
        },
      );
      assert.equal(readFileSync(path, 'utf8'), text, 'the file is unchanged');
    });
  }
});

describe('a restarted client', () => {
  for (const drain of ['stream', 'pull'] as const) {
    test(`[rec-from-applied] ${drain}: continues after the last finished item, even if the server never received its acknowledgement`, async (t) => {
      await using peer = await startPeer();
      peer.log.append(5);
      const path = join(folder(t), 'ledger.json');
      // The server confirms acknowledgements and drops them, so only the client knows its position.
      const pull = peer.log.methods['triggers/pull']!;
      peer.log.replaced.set('triggers/pull', async ({ ack, ...params }, exchange) => ({
        ...((await pull(params, exchange)) as object),
        acked: ack?.sequence ?? 0,
      }));
      peer.log.replaced.set('triggers/ack', ({ position }) => ({
        epoch: peer.log.epoch,
        acked: position.sequence,
        head: 5,
      }));

      const first = subscribeFast(t, await connected(t, { url: peer.url }), {
        drain,
        ledger: fileLedger(path),
      });
      assert.deepEqual(words(await take(first.items, 3)), ['1', '2', '3']);
      await first.subscription.close();
      assert.equal(peer.log.acked, 0);

      const second = subscribeFast(t, await connected(t, { url: peer.url }), {
        drain,
        ledger: fileLedger(path),
      });
      assert.deepEqual(
        words(await take(second.items, 3)),
        ['3', '4', '5'],
        'the unfinished third item comes again',
      );
      await second.subscription.close();
    });
  }

  test('[rec-tell] learns that its log was replaced in the meantime, and how much of the old one it missed', async (t) => {
    await using peer = await startPeer();
    peer.log.append(5);
    const ledger = memoryLedger();
    const first = subscribeFast(t, await connected(t, { url: peer.url }), { ledger });
    await take(first.items, 3);
    await first.subscription.close();
    peer.log.end('expired');
    const second = subscribeFast(t, await connected(t, { url: peer.url }), { ledger });
    assert.deepEqual(words(await take(second.items, 1)), ['lost expired at 2 of 5']);
    await second.subscription.close();
  });

  test('[recv-epoch] learns that the epoch changed while it was away', async (t) => {
    await using peer = await startPeer();
    peer.log.append(5);
    const ledger = memoryLedger();
    const first = subscribeFast(t, await connected(t, { url: peer.url }), { ledger });
    await take(first.items, 3);
    await first.subscription.close();
    peer.log.rotate();
    const second = subscribeFast(t, await connected(t, { url: peer.url }), { ledger });
    assert.deepEqual(words(await take(second.items, 4)), ['epoch 2→0', '1', '2', '3']);
    await second.subscription.close();
  });

  test('a ledger that cannot be read stops the client before it sends anything', async (t) => {
    await using peer = await startPeer();
    const path = join(folder(t), 'ledger.json');
    writeFileSync(path, 'x');
    const { subscription, items } = subscribeFast(t, await connected(t, { url: peer.url }), {
      ledger: fileLedger(path),
    });
    await assert.rejects(items.next(), { code: 'ledger_corrupt' });
    assert.equal(subscription.state.phase, 'ended');
    assert.deepEqual(peer.log.calls, []);
  });
});
