/** Runs a suite against the reference implementation: `npm run conformance -- server`, with any option of the command behind it. */
import { main } from './kit/main.ts';
import { ReferenceServer } from './peers/reference/server.ts';

const [role = 'server', ...rest] = process.argv.slice(2);
const screen = { out: (text: string) => void process.stdout.write(text), err: (text: string) => void process.stderr.write(text) };
const server = await ReferenceServer.start();
try {
  process.exitCode = await main([role, '--url', server.url, '--token', server.token, '--control', server.control, ...rest], screen);
} finally {
  await server.close();
}
