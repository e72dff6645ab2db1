/** The command line, as a table; `node:util` parses it. */
import { parseArgs } from 'node:util';
import type { Role } from './verdict.ts';
import type { Extension } from './requirements.ts';

/** What is wrong with the command line. The message is for the person who typed it. */
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

What is tested
  --url URL            the MCP endpoint, or the callback endpoint of a receiver
  --token T            bearer token for the MCP endpoint
  --command "CMD"      a client: gets the server's URL as its last argument and the scenario in MCP_CONFORMANCE_SCENARIO and _CONTEXT
  --secret whsec_…     the secret that the receiver expects
  --control URL        the control interface, see docs/conformance.md; what needs it is "not shown" without
  --callback-base URL  where requests to callbacks reach this machine, if not on loopback
  --requirements WHICH triggers (default) or events (SEP-3415)
  --only TEXT          only scenarios and checks with TEXT in their name

What is reported
  --expected FILE      known failures: rows of "check" and "because"
  --json FILE, --junit FILE, --results FOLDER (checks.json as the official suite writes it)
  --all                list what passed, too
  --quiet              no progress
  --at-once N          scenarios at once (default 4)

Exit codes
  0 nothing unexpected   1 a check is violated, or one that was expected to fail passes   2 wrong usage   3 nothing to test: not reachable, or no MCP there
`;

/** A command line that makes sense. */
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

/** Reads the arguments after the command; null = help was asked for. Throws `UsageError`. */
export function readOptions(args: readonly string[]): Options | null {
  const { values, positionals } = parse(args);
  if (values.help === true) return null;
  const [role, ...more] = positionals;
  if (role !== 'server' && role !== 'client' && role !== 'receiver')
    throw new UsageError(
      `say what to test: server, client or receiver${role === undefined ? '' : `, not "${role}"`}`,
    );
  if (more.length > 0) throw new UsageError(`"${more[0]}" is one word too many`);
  const extension = values.requirements ?? 'triggers';
  if (extension !== 'triggers' && extension !== 'events')
    throw new UsageError('--requirements is triggers or events');
  const atOnce = Number(values['at-once'] ?? 4);
  if (!Number.isInteger(atOnce) || atOnce < 1)
    throw new UsageError('--at-once is a whole number from 1');
  for (const name of ['url', 'control', 'callback-base'] as const) {
    const value = values[name];
    if (
      value !== undefined &&
      !/^https?:$/.test(URL.canParse(value) ? new URL(value).protocol : '')
    )
      throw new UsageError(`--${name} is an http or https URL`);
  }
  const required = { server: ['url'], client: ['command'], receiver: ['url', 'secret'] } as const;
  for (const name of required[role])
    if (values[name] === undefined) throw new UsageError(`conformance ${role} needs --${name}`);
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
    throw new UsageError((error as Error).message);
  }
}
