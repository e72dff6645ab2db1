/** Runs a suite against the reference implementation: `npm run conformance -- server` (or `client`, `receiver`), with any option of the command behind it. */
import { main } from './kit/main.ts';
import type { Role } from './kit/verdict.ts';
import { CLIENT_COMMAND } from './peers/reference/command.ts';
import { ReferenceReceiver } from './peers/reference/receiver.ts';
import { ReferenceServer } from './peers/reference/server.ts';

/** What is tested, as the command line says it, and its end. */
interface Subject { readonly args: readonly string[]; close(): Promise<void> }

const SUBJECTS: Readonly<Record<Role, () => Promise<Subject>>> = {
  server: async () => {
    const server = await ReferenceServer.start();
    return { args: ['--url', server.url, '--token', server.token, '--control', server.control], close: () => server.close() };
  },
  client: async () => ({ args: ['--command', CLIENT_COMMAND], close: async () => undefined }),
  receiver: async () => {
    const receiver = await ReferenceReceiver.start();
    return { args: ['--url', receiver.url, '--secret', receiver.secret, '--control', receiver.control], close: () => receiver.close() };
  },
};

const [role = 'server', ...rest] = process.argv.slice(2);
const screen = { out: (text: string) => void process.stdout.write(text), err: (text: string) => void process.stderr.write(text) };
const subject = await SUBJECTS[role as Role]?.();
try {
  process.exitCode = await main([role, ...(subject?.args ?? []), ...rest], screen);
} finally {
  await subject?.close();
}
