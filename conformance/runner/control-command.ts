/** The subcommand `control`: a control interface in front of a server, until a signal ends it. */
import { parseArgs } from 'node:util';
import { ControlProxy } from './control-proxy.ts';
import { UsageError } from './options.ts';

export const CONTROL_USAGE = `Usage
  mcp-triggers-conformance control --command "CMD" --inner URL [--data FOLDER] [--port N]

Starts a server and serves a control interface with the verbs of the server's own one, and with "crash", "remember" and "lose".
After each start it repeats what the process forgot: "advance", "permit", "declare" and "remove".

  --command "CMD"  shell command that starts the server; MCP_CONFORMANCE_AHEAD_MS is the lead of its clock in milliseconds
  --inner URL      the server's own control interface
  --data FOLDER    the server's store, for "remember" and "lose"; what detects a lost commit has to be elsewhere
  --port N         port of the control interface (default: chosen by the system)
  --help           print this text

Prints { "control": URL } when it serves. SIGINT and SIGTERM end it and the server.
`;

/** Runs the subcommand. Resolves with its exit code after a signal. */
export async function controlCommand(
  args: readonly string[],
  { out, err }: { readonly out: (text: string) => void; readonly err: (text: string) => void },
  stop: Promise<unknown> = signal(),
): Promise<number> {
  const options = read(args);
  if (options === null) {
    out(CONTROL_USAGE);
    return 0;
  }
  const proxy = await ControlProxy.start({ ...options, warn: (message) => err(`${message}\n`) });
  out(`${JSON.stringify({ control: proxy.url })}\n`);
  await stop;
  await proxy.close();
  return 0;
}

const signal = (): Promise<void> =>
  new Promise((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve());
  });

function read(args: readonly string[]): Parameters<typeof ControlProxy.start>[0] | null {
  const text = { type: 'string' } as const;
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: { command: text, inner: text, data: text, port: text, help: { type: 'boolean' } },
    }));
  } catch (error) {
    throw new UsageError((error as Error).message.replace(/(?<!\.)\.? To specify.*|\.?$/s, '.'));
  }
  const { command, inner, data, port, help } = values;
  if (help === true) return null;
  if (command === undefined) throw new UsageError('The proxy needs --command. Add it.');
  if (inner === undefined || !URL.canParse(inner))
    throw new UsageError('--inner is not a URL. Pass the control interface of the server.');
  if (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) < 65_536))
    throw new UsageError('--port is not a port number. Use 0 to 65535.');
  return { command, inner, data, port: port === undefined ? undefined : Number(port) };
}
