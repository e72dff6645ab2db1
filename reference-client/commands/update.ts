/** `update`: changes a subscription; with `--if-match` only if nobody else has meanwhile. */
import { Option } from 'commander';
import type { OnFailure, Selection, UpdateParams } from 'mcp-triggers-experimental';
import { selections, ttl } from '../arguments.ts';
import { run, type Shell } from '../command.ts';
import { describeSubscription } from '../describe.ts';
import { UsageError } from '../usage-error.ts';

interface Options {
  readonly ifMatch?: string;
  readonly ttl?: number | null;
  readonly pause?: true;
  readonly resume?: true;
  readonly onFailure?: OnFailure;
  readonly select?: Selection[];
  readonly detachCallback?: true;
}

export function update(shell: Shell): void {
  shell.program
    .command('update')
    .description('change a subscription')
    .argument('<subscriptionId>')
    .option('--if-match <etag>', 'only if its configuration is still this one')
    .option('--ttl <time>', 'suggest a lifetime: 90s, 1h, 7d, none', ttl)
    .addOption(new Option('--pause', 'stop delivery; numbering goes on').conflicts('resume'))
    .option('--resume', 'deliver again, from where it stopped')
    .addOption(
      new Option('--on-failure <what>', 'when a callback keeps failing').choices([
        'suspend',
        'skip',
      ]),
    )
    .option('--select <json>', 'replace the selections', selections)
    .option('--detach-callback', 'remove the callback; the log stays')
    .action((subscriptionId: string, options: Options) =>
      run(shell, async (client, printer) => {
        const change = changeOf(options);
        if (Object.keys(change).length === 0)
          throw new UsageError('Say what to change, for example --ttl 1h or --pause.');
        const { ifMatch } = options;
        const updated = await client.update(
          { subscriptionId, ...(ifMatch === undefined ? {} : { ifMatch }), ...change },
          { signal: shell.stop },
        );
        printer.result(updated, describeSubscription(updated));
      }),
    );
}

function changeOf({
  ttl: ttlMs,
  pause,
  resume,
  onFailure,
  select,
  detachCallback,
}: Options): Omit<UpdateParams, 'subscriptionId' | 'ifMatch'> {
  return {
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(pause || resume ? { paused: pause === true } : {}),
    ...(onFailure === undefined ? {} : { onFailure }),
    ...(select === undefined ? {} : { select }),
    ...(detachCallback ? { callback: null } : {}),
  };
}
