/** Changes of the list of trigger types, and what they do to subscriptions (SEP: Trigger types). */
import assert from 'node:assert/strict';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json, Session } from '../../runner/wire/session.ts';

const LIST_CHANGED = 'notifications/triggers/list_changed';

/** The list of a principal: its names on all pages, and its ETag. */
async function listOf(mcp: Session): Promise<{ readonly names: string[]; readonly etag: string }> {
  const pages = await mcp.pages('triggers/list');
  return {
    names: pages.flatMap(({ triggers }) => triggers.map(({ name }: Json) => name as string)),
    etag: pages[0].etag,
  };
}

/** Declares a trigger type and removes it when the scenario ends. Returns its name. */
async function declared(t: ServerTest): Promise<string> {
  const name = `conformance.${t.unique('changing').replaceAll(/[^A-Za-z0-9]/g, '_')}`;
  await t.control.do('declare', { name });
  t.defer(() => t.control.do('remove', { name, reason: 'trigger_removed' }));
  return name;
}

/** Permits or forbids a type to the principal `main`. */
const permit = (t: ServerTest, name: string, allowed: boolean): Promise<unknown> =>
  t.control.do('permit', { principal: 'main', name, allowed });

export const catalogChanges = [
  scenario({
    name: 'catalog: permission',
    about: 'The list has the types that its caller may follow, and its ETag changes with them.',
    checks: ['list-only-usable', 'list-etag'],
    needs: { verbs: ['declare', 'remove', 'permit'], types: ['plain'] },
    alone: true,
    async run(t) {
      const name = await declared(t);
      const before = await listOf(t.mcp);
      await t.check('list-only-usable', 'a permitted type is in the list, once', () =>
        assert.deepEqual(
          before.names.filter((one) => one === name),
          [name],
          'the type in the list:',
        ),
      );
      await permit(t, name, false);
      t.defer(() => permit(t, name, true));
      const without = await listOf(t.mcp);
      await t.check('list-only-usable', 'a forbidden type is not in the list', () =>
        assert.ok(!without.names.includes(name), 'the forbidden type is in the list'),
      );
      await t.check('list-etag', 'the ETag changes when a permission is withdrawn', () =>
        assert.notEqual(without.etag, before.etag, '`etag`:'),
      );
      await permit(t, name, true);
      const again = await listOf(t.mcp);
      await t.check('list-only-usable', 'a type that is permitted again is in the list', () =>
        assert.ok(again.names.includes(name), 'the permitted type is not in the list'),
      );
      await t.check('list-etag', 'the ETag changes when a permission is granted', () =>
        assert.notEqual(again.etag, without.etag, '`etag`:'),
      );
      await t.check(
        'list-only-usable',
        'a principal that may follow nothing sees none of these types',
        async () => {
          const { names } = await listOf(await t.as('stranger'));
          const shown = names.filter((one) => one === name || one === t.control.type('plain'));
          assert.deepEqual(shown, [], 'types that the principal may not follow:');
        },
      );
    },
  }),

  scenario({
    name: 'catalog: types come and go',
    about: 'The ETag changes with every type that is added or removed.',
    checks: ['list-etag'],
    needs: { verbs: ['declare', 'remove'], types: ['plain'] },
    alone: true,
    async run(t) {
      const before = await listOf(t.mcp);
      const name = await declared(t);
      const more = await listOf(t.mcp);
      await t.check('list-etag', 'the ETag changes when a type is added', () =>
        assert.notEqual(more.etag, before.etag, '`etag`:'),
      );
      await t.control.do('remove', { name, reason: 'trigger_removed' });
      const less = await listOf(t.mcp);
      await t.check('list-etag', 'the ETag changes when a type is removed', () => {
        assert.ok(!less.names.includes(name), 'the removed type is in the list');
        assert.notEqual(less.etag, more.etag, '`etag`:');
      });
    },
  }),

  scenario({
    name: 'catalog: notifications',
    about: 'Open streams say that the list has changed.',
    checks: ['list-changed-send'],
    needs: { drains: ['stream'], verbs: ['declare', 'remove'], types: ['plain'] },
    alone: true,
    eras: 'each',
    async run(t) {
      const { subscriptionId } = await t.subscribe();
      const stream = await t.stream({ subscriptionId });
      await t.until('a first delivery on the stream', () => stream.deliveries.length > 0);
      const told = (): number =>
        stream.messages.filter(({ method }) => method === LIST_CHANGED).length;
      let name = '';
      for (const [what, change] of [
        [
          'added',
          async () => {
            name = await declared(t);
          },
        ],
        ['removed', () => t.control.do('remove', { name, reason: 'trigger_removed' })],
      ] as const)
        await t.check(
          'list-changed-send',
          `an open stream carries list_changed when a type is ${what}`,
          async () => {
            const count = told();
            await change();
            await t.until(`list_changed on the stream`, () => told() > count);
          },
        );
    },
  }),

  scenario({
    name: 'catalog: the end of a type',
    about:
      'A type that is removed or changed ends its subscriptions, and no others, for this reason.',
    checks: ['type-breaking'],
    needs: { verbs: ['declare', 'remove'], types: ['plain'] },
    alone: true,
    async run(t) {
      const other = await t.subscribe();
      for (const [check, reason] of [
        ['type-breaking', 'trigger_removed'],
        ['type-breaking', 'schema_changed'],
      ] as const) {
        const name = await declared(t);
        const { subscriptionId } = await t.subscribe({ select: [{ name, arguments: {} }] });
        await t.control.do('remove', { name, reason });
        await t.check(check, `the subscription ended with reason ${reason}`, async () => {
          const { data } = await t.mcp.errorOf('triggers/get', { subscriptionId });
          assert.deepEqual(
            [data?.kind, data?.reason],
            ['subscription', reason],
            '`data.kind` and `data.reason` of the error:',
          );
        });
        await t.check(check, 'a subscription to another type goes on', async () => {
          await t.mcp.request('triggers/get', { subscriptionId: other.subscriptionId });
        });
      }
    },
  }),
];
