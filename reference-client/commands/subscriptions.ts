/** `subscriptions`: what this principal has subscribed to. */
import { run, type Shell } from '../command.ts';
import { describeSubscription } from '../describe.ts';

export function subscriptions(shell: Shell): void {
  shell.program
    .command('subscriptions')
    .description('show your subscriptions')
    .action(() =>
      run(shell, async (client, printer) => {
        let found = 0;
        for await (const subscription of client.subscriptions({ signal: shell.stop })) {
          found += 1;
          printer.result(subscription, describeSubscription(subscription));
        }
        if (found === 0) printer.notice({ subscriptions: 0 }, 'You have no subscriptions.');
      }),
    );
}
