/** `unsubscribe`: ends a subscription and its log. */
import { run, type Shell } from '../command.ts';

export function unsubscribe(shell: Shell): void {
  shell.program
    .command('unsubscribe')
    .description('end a subscription')
    .argument('<subscriptionId>')
    .option('--if-match <etag>', 'only if its configuration is still this one')
    .action((subscriptionId: string, { ifMatch }: { readonly ifMatch?: string }) =>
      run(shell, async (client, printer) => {
        await client.unsubscribe(subscriptionId, ifMatch, { signal: shell.stop });
        printer.result({ unsubscribed: subscriptionId }, `Ended ${subscriptionId}.`);
      }),
    );
}
