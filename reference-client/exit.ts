/**
 * What a failure means to whoever started the program: an exit code, one line that says what was wrong, and a hint what to do
 * about it. Scripts read the code, people read the lines.
 */
import { CommanderError } from 'commander';
import {
  LocalError,
  RemoteError,
  WireError,
  type LocalErrorCode,
} from 'mcp-triggers-experimental/client';
import { UsageError } from './usage-error.ts';

/** The exit codes by name. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  unreachable: 3,
  refused: 4,
  ended: 5,
  unsupported: 6,
  misbehaved: 7,
} as const;

/** The exit codes as `--help` and the README tell them. */
export const EXIT_MEANINGS: readonly (readonly [code: number, meaning: string])[] = [
  [EXIT.ok, 'done, or stopped with Ctrl+C'],
  [EXIT.failure, 'unexpected failure'],
  [EXIT.usage, 'wrong option, argument or file'],
  [EXIT.unreachable, 'the server cannot be reached, or refuses the access token'],
  [EXIT.refused, 'the server refused the request with a typed error'],
  [EXIT.ended, 'the subscription has ended on the server'],
  [
    EXIT.unsupported,
    'the server lacks the extension, the method, the drain or the protocol revision',
  ],
  [EXIT.misbehaved, 'the server broke the protocol'],
];

/** A failure, ready to be printed. */
export interface Verdict {
  readonly code: number;
  /** Registry name of a typed error, code of a local one. */
  readonly name: string;
  readonly message: string;
  readonly hint?: string;
  /** The typed data of the server's error. */
  readonly data?: unknown;
}

const LOCAL: Partial<Record<LocalErrorCode, readonly [code: number, hint: string]>> = {
  unreachable: [
    EXIT.unreachable,
    'Is the server running, and is this its address? See --url and --stdio.',
  ],
  timeout: [EXIT.unreachable, 'Try again, or look at the server.'],
  closed: [EXIT.unreachable, 'The server has closed the connection. Is it still running?'],
  unauthorized: [
    EXIT.unreachable,
    'Give a token with --token, --token-file or MCP_TRIGGERS_TOKEN. The development server writes one to DATA_DIR/token.',
  ],
  not_supported: [
    EXIT.unsupported,
    'See what the server offers with "list", choose another --drain or --protocol, or name a --resource or --tool to look at.',
  ],
  terminated: [EXIT.ended, 'Subscribe again with "watch" if you still want the events.'],
  peer_misbehaved: [EXIT.misbehaved, 'This is a fault of the server; its log may say more.'],
  ledger_corrupt: [EXIT.usage, 'Nothing was changed.'],
  config_invalid: [EXIT.usage, 'See --help.'],
};

/** Judges whatever was thrown. */
export function verdictOf(error: unknown): Verdict {
  if (error instanceof UsageError)
    return { code: EXIT.usage, name: 'usage', message: error.message, hint: 'See --help.' };
  if (error instanceof CommanderError)
    return {
      code: error.exitCode === 0 ? EXIT.ok : EXIT.usage,
      name: 'usage',
      message: error.message.replace(/^error: /, ''),
      hint: 'See --help.',
    };
  if (error instanceof WireError)
    return {
      code: EXIT.refused,
      name: error.name,
      message: error.message,
      hint: hintOf(error),
      ...(error.data === undefined ? {} : { data: error.data }),
    };
  if (error instanceof RemoteError)
    return {
      code: EXIT.refused,
      name: `code ${error.code}`,
      message: error.message,
      hint: 'This error is none of the extension; ask whoever runs the server.',
    };
  if (error instanceof LocalError) {
    const [code, hint] = LOCAL[error.code] ?? [EXIT.failure, 'Please report this.'];
    return { code, name: error.code, message: error.message, hint };
  }
  const { code, message } = Object(error) as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE')
    return {
      code: EXIT.usage,
      name: code,
      message: 'The port of the callback endpoint is in use.',
      hint: 'Choose another with --port, or leave it out.',
    };
  if (typeof code === 'string' && /^E[A-Z]+$/.test(code))
    return {
      code: EXIT.usage,
      name: code,
      message: String(message),
      hint: 'Check the files that were named.',
    };
  return {
    code: EXIT.failure,
    name: 'unexpected',
    message: String(message ?? error),
    hint: 'Please report this.',
  };
}

/** What to do about a typed refusal. */
function hintOf(error: WireError): string {
  if (error.is('InvalidParams'))
    return `Correct ${error.data.path === '' ? 'the params' : error.data.path}: expected ${error.data.expected}.`;
  if (error.is('Conflict')) {
    switch (error.data.kind) {
      case 'etag':
        return `Somebody changed it meanwhile. Look at it with "get", then repeat with --if-match ${error.data.etag}.`;
      case 'key':
        return `${error.data.subscriptionId} has this key and other settings. Change that one with "update", or choose another --key.`;
      default:
        return `The log is now in epoch ${error.data.epoch}, head ${error.data.head}. Use a position of that log.`;
    }
  }
  if (error.is('NotFound')) {
    if (error.data.kind === 'trigger') return 'See the names with "list".';
    const { reason, final } = error.data;
    if (reason === undefined) return 'See your subscriptions with "subscriptions".';
    return `It ended: ${reason}.${final === undefined ? '' : ` Its log ended at ${final.head}, acknowledged to ${final.acked}, in epoch ${final.epoch}.`}`;
  }
  if (error.is('Forbidden')) return 'This token may not do that. Ask whoever gave it to you.';
  if (error.is('ResourceExhausted')) {
    const { max, retryAfterMs } = error.data;
    const limit = max === undefined ? '' : `At most ${max}. `;
    return retryAfterMs === undefined
      ? `${limit}Give something back first, for example with "unsubscribe".`
      : `${limit}Try again in ${Math.ceil(retryAfterMs / 1000)} s.`;
  }
  if (error.is('Unsupported')) return 'See what a trigger type offers with "list".';
  if (error.is('CallbackEndpointError')) {
    return `The server could not verify the callback (${error.data.reason}). A server delivers to this machine's loopback only with TRIGGERS_UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS=true; or use --drain stream.`;
  }
  return 'The server has failed; its log says why.';
}
