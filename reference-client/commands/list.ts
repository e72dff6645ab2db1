/** `list`: the trigger types a server offers. */
import { run, type Shell } from '../command.ts';
import { describeTrigger } from '../describe.ts';

export function list(shell: Shell): void {
  shell.program
    .command('list')
    .description('show the trigger types the server offers')
    .action(() =>
      run(shell, async (client, printer) => {
        let found = 0;
        for await (const type of client.triggers({ signal: shell.stop })) {
          found += 1;
          printer.result(type, describeTrigger(type, printer.width));
        }
        if (found === 0) printer.notice({ triggers: 0 }, 'The server offers no trigger types.');
      }),
    );
}
