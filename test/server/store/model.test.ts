/**
 * Runs random commits, good and bad, and reopenings: the SQLite store and the plain model never
 * differ in a result.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import fc from 'fast-check';
import type { Store, Write } from '../../../src/server/store/port.ts';
import { sqliteStore } from '../../../src/server/store/sqlite/index.ts';
import { NOW } from '../../../src/testing/store-contract/context.ts';
import {
  callback,
  checkpoint,
  counters,
  create,
  entry,
  event,
  notice,
  plain,
  tombstone,
} from '../../../src/testing/store-contract/samples.ts';
import { emptyData, modelStore } from './model.ts';
import { KEY } from './place.ts';

const NAMES = ['issue.opened', 'build.done'];
const SCOPES = ['', 'hook-1', 'hook-2'];
const PRINCIPALS = ['alice', 'bob'];
const REASONS = ['retention', 'skipped', 'rejected', 'too_large'] as const;

/** The parts of a write, before it is known what the store holds. */
interface Seed {
  readonly kind: Write['type'];
  readonly a: number;
  readonly b: number;
  readonly bad: boolean;
}

const seed: fc.Arbitrary<Seed> = fc.record({
  kind: fc.constantFrom<Write['type']>(
    'event',
    'event',
    'entry',
    'entry',
    'entry',
    'create',
    'progress',
    'configure',
    'checkpoint',
    'gap',
    'trim',
    'renumber',
    'end',
    'postpone',
    'noticed',
    'redact',
    'verification',
    'forget',
  ),
  a: fc.nat(40),
  b: fc.nat(40),
  bad: fc
    .boolean()
    .map((x) => x)
    .chain((x) => (x ? fc.nat(15).map((n) => n === 0) : fc.constant(false))),
});
const program = fc.array(
  fc.oneof(
    { weight: 9, arbitrary: fc.array(seed, { minLength: 1, maxLength: 8 }) },
    { weight: 1, arbitrary: fc.constant('reopen' as const) },
  ),
  { maxLength: 30 },
);

/** The minimum that has to be known to make mostly valid commits. */
class Plan {
  offset = 0;
  row = 0;
  live = new Map<number, { head: number; floor: number; name: string }>();

  write({ kind, a, b, bad }: Seed): Write {
    const rows = [...this.live.keys()];
    const row = bad || rows.length === 0 ? 999 : rows[a % rows.length]!;
    const log = this.live.get(row) ?? { head: 0, floor: 0, name: 'none' };
    const offset = 1 + (b % Math.max(1, this.offset));
    const dueAt = a % 3 === 0 ? null : b;
    const owner = { principal: PRINCIPALS[row % 2]!, head: log.head };
    const state = plain(
      log.name,
      b % 2 === 0
        ? owner
        : { ...counters(b), ...owner, callback: callback(`${b}`), paused: a % 2 === 0, version: b },
    );
    switch (kind) {
      case 'event':
        return event(
          bad ? offset : ++this.offset,
          NAMES[a % 2],
          b % 7 === 0 ? null : JSON.stringify({ a, b, text: 'ü'.repeat(b) }),
          {
            scope: SCOPES[b % 3]!,
            gap: b % 5 === 0 ? 'invalid' : null,
            audience: a % 5 === 0 ? ['alice', 'ü'] : null,
          },
        );
      case 'checkpoint':
        return checkpoint(this.offset - (b % 3), a % 2);
      case 'create': {
        const fresh = bad ? Math.max(1, this.row) : ++this.row;
        if (!bad) this.live.set(fresh, { head: 0, floor: 0, name: `${fresh}` });
        return create(
          fresh,
          plain(`${fresh}`, {
            principal: PRINCIPALS[fresh % 2]!,
            ...(a % 2 === 0 ? { callback: callback('x') } : {}),
          }),
          dueAt,
          this.offset,
        );
      }
      case 'progress':
      case 'configure':
        return { type: kind, row, state, dueAt };
      case 'entry':
        return entry(
          row,
          bad ? log.head : ++log.head,
          offset,
          a % 5 === 0 ? REASONS[b % 4]! : null,
        );
      case 'gap': {
        const from = log.floor + 1 + (a % (log.head - log.floor + 1));
        const to = from + (b % 4);
        log.head = Math.max(log.head, to);
        return { type: 'gap', row, from, to, reason: REASONS[b % 4]! };
      }
      case 'trim': {
        const upTo = log.floor + (b % (log.head - log.floor + 1));
        log.floor = upTo;
        return { type: 'trim', row, upTo };
      }
      case 'renumber': {
        const by = log.floor;
        log.head -= by;
        log.floor = 0;
        return { type: 'renumber', row, by };
      }
      case 'end':
        this.live.delete(row);
        return {
          type: 'end',
          row,
          tombstone: tombstone(state, NOW + b),
          ...(a % 2 === 0 ? { notice: notice(state, { dueAt: NOW + a, forgetAt: NOW + b }) } : {}),
        };
      case 'postpone':
        return { type: kind, subscriptionId: `sub_${1 + (a % 4)}`, attempts: a, dueAt: NOW + b };
      case 'noticed':
        return { type: kind, subscriptionId: `sub_${1 + (a % 4)}` };
      case 'redact':
        return { type: 'redact', offset };
      case 'verification':
        return {
          type: 'verification',
          principal: PRINCIPALS[a % 2]!,
          urlHash: `h${b % 3}`,
          verifiedAt: NOW + b,
        };
      case 'forget':
        return { type: 'forget', acceptedBefore: NOW + b, now: NOW + a };
    }
  }
}

