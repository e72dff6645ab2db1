/**
 * Converts errors into an exit code, a message that says what was wrong, and a hint that says what
 * to do.
 */
import { CommanderError } from 'commander';
import {
  LocalError,
  RemoteError,
  WireError,
  type LocalErrorCode,
} from 'mcp-triggers-experimental/client';
import { UsageError } from './arguments.ts';

/** The exit codes. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  unreachable: 3,
  rejected: 4,
  ended: 5,
  unsupported: 6,
  misbehaved: 7,
} as const;

/** The exit codes with their meanings, for `--help` and the README. */
export const EXIT_MEANINGS: readonly (readonly [code: number, meaning: string])[] = [
  [EXIT.ok, 'success, or stopped with Ctrl+C'],
  [EXIT.failure, 'unexpected failure'],
  [EXIT.usage, 'wrong option, argument or file'],
  [EXIT.unreachable, 'the server cannot be reached, or it rejects the access token'],
  [EXIT.rejected, 'the server rejected the request with a typed error'],
  [EXIT.ended, 'the subscription has ended on the server'],
  [
    EXIT.unsupported,
    'the server does not support the extension, the method, the drain or the protocol revision',
  ],
  [EXIT.misbehaved, 'the server broke the protocol'],
];

/** A failure to print. */
export interface Failure {
  readonly code: number;
  /** The registry name of a typed error, or the code of a local one. */
  readonly name: string;
  readonly message: string;
  readonly hint?: string;
  /** The typed data of the server's error. */
  readonly data?: unknown;
}

const LOCAL: Partial<Record<LocalErrorCode, readonly [code: number, hint: string]>> = {
  unreachable: [
    EXIT.unreachable,
    'Check that the server is running, and that --url or --stdio is correct.',
  ],
  timeout: [EXIT.unreachable, 'Try again, or check the server.'],
  closed: [EXIT.unreachable, 'Check that the server is still running.'],
  unauthorized: [
    EXIT.unreachable,
    'Pass a token with --token, --token-file or MCP_TRIGGERS_TOKEN. The development server writes one to DATA_DIR/token.',
  ],
  not_supported: [
    EXIT.unsupported,
    'Check --url, run "list" to see what the server offers, choose another --drain or --protocol, or give a --resource or --tool to poll.',
  ],
  terminated: [EXIT.ended, 'Run "watch" to subscribe again.'],
  peer_misbehaved: [EXIT.misbehaved, 'Check the log of the server and report the error there.'],
  ledger_corrupt: [EXIT.usage, 'The file was not changed. Restore it, or name another --ledger.'],
  config_invalid: [EXIT.usage, 'See --help.'],
};

/** The failure for a thrown value. */
export function failureOf(error: unknown): Failure {
  if (error instanceof UsageError)
    return { code: EXIT.usage, name: 'usage', message: error.message, hint: 'See --help.' };
  if (error instanceof CommanderError)
    return {
      code: error.exitCode === 0 ? EXIT.ok : EXIT.usage,
      name: 'usage',
      message:
        error.code === 'commander.help'
          ? 'There is no command. Name one of the commands above.'
          : sentence(error.message.replace(/^error: /, '')),
      hint:
        error.code === 'commander.unknownOption'
          ? 'See --help. If it is an argument that starts with "-", write -- before the arguments.'
          : 'See --help.',
    };
  if (error instanceof WireError)
    return {
      code: EXIT.rejected,
      name: error.name,
      message: error.message,
      hint: hintOf(error),
      ...(error.data === undefined ? {} : { data: error.data }),
    };
  if (error instanceof RemoteError)
    return {
      code: EXIT.rejected,
      name: `code ${error.code}`,
      message: error.message,
      hint: 'The extension does not define this error. Ask the operator of the server.',
    };
  if (error instanceof LocalError) {
    const [code, hint] = LOCAL[error.code] ?? [EXIT.failure, 'Report this as a bug.'];
    return { code, name: error.code, message: error.message, hint };
  }
  const { code, message } = Object(error) as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE')
    return {
      code: EXIT.usage,
      name: code,
      message: 'The port of the callback endpoint is in use.',
      hint: 'Choose another port with --port, or omit the option.',
    };
  if (typeof code === 'string' && /^E[A-Z]+$/.test(code))
    return {
      code: EXIT.usage,
      name: code,
      message: sentence(String(message).replace(`${code}: `, '')),
      hint: 'Check the files that the options name.',
    };
  return {
    code: EXIT.failure,
    name: 'unexpected',
    message: String(message ?? error),
    hint: 'Report this as a bug.',
  };
}

/** A message of Node or of the argument parser as a sentence. */
const sentence = (text: string): string =>
  `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`.replace(/[^.)?]$/, '$&.');

/** Advice for a typed error. */
function hintOf(error: WireError): string {
  if (error.is('InvalidParams'))
    return `Correct ${error.data.path === '' ? 'the params' : error.data.path}: expected ${error.data.expected}.`;
  if (error.is('Conflict')) {
    switch (error.data.kind) {
      case 'etag':
        return `The subscription was changed in between. Run "get" to see it, then repeat with --if-match ${error.data.etag}.`;
      case 'key':
        return `Subscription ${error.data.subscriptionId} has this key and other settings. Change it with "update", or choose another --key.`;
      default:
        return `The log is in epoch ${error.data.epoch} with head ${error.data.head}. Use a position of this epoch.`;
    }
  }
  if (error.is('NotFound')) {
    if (error.data.kind === 'trigger') return 'Run "list" to see the trigger types.';
    const { reason, final } = error.data;
    if (reason === undefined) return 'Run "subscriptions" to see your subscriptions.';
    return `The subscription has ended (${reason}). Run "watch" to subscribe again.${final === undefined ? '' : ` Its log ended in epoch ${final.epoch} at ${final.head}, acknowledged up to ${final.acked}.`}`;
  }
  if (error.is('Forbidden'))
    return 'The token does not permit this. Ask the operator of the server for access.';
  if (error.is('ResourceExhausted')) {
    const { max, retryAfterMs } = error.data;
    const limit = max === undefined ? '' : `The limit is ${max}. `;
    return retryAfterMs === undefined
      ? `${limit}Free something first, for example with "unsubscribe".`
      : `${limit}Try again in ${Math.ceil(retryAfterMs / 1000)} s.`;
  }
  if (error.is('Unsupported')) return 'Run "list" to see what each trigger type offers.';
  if (error.is('CallbackEndpointError')) {
    return `The server could not verify the callback (${error.data.category}). Use --drain stream, or start the server with TRIGGERS_UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS=true: otherwise it does not deliver to loopback addresses.`;
  }
  return 'The server failed. Its log has the cause.';
}
