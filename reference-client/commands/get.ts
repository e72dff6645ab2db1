/** `get`: one subscription, or word that it has not changed. */
import { run, type Shell } from '../command.ts';
import { describeSubscription } from '../describe.ts';

export function get(shell: Shell): void {
  shell.program
    .command('get')
    .description('show one subscription')
    .argument('<subscriptionId>')
    .option('--if-none-match <etag>', 'only if its configuration is no longer this one')
    .action((subscriptionId: string, { ifNoneMatch }: { readonly ifNoneMatch?: string }) =>
      run(shell, async (client, printer) => {
        const found = await client.get(subscriptionId, ifNoneMatch, { signal: shell.stop });
        printer.result(
          found,
          'notModified' in found
            ? `Not changed. Head ${found.head}, acknowledged ${found.acked}.`
            : describeSubscription(found),
        );
      }),
    );
}
