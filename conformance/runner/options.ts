/** Reads the command line. */
import { parseArgs } from 'node:util';
import type { Role } from './verdict.ts';
import type { Extension } from './requirements.ts';

/** A wrong command line. The message is printed. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const TEXT = { type: 'string' } as const;
const FLAG = { type: 'boolean' } as const;

const OPTIONS = {
  url: TEXT,
  token: TEXT,
  control: TEXT,
  command: TEXT,
  secret: TEXT,
  'callback-base': TEXT,
  requirements: TEXT,
  only: TEXT,
  expected: TEXT,
  json: TEXT,
  junit: TEXT,
  results: TEXT,
  'at-once': TEXT,
  all: FLAG,
  quiet: FLAG,
  help: FLAG,
} as const;

export const USAGE = `Usage
  mcp-triggers-conformance server   --url URL [--token T] [--control URL]
  mcp-triggers-conformance client   --command "CMD"
  mcp-triggers-conformance receiver --url URL --secret whsec_… [--control URL]

Peer under test
  --url URL            MCP endpoint of a server, or callback URL of a receiver
  --token T            bearer token for the MCP endpoint
  --command "CMD"      shell command that starts a client; the kit appends the server's URL and sets MCP_CONFORMANCE_SCENARIO,
                       MCP_CONFORMANCE_PROTOCOL_VERSION and MCP_CONFORMANCE_CONTEXT
  --secret whsec_…     secret of the receiver
  --control URL        control interface, see docs/conformance.md; without it, checks that need it are "not shown"
  --callback-base URL  public URL that forwards callback requests to this machine (default: loopback)

Run
  --requirements NAME  triggers (default) or events (SEP-3415)
  --only TEXT          run only scenarios whose name, or the name of one of their checks, contains TEXT
  --at-once N          number of scenarios that run in parallel (default 4)

Reports
  --expected FILE      known failures, as rows of "check" and "because"
  --json FILE          full result as JSON
  --junit FILE         result as JUnit XML
  --results FOLDER     checks.json in the format of the official MCP conformance suite
  --all                list passed checks too
  --quiet              print no progress
  --help               print this text

Exit codes
  0  no unexpected result
  1  a check is violated, or a known failure passes
  2  wrong usage
  3  nothing to test: no peer of this role answers
`;

/** A valid command line. */
export interface Options {
  readonly role: Role;
  readonly extension: Extension;
  readonly url: string | undefined;
  readonly token: string | undefined;
  readonly control: string | undefined;
  readonly command: string | undefined;
  readonly secret: string | undefined;
  readonly callbackBase: string | undefined;
  readonly only: string | undefined;
  readonly expected: string | undefined;
  readonly json: string | undefined;
  readonly junit: string | undefined;
  readonly results: string | undefined;
  readonly atOnce: number;
  readonly all: boolean;
  readonly quiet: boolean;
}

/** Reads the arguments after the command; null = help. Throws `UsageError`. */
export function readOptions(args: readonly string[]): Options | null {
  const { values, positionals } = parse(args);
  if (values.help === true) return null;
  const [role, ...more] = positionals;
  if (role !== 'server' && role !== 'client' && role !== 'receiver')
    throw new UsageError(
      `${role === undefined ? 'The role is missing' : `"${role}" is not a role`}. Use server, client or receiver.`,
    );
  if (more.length > 0) throw new UsageError(`Unexpected argument "${more[0]}". Remove it.`);
  const extension = values.requirements ?? 'triggers';
  if (extension !== 'triggers' && extension !== 'events')
    throw new UsageError(
      'Unknown requirements. Use --requirements triggers or --requirements events.',
    );
  const atOnce = Number(values['at-once'] ?? 4);
  if (!Number.isInteger(atOnce) || atOnce < 1)
    throw new UsageError('--at-once is not a positive integer. Use 1 or more.');
  for (const name of ['url', 'control', 'callback-base'] as const) {
    const value = values[name];
    if (
      value !== undefined &&
      !/^https?:$/.test(URL.canParse(value) ? new URL(value).protocol : '')
    )
      throw new UsageError(`--${name} is not an http or https URL. Correct it.`);
  }
  if (values.secret !== undefined && !/^whsec_[A-Za-z0-9+/]{16,}={0,2}$/.test(values.secret))
    throw new UsageError('--secret is not "whsec_" followed by base64. Correct it.');
  const required = { server: ['url'], client: ['command'], receiver: ['url', 'secret'] } as const;
  for (const name of required[role])
    if (values[name] === undefined)
      throw new UsageError(`The role ${role} needs --${name}. Add it.`);
  const {
    url,
    token,
    control,
    command,
    secret,
    only,
    expected,
    json,
    junit,
    results,
    all = false,
    quiet = false,
  } = values;
  return {
    role,
    extension,
    url,
    token,
    control,
    command,
    secret,
    callbackBase: values['callback-base'],
    only,
    expected,
    json,
    junit,
    results,
    atOnce,
    all,
    quiet,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    // Node adds advice about positional arguments, which this command does not take.
    throw new UsageError((error as Error).message.replace(/(?<!\.)\.? To specify.*|\.?$/s, '.'));
  }
}
