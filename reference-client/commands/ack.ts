/** `ack`: says that everything up to a position is done. A position is always an epoch and a number. */
import { position } from '../arguments.ts';
import { run, type Shell } from '../command.ts';

export function ack(shell: Shell): void {
  shell.program
    .command('ack')
    .description('acknowledge everything up to a position')
    .argument('<subscriptionId>')
    .argument('<epoch>')
    .argument('<sequence>')
    .action((subscriptionId: string, epoch: string, sequence: string) =>
      run(shell, async (client, printer) => {
        const result = await client.ack(subscriptionId, position(epoch, sequence), {
          signal: shell.stop,
        });
        printer.result(result, `Acknowledged to ${result.acked} of ${result.head}.`);
      }),
    );
}
