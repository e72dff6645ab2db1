/** Reads the command line. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Role } from './verdict.ts';
import { readLevels, type Level } from './levels.ts';
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
  'token-file': TEXT,
  control: TEXT,
  command: TEXT,
  secret: TEXT,
  'secret-file': TEXT,
  'callback-base': TEXT,
  requirements: TEXT,
  only: TEXT,
  level: TEXT,
  list: FLAG,
  expected: TEXT,
  json: TEXT,
  junit: TEXT,
  results: TEXT,
  trace: TEXT,
  'at-once': TEXT,
  strict: FLAG,
  'allow-not-shown': FLAG,
  all: FLAG,
  quiet: FLAG,
  help: FLAG,
  version: FLAG,
} as const;

/** Environment variables that replace options whose value other users of the machine could read. */
const VARIABLES = { token: 'MCP_CONFORMANCE_TOKEN', secret: 'MCP_CONFORMANCE_SECRET' } as const;

export const USAGE = `Usage
  mcp-triggers-conformance server   --url URL [--token-file FILE] [--control URL]
  mcp-triggers-conformance client   --command "CMD"
  mcp-triggers-conformance receiver --url URL --secret-file FILE [--control URL]
  mcp-triggers-conformance control  --help

Peer under test
  --url URL            MCP endpoint of a server, or callback URL of a receiver
  --token-file FILE    file with the bearer token for the MCP endpoint; or set MCP_CONFORMANCE_TOKEN, or use --token T,
                       which other users of this machine can read
  --command "CMD"      shell command that starts a client; the kit appends the server's URL and sets MCP_CONFORMANCE_SCENARIO,
                       MCP_CONFORMANCE_PROTOCOL_VERSION and MCP_CONFORMANCE_CONTEXT
  --secret-file FILE   file with the whsec_… secret of the receiver; or set MCP_CONFORMANCE_SECRET, or use --secret whsec_…
  --control URL        control interface, see docs/conformance.md; without it, checks that need it are "not shown"
  --callback-base URL  public URL that forwards callback requests to this machine (default: loopback)

Run
  --requirements NAME  triggers (default) or events (SEP-3415)
  --level NAMES        run only the checks of these levels and options, for example log,stream (default: all that the server declares)
  --only TEXT          run only scenarios whose name, or the name of one of their checks, contains TEXT
  --list               print the scenarios, their checks and the levels of these, and run nothing
  --at-once N          number of scenarios that run in parallel (default 4)
  --strict             exit with 4 when any check was not shown
  --allow-not-shown    exit with 0 although most checks were not shown

Reports
  --expected FILE      known failures, as rows of "check" and "because"
  --json FILE          full result as JSON
  --junit FILE         result as JUnit XML
  --results FOLDER     checks.json in the format of the official MCP conformance suite
  --trace FILE         every message as one JSON object a line, without secrets
  --all                list every check, also those that passed or do not apply
  --quiet              print no progress
  --version            print the version of the kit
  --help               print this text

Exit codes
  0  no unexpected result
  1  a check is violated, or a known failure passes
  2  wrong usage
  3  nothing to test: no peer of this role answers
  4  most checks were not shown; with --strict, any check
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
  /** Levels of `--level`; undefined = those that the peer declares. */
  readonly levels: ReadonlySet<Level> | undefined;
  /** Whether to print the scenarios instead of running them. */
  readonly list: boolean;
  readonly expected: string | undefined;
  readonly json: string | undefined;
  readonly junit: string | undefined;
  readonly results: string | undefined;
  readonly trace: string | undefined;
  readonly atOnce: number;
  readonly strict: boolean;
  readonly allowNotShown: boolean;
  readonly all: boolean;
  readonly quiet: boolean;
}

/**
 * Reads the arguments after the command, and the token and the secret from `env`. Throws
 * `UsageError`.
 */
export function readOptions(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Options | 'help' | 'version' {
  const { values, positionals } = parse(args);
  if (values.help === true) return 'help';
  if (values.version === true) return 'version';
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
  if (values.strict === true && values['allow-not-shown'] === true)
    throw new UsageError('--strict and --allow-not-shown contradict each other. Omit one of them.');
  const { strict = false, list = false, all = false, quiet = false, ...texts } = values;
  const token = hidden('token', values, env);
  const secret = hidden('secret', values, env);
  if (secret !== undefined && !/^whsec_[A-Za-z0-9+/]{16,}={0,2}$/.test(secret))
    throw new UsageError('--secret is not "whsec_" followed by base64. Correct it.');
  const given = { ...texts, secret };
  const required = { server: ['url'], client: ['command'], receiver: ['url', 'secret'] } as const;
  if (!list)
    for (const name of required[role])
      if (given[name] === undefined)
        throw new UsageError(`The role ${role} needs --${name}. Add it.`);
  return {
    role,
    extension,
    url: values.url,
    token,
    control: values.control,
    command: values.command,
    secret,
    callbackBase: values['callback-base'],
    only: values.only,
    levels: levelsOf(values.level, extension),
    list,
    expected: values.expected,
    json: values.json,
    junit: values.junit,
    results: values.results,
    trace: values.trace,
    atOnce,
    strict,
    allowNotShown: values['allow-not-shown'] ?? false,
    all,
    quiet,
  };
}

function levelsOf(list: string | undefined, extension: Extension): Options['levels'] {
  if (list === undefined) return undefined;
  if (extension === 'events')
    throw new UsageError('SEP-3415 has no levels. Omit --level or --requirements events.');
  try {
    return readLevels(list);
  } catch (error) {
    throw new UsageError(`--level: ${(error as Error).message}`);
  }
}

/**
 * A value that has no place in a process list: from its option, from the file of its other option,
 * or from the environment.
 */
function hidden(
  name: keyof typeof VARIABLES,
  values: Readonly<Record<string, unknown>>,
  env: NodeJS.ProcessEnv,
): string | undefined {
  const given = values[name];
  const file = values[`${name}-file`];
  if (given !== undefined && file !== undefined)
    throw new UsageError(`--${name} and --${name}-file name the same value. Omit one of them.`);
  if (typeof given === 'string') return given;
  if (typeof file !== 'string') return env[VARIABLES[name]];
  try {
    const text = readFileSync(file, 'utf8').trim();
    if (text !== '') return text;
  } catch {
    throw new UsageError(`The file of --${name}-file cannot be read. Correct its path.`);
  }
  throw new UsageError(`The file of --${name}-file is empty. Write the ${name} into it.`);
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    // Node adds advice about positional arguments, which this command does not take.
    throw new UsageError((error as Error).message.replace(/(?<!\.)\.? To specify.*|\.?$/s, '.'));
  }
}
