/** The list of trigger types (SEP: Trigger types, triggers/list). */
import assert from 'node:assert/strict';
import { NotShown } from '../../runner/observations.ts';
import { gapsOf } from '../../runner/server/coverage.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';

/** Reserved types of the SEP with their arguments. */
const RESERVED: Readonly<Record<string, readonly string[]>> = {
  'mcp.resource.updated': ['uri'],
  'mcp.tools.list_changed': [],
  'mcp.prompts.list_changed': [],
  'mcp.resources.list_changed': [],
  'mcp.task.updated': ['taskId'],
};

/** Reserved types that describe a state. */
const RESERVED_INITIAL = new Set(['mcp.resource.updated', 'mcp.task.updated']);

/** Declares this many trigger types and removes them when the scenario ends. */
const declared = async (t: ServerTest, count: number): Promise<string[]> => {
  const names = Array.from({ length: count }, () =>
    t.unique('conformance.more').replaceAll(/[^A-Za-z0-9._-]/g, '_'),
  );
  for (const name of names) await t.control.do('declare', { name });
  t.defer(async () => {
    for (const name of names) await t.control.do('remove', { name, reason: 'trigger_removed' });
  });
  return names;
};

export const catalog = [
  scenario({
    name: 'catalog: the list',
    about: 'Names are unique, a matching ETag returns no list, and reserved names follow the SEP.',
    checks: ['list-only-usable', 'list-not-modified', 'type-reserved'],
    eras: 'each',
    async run(t) {
      const all = await t.mcp.pages('triggers/list');
      const types: Json[] = all.flatMap(({ triggers }) => triggers);
      await t.check('list-only-usable', 'no name repeats on any page', () => {
        const names = types.map(({ name }) => name);
        assert.equal(new Set(names).size, names.length, 'different names in the list:');
      });
      await t.check(
        'list-not-modified',
        'ifNoneMatch with the current ETag returns notModified without a list',
        async () => {
          const answer = await t.mcp.request('triggers/list', { ifNoneMatch: all[0].etag });
          assert.deepEqual([answer.notModified, answer.triggers], [true, undefined]);
        },
      );
      await t.check(
        'list-not-modified',
        'ifNoneMatch with another ETag returns the list',
        async () => {
          assert.ok(
            (await t.mcp.request('triggers/list', { ifNoneMatch: 'no-such-etag' })).triggers,
            'the list is missing',
          );
        },
      );
      await t.check(
        'type-reserved',
        'a name that starts with "mcp." is a reserved name and has the reserved arguments and `initial`',
        () => {
          for (const { name, inputSchema, initial = false } of types.filter(({ name: one }) =>
            one.startsWith('mcp.'),
          )) {
            assert.equal(initial, RESERVED_INITIAL.has(name), `\`initial\` of ${name}:`);
            assert.deepEqual(
              Object.keys(inputSchema.properties ?? {}).sort(),
              [...(RESERVED[name] ?? assert.fail(`${name} is not a reserved name`))].sort(),
              `the arguments of ${name}:`,
            );
          }
        },
      );
    },
  }),

  scenario({
    name: 'catalog: pages and changes',
    about: 'All pages of one traversal have the same ETag, which changes with the list.',
    checks: ['list-etag-pages', 'list-not-modified', 'list-only-usable'],
    needs: { verbs: ['declare', 'remove'] },
    alone: true,
    async run(t) {
      const [{ etag: before }] = await t.mcp.pages('triggers/list');
      await declared(t, 120);
      const all = await t.mcp.pages('triggers/list');
      await t.check('list-etag-pages', 'every page has the ETag of the first', () => {
        if (all.length === 1)
          throw new NotShown('The list has one page, even with 120 more trigger types.');
        for (const { etag } of all) assert.equal(etag, all[0].etag, '`etag` of a page:');
      });
      await t.check(
        'list-not-modified',
        'the ETag from before a change no longer matches',
        async () => {
          assert.notEqual(
            (await t.mcp.request('triggers/list', { ifNoneMatch: before })).notModified,
            true,
            '`notModified`:',
          );
        },
      );
      await t.check('list-only-usable', 'no name repeats on any page', () => {
        const names = all.flatMap(({ triggers }) => triggers.map(({ name }: Json) => name));
        assert.equal(new Set(names).size, names.length, 'different names in the list:');
      });
    },
  }),

  scenario({
    name: 'catalog: principals',
    about: 'A list that differs between principals is private.',
    checks: ['list-private'],
    async run(t) {
      const stranger = await t.as('stranger');
      const [mine, theirs] = [
        await t.mcp.request('triggers/list'),
        await stranger.request('triggers/list'),
      ];
      await t.check(
        'list-private',
        'cacheScope is private when two principals see different lists',
        () => {
          if (
            mine.etag === theirs.etag &&
            JSON.stringify(mine.triggers) === JSON.stringify(theirs.triggers)
          )
            throw new NotShown('The principals "main" and "stranger" see the same list.');
          assert.deepEqual(
            [mine.cacheScope, theirs.cacheScope],
            ['private', 'private'],
            '`cacheScope` of both lists:',
          );
        },
      );
    },
  }),

  scenario({
    name: 'catalog: payloads',
    about:
      'An event whose data violates the schema becomes a gap in every log that selects the type and cannot be shown not to match.',
    checks: ['type-payload-valid'],
    needs: { verbs: ['emit'], types: ['plain'] },
    // The log of every other scenario gets a gap too.
    alone: true,
    async run(t) {
      const name = t.control.type('plain');
      const [mine, elsewhere] = [await t.subscribe(), await t.subscribe()];
      const topic = t.topicOf(mine);
      await t.control.do('emit', {
        events: [
          { name, data: { topic, n: 'one' } },
          { name, data: { n: 2 } },
          { name, data: { topic, n: 3 } },
          { name, data: { topic: t.topicOf(elsewhere), n: 4 } },
        ],
      });
      for (const [{ subscriptionId, epoch }, what, gaps, n] of [
        [mine, 'the log that selects its topic', [1, 2], 3],
        [elsewhere, 'a log with another topic', [1], 4],
      ] as const) {
        const deliveries = await t.pullAll(subscriptionId, gaps.length + 1);
        await t.check(
          'type-payload-valid',
          `an event with a string in place of an integer and one without its topic are ${gaps.length} of two numbers in ${what}`,
          () => {
            assert.equal(deliveries[0]!.epoch, epoch);
            assert.deepEqual(
              gapsOf(deliveries),
              gaps.map((sequence) => [sequence, 'invalid']),
              'gaps:',
            );
            assert.deepEqual(
              deliveries.flatMap(({ events }) => events.map(({ data }: Json) => data.n)),
              [n],
              '`data.n` of the events in the log:',
            );
          },
        );
      }
    },
  }),
];