/** Everything that a store can be asked, over the rows and offsets of the plan. */
async function everything(store: Store, { row: rows, offset: offsets }: Plan): Promise<unknown> {
  const all = Array.from({ length: rows + 1 }, (_, at) => at + 1);
  const index = [];
  for await (const row of store.index()) index.push(row);
  const { bytes: _, quotaBytes: __, ...counts } = await store.stats();
  return {
    index,
    counts,
    states: await store.load(all),
    logs: await Promise.all(
      all.map(async (row) => [
        await store.read(row, 0, 1000, 1e9),
        await store.read(row, 2, 3, 60),
        await store.agedOut(row, NOW + (offsets >> 1)),
        await store.agedOut(row, NOW + 1e6),
        await store.acceptedAt(row, 2),
        await store.oversize(row, 100 * row),
        await store.oversize(row, 1e6),
        await store.rowOf(`sub_${row}`),
        await store.rowOfKey('alice', `key-${row}`),
        await store.tombstone(`sub_${row}`),
      ]),
    ),
    owners: await Promise.all(
      PRINCIPALS.map(async (one) => [
        await store.rowsOf(one, 1, 3),
        await store.countOf(one),
        await store.bytesOf(one),
        await store.verification(one, 'h1'),
      ]),
    ),
    due: [await store.due(20, 100), await store.due(1e15, 3), await store.nextDueAt()],
    notices: [
      await store.dueNotices(1e15, 100, []),
      await store.dueNotices(NOW + 20, 3, ['bob']),
      await store.nextNoticeAt(NOW + 20),
    ],
    backlog: [await store.backlog(0, 100), await store.backlog(2, 2)],
    accepted: [await store.accepted(0, 1000), await store.accepted(3, 2)],
    history: [
      await store.history(NAMES, NOW + 3, 0, 1000),
      await store.history(['build.done'], 0, 2, 3),
    ],
    known: await store.known(
      Array.from({ length: offsets + 1 }, (_, at) => ({
        scope: SCOPES[at % 3]!,
        name: NAMES[at % 2]!,
        eventId: `e${at}`,
      })),
    ),
  };
}

const outcome = (store: Store, writes: readonly Write[]): Promise<string> =>
  store.commit(writes).then(
    () => 'committed',
    (error: unknown) => (error as { code: string }).code,
  );

test('[log-contiguous, log-stable, log-once] the SQLite store does what the model does', async () => {
  await fc.assert(
    fc.asyncProperty(program, async (steps) => {
      const directory = mkdtempSync(join(tmpdir(), 'triggers-model-'));
      const disk = emptyData();
      const make = () =>
        [
          sqliteStore({ path: join(directory, 'store.db'), key: KEY, check: 'full' }),
          modelStore(disk),
        ] as const;
      let [real, model] = make();
      try {
        assert.deepEqual(await real.open(NOW), await model.open(NOW));
        let plan = new Plan();
        for (const step of steps) {
          if (step === 'reopen') {
            await real.close();
            await model.close();
            [real, model] = make();
            assert.deepEqual(
              { ...(await real.open(NOW)), continuity: 0 },
              { ...(await model.open(NOW)), continuity: 0 },
            );
          } else {
            const attempt: Plan = structuredCloneOf(plan);
            const writes = step.map((one) => attempt.write(one));
            const result = await outcome(real, writes);
            assert.equal(result, await outcome(model, writes));
            if (result === 'committed') plan = attempt;
          }
          assert.deepEqual(await everything(real, plan), await everything(model, plan));
        }
      } finally {
        await real.close();
        rmSync(directory, { recursive: true });
      }
    }),
    { numRuns: 60 },
  );
});

const structuredCloneOf = (plan: Plan): Plan =>
  Object.assign(new Plan(), structuredClone({ ...plan }));
