/**
 * Runs the production engine in the simulation: a fixed set of seeds, each with crashes, rejected
 * commits, lost answers and impatient clients. `node --conditions=mcp-triggers-source
 * test/simulation/run.ts --seed N` repeats a failing seed.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import type { Egress } from '../../src/server/engine/ports.ts';
import type { Store, Write } from '../../src/server/store/port.ts';
import { simulate, type SimulateOptions } from './simulate.ts';
import { sqliteStore } from '../../src/server/store/sqlite/index.ts';
import { byTier } from '../tier.ts';

const openStore = (): Store => sqliteStore({ path: ':memory:', key: undefined });

describe('simulation', { timeout: 900_000 }, () => {
  const total: Record<string, number> = {};
  for (const first of byTier([61], [1, 31, 61, 91, 121])) {
    const last = first + 29;
    test(`[log-contiguous log-stable log-no-silent-loss cb-start ack-sent gap-retention-announced cb-one-lease cb-id-range retry-restart end-callback] seeds ${first} to ${last} keep every invariant`, async (context) => {
      const broken: string[] = [];
      for (let seed = first; seed <= last; seed += 1) {
        const { violations, counts } = await simulate({ seed, openStore, steps: 150 });
        if (violations.length > 0)
          broken.push(`seed ${seed}: ${violations.slice(0, 3).join('; ')}`);
        for (const [name, count] of Object.entries(counts))
          total[name] = (total[name] ?? 0) + count;
      }
      void context.annotate(`so far ${JSON.stringify(total)}`);
      assert.deepEqual(
        broken,
        [],
        'repeat one with: node --conditions=mcp-triggers-source test/simulation/run.ts --steps 150 --seed N',
      );
    });
  }

  test('the seeds cover every kind of fault', () => {
    for (const what of [
      'crashes',
      'rotations',
      'refusedCommits',
      'gaps',
      'acks',
      'duplicates',
      'notices',
      'pulls',
      'streams',
      'refused',
    ]) {
      assert.ok((total[what] ?? 0) > byTier(4, 20), `${what}: ${total[what]}`);
    }
  });

  test('is the same for the same seed', async () => {
    const [one, two] = [
      await simulate({ seed: 4711, openStore, steps: 60 }),
      await simulate({ seed: 4711, openStore, steps: 60 }),
    ];
    assert.deepEqual(one, two);
    assert.notDeepEqual(one.counts, (await simulate({ seed: 4712, openStore, steps: 60 })).counts);
  });
});

/** A store that passes everything on except for the given replacements. */
function altered(store: Store, change: Partial<Store>): Store {
  return new Proxy(store, {
    get(target, name) {
      const replaced: unknown = Reflect.get(change, name);
      if (replaced !== undefined) return replaced;
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

const edited = (store: Store, edit: (write: Write) => Write | null): Store =>
  altered(store, {
    commit: (writes) => store.commit(writes.map(edit).filter((write) => write !== null)),
  });

const answering = (
  egress: Egress,
  edit: (answer: { ackSequence?: number }, last: number) => object,
): Egress => ({
  ...egress,
  async post(request) {
    const result = await egress.post(request);
    if (result.kind === 'failure' || result.status !== 200) return result;
    const { params } = JSON.parse(Buffer.from(request.body).toString()) as {
      params: { afterSequence: number; events: { sequence: number }[] };
    };
    let answer: { ackSequence?: number };
    try {
      answer = JSON.parse(Buffer.from(result.body).toString()) as { ackSequence?: number };
    } catch {
      return result;
    }
    return answer.ackSequence === undefined
      ? result
      : {
          ...result,
          body: Buffer.from(
            JSON.stringify(edit(answer, params.events.at(-1)?.sequence ?? params.afterSequence)),
          ),
        };
  },
});

interface Sabotage {
  readonly what: string;
  /** The invariant that must catch it. */
  readonly rule: RegExp;
  readonly how: NonNullable<SimulateOptions['sabotage']>;
}

const SABOTAGES: readonly Sabotage[] = [
  {
    what: 'a trim without a gap',
    rule: /^(H1|H8|H9) /,
    how: {
      store: (store) =>
        edited(store, (write) =>
          write.type === 'progress' && write.state.floor > 0
            ? { ...write, state: { ...write.state, floor: 0 } }
            : write,
        ),
    },
  },
  {
    what: 'an answer that acknowledges more than the receiver did',
    rule: /^H5 /,
    how: {
      egress: (egress) =>
        answering(egress, (answer, last) => ({ ...answer, ackSequence: last, reject: undefined })),
    },
  },
  {
    what: 'sending before the commit is on disk',
    rule: /^(durable|H4) /,
    how: {
      store: (store) =>
        altered(store, {
          commit: async (writes) => {
            void (async () => {
              for (let turn = 0; turn < 20; turn += 1)
                await new Promise((resolve) => setImmediate(resolve));
              await store.commit(writes);
            })().catch(() => undefined);
          },
        }),
    },
  },
  {
    what: 'a number without its entry',
    rule: /^H[12] |^error LocalError: The store is damaged/,
    how: {
      store: (store) =>
        edited(store, (write) =>
          write.type === 'entry' && write.entry.sequence % 13 === 0 ? null : write,
        ),
    },
  },
  {
    what: 'an event that is accepted and lost',
    rule: /^(H4|durable|H1|H2|H6|lease|error) /,
    how: {
      store: (store) => {
        let count = 0;
        return altered(store, {
          commit: (writes) =>
            writes.some(({ type }) => type === 'event') && (count += 1) % 20 === 0
              ? Promise.resolve()
              : store.commit(writes),
        });
      },
    },
  },
  {
    what: 'two requests for one attempt',
    rule: /^(lease|H6) /,
    how: {
      egress: (egress) => ({
        ...egress,
        post: (request) => {
          void egress.post(request);
          return egress.post(request);
        },
      }),
    },
  },
  {
    what: 'an acknowledgement that does not reach the disk',
    rule: /^(durable|H5|H6|H9) /,
    how: {
      store: (store) =>
        edited(store, (write) =>
          write.type === 'progress' && write.state.acked > 2
            ? { ...write, state: { ...write.state, acked: write.state.acked - 1 } }
            : write,
        ),
    },
  },
  {
    what: 'retries that are never due',
    rule: /^H9 /,
    how: { store: (store) => altered(store, { due: async () => [], nextDueAt: async () => null }) },
  },
  {
    what: 'an end that leaves no notice',
    rule: /^H10 /,
    how: {
      store: (store) =>
        edited(store, (write) =>
          write.type === 'end'
            ? { type: 'end', row: write.row, tombstone: write.tombstone }
            : write,
        ),
    },
  },
  {
    what: 'a notice that is sent once',
    rule: /^H10 /,
    how: {
      store: (store) =>
        edited(store, (write) =>
          write.type === 'postpone'
            ? { type: 'noticed', subscriptionId: write.subscriptionId }
            : write,
        ),
    },
  },
  {
    what: 'a restart that forgets pending deliveries',
    rule: /^H9 /,
    how: {
      store: (store) =>
        altered(store, {
          backlog: async () => [],
          due: async () => [],
          nextDueAt: async () => null,
        }),
    },
  },
  {
    what: 'two numbers that are swapped',
    rule: /^(H1|H2|H3|H4) /,
    how: {
      store: (store) =>
        altered(store, {
          commit: (writes) => {
            const entries = writes.filter((write) => write.type === 'entry');
            const [one, two] = entries;
            if (one === undefined || two === undefined || one.row !== two.row)
              return store.commit(writes);
            return store.commit(
              writes.map((write) =>
                write === one
                  ? { ...one, entry: { ...one.entry, offset: two.entry.offset } }
                  : write === two
                    ? { ...two, entry: { ...two.entry, offset: one.entry.offset } }
                    : write,
              ),
            );
          },
        }),
    },
  },
  {
    what: 'a missing entry in a read',
    rule: /^(H1|H9) |^error InvariantError: Log entry/,
    how: {
      store: (store) =>
        altered(store, {
          read: async (row, after, ...limits) =>
            (await store.read(row, after, ...limits)).slice(after > 5 ? 1 : 0),
        }),
    },
  },
];

describe('the invariant checker', () => {
  for (const { what, rule, how } of SABOTAGES) {
    test(`catches ${what}`, async (context) => {
      for (let seed = 1; seed <= 12; seed += 1) {
        const { violations } = await simulate({ seed, openStore, steps: 150, sabotage: how });
        const caught = violations.find((violation) => rule.test(violation));
        if (caught !== undefined) {
          void context.annotate(`seed ${seed}: ${caught.slice(0, 160)}`);
          return;
        }
        assert.deepEqual(violations, [], `seed ${seed} broke an invariant other than ${rule}`);
      }
      assert.fail('no seed caught it');
    });
  }
});
