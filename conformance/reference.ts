/**
 * Runs a suite against the reference implementation: `npm run conformance -- server` (or `client`,
 * `receiver`), followed by any options of the command.
 */
import { parseArgs } from 'node:util';
import { main } from './runner/main.ts';
import type { Role } from './runner/verdict.ts';
import { CLIENT_COMMAND, EVENTS_CLIENT_COMMAND } from './peers/reference/command.ts';
import { ReferenceEventsReceiver } from './peers/reference/events-receiver.ts';
import { ReferenceReceiver } from './peers/reference/receiver.ts';
import { ReferenceServer } from './peers/reference/server.ts';

/** The command-line arguments of the peer under test, and a function that stops it. */
interface Subject {
  readonly args: readonly string[];
  close(): Promise<void>;
}

const [role = 'server', ...rest] = process.argv.slice(2);
const { values } = parseArgs({
  args: rest,
  strict: false,
  options: { requirements: { type: 'string' } },
});
const isEvents = values.requirements === 'events';

const SUBJECTS: Readonly<Record<Role, () => Promise<Subject>>> = {
  server: async () => {
    const server = await ReferenceServer.start();
    return {
      args: ['--url', server.url, '--token', server.token, '--control', server.control],
      close: () => server.close(),
    };
  },
  client: async () => ({
    args: ['--command', isEvents ? EVENTS_CLIENT_COMMAND : CLIENT_COMMAND],
    close: async () => undefined,
  }),
  receiver: async () => {
    const receiver = await (isEvents ? ReferenceEventsReceiver : ReferenceReceiver).start();
    return {
      args: ['--url', receiver.url, '--secret', receiver.secret, '--control', receiver.control],
      close: () => receiver.close(),
    };
  },
};

const screen = {
  out: (text: string) => void process.stdout.write(text),
  err: (text: string) => void process.stderr.write(text),
};
const subject = await SUBJECTS[role as Role]?.();
try {
  process.exitCode = await main([role, ...(subject?.args ?? []), ...rest], screen);
} finally {
  await subject?.close();
}
