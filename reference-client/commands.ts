/**
 * The commands that make one request, or read one list: `list`, `subscriptions`, `get`, `update`,
 * `ack` and `unsubscribe`.
 */
import { Option } from 'commander';
import type { Selection, UpdateRequestParams } from 'mcp-triggers-experimental';
import { lifetime, position, selections, UsageError, type Lifetime } from './arguments.ts';
import { describeSubscription, describeTrigger } from './describe.ts';
import { run, type Shell } from './session.ts';

/** `list`: shows the trigger types of a server. */
export function list(shell: Shell): void {
  shell.program
    .command('list')
    .description('show the trigger types of the server')
    .action(() =>
      run(shell, async (client, printer) => {
        let found = 0;
        for await (const type of client.triggers({ signal: shell.stop })) {
          found += 1;
          printer.result(type, describeTrigger(type, printer.width));
        }
        if (found === 0) printer.notice({ triggers: 0 }, 'The server has no trigger types.');
      }),
    );
}

/** `subscriptions`: shows the subscriptions of the principal. */
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

/** `get`: shows one subscription, or that its configuration has not changed. */
export function get(shell: Shell): void {
  shell.program
    .command('get')
    .description('show one subscription')
    .argument('<subscriptionId>')
    .option('--if-none-match <etag>', 'show it only if its configuration has another ETag')
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

interface UpdateOptions {
  readonly ifMatch?: string;
  readonly ttl?: Lifetime;
  readonly pause?: true;
  readonly resume?: true;
  readonly select?: Selection[];
  readonly detachCallback?: true;
}

/** `update`: changes a subscription; with `--if-match` only if its ETag is still the given one. */
export function update(shell: Shell): void {
  shell.program
    .command('update')
    .description('change a subscription')
    .argument('<subscriptionId>')
    .option('--if-match <etag>', 'change it only if its configuration still has this ETag')
    .option('--ttl <time>', 'suggest a lifetime: 90s, 1h, 7d or none', lifetime)
    .addOption(
      new Option('--pause', 'stop delivery; new events are still numbered').conflicts('resume'),
    )
    .option('--resume', 'continue delivery where it stopped, also after failures')
    .option('--select <json>', 'replace the selections by these, as JSON', selections)
    .option('--detach-callback', 'remove the callback and keep the log')
    .action(async (subscriptionId: string, options: UpdateOptions) => {
      const change = changeOf(options);
      if (Object.keys(change).length === 0)
        throw new UsageError(
          'There is nothing to change. Give an option, for example --ttl 1h or --pause.',
        );
      await run(shell, async (client, printer) => {
        const { ifMatch } = options;
        const updated = await client.update(
          { subscriptionId, ...(ifMatch === undefined ? {} : { ifMatch }), ...change },
          { signal: shell.stop },
        );
        printer.result(updated, describeSubscription(updated));
      });
    });
}

function changeOf({
  ttl,
  pause,
  resume,
  select,
  detachCallback,
}: UpdateOptions): Omit<UpdateRequestParams, 'subscriptionId' | 'ifMatch'> {
  return {
    ...ttl,
    ...(pause || resume ? { paused: pause === true } : {}),
    ...(resume ? { resume } : {}),
    ...(select === undefined ? {} : { select }),
    ...(detachCallback ? { removeCallback: true } : {}),
  };
}

/** `ack`: acknowledges everything up to a position. */
export function ack(shell: Shell): void {
  shell.program
    .command('ack')
    .description('acknowledge everything up to a position')
    .argument('<subscriptionId>')
    .argument('<epoch>')
    .argument('<sequence>')
    .action(async (subscriptionId: string, epoch: string, sequence: string) => {
      const upTo = position(epoch, sequence);
      await run(shell, async (client, printer) => {
        const result = await client.ack(subscriptionId, upTo, { signal: shell.stop });
        printer.result(result, `Acknowledged ${result.acked} of ${result.head}.`);
      });
    });
}

/** `unsubscribe`: ends a subscription and its log. */
export function unsubscribe(shell: Shell): void {
  shell.program
    .command('unsubscribe')
    .description('end a subscription')
    .argument('<subscriptionId>')
    .option('--if-match <etag>', 'end it only if its configuration still has this ETag')
    .action((subscriptionId: string, { ifMatch }: { readonly ifMatch?: string }) =>
      run(shell, async (client, printer) => {
        await client.unsubscribe(subscriptionId, ifMatch, { signal: shell.stop });
        printer.result({ unsubscribed: subscriptionId }, `Ended ${subscriptionId}.`);
      }),
    );
}
