// Faults of the minimal SEP-3415 client. Each row replaces some of its decisions so that it breaks
// one requirement. `check` is the requirement without prefix; `wrong` describes the fault.
import { randomBytes } from 'node:crypto';
import { byName } from '../reader-faults.mjs';

const FAR = 2 ** 31 - 1;
const secretOf = (bytes) => `whsec_${randomBytes(bytes).toString('base64')}`;

const ROWS = [
  {
    check: 'client-no-extension',
    wrong: 'calls the extension although the server does not declare it',
    overrides: { hasExtension: () => true },
  },
  {
    check: 'client-relist-on-list-changed',
    wrong: 'does not read the list again after list_changed',
    overrides: { onListChanged: () => {} },
  },
  {
    check: 'client-poll-cursor',
    wrong: 'never sends a cursor',
    overrides: { pollCursor: () => null },
  },
  {
    check: 'client-poll-cursor',
    wrong: 're-encodes the cursor',
    overrides: { pollCursor: (cursor) => (cursor === null ? null : encodeURIComponent(cursor)) },
  },
  {
    check: 'client-poll-drain-on-has-more',
    wrong: 'waits although hasMore is true',
    overrides: { pauseMs: ({ nextPollMs }, floor) => Math.max(floor, nextPollMs) },
  },
  {
    check: 'client-poll-floor',
    wrong: 'ignores its poll floor',
    overrides: { pauseMs: ({ hasMore, nextPollMs }) => (hasMore ? 0 : nextPollMs) },
  },
  {
    check: 'client-poll-respects-next-poll-ms',
    wrong: 'ignores nextPollMs',
    overrides: { pauseMs: () => 150 },
  },
  {
    check: 'client-stream-no-final-result',
    wrong: 'waits for the result of a broken stream',
    overrides: { onBroken: () => new Promise(() => setInterval(() => {}, 60_000)) },
  },
  {
    check: 'client-stream-no-timeout',
    wrong: 'applies the request timeout to a stream',
    overrides: { streamTimeoutMs: (ms) => ms },
  },
  {
    check: 'client-stream-reconnect-with-cursor',
    wrong: 'waits forever on a silent stream',
    overrides: { silenceMs: () => FAR },
  },
  {
    check: 'client-stream-reconnect-with-cursor',
    wrong: 'reconnects without a cursor',
    overrides: { streamCursor: () => null },
  },
  {
    check: 'client-stream-reconnect-with-cursor',
    wrong: 'gives up a stream too early',
    overrides: { silenceMs: (ms) => ms * 0.4 },
  },
  {
    check: 'client-error-is-recoverable',
    wrong: 'opens another stream after an error notification',
    overrides: {
      effect: (kind) => (kind === 'terminated' ? 'end' : kind === 'error' ? 'again' : undefined),
    },
  },
  {
    check: 'client-error-is-recoverable',
    wrong: 'treats an error notification as the end',
    overrides: {
      effect: (kind) => (kind === 'terminated' || kind === 'error' ? 'end' : undefined),
    },
  },
  {
    check: 'client-secret-format',
    wrong: 'uses a secret that is too short',
    overrides: { newSecret: () => secretOf(16) },
  },
  {
    check: 'client-secret-format',
    wrong: 'uses a secret without the whsec_ prefix',
    overrides: { newSecret: () => randomBytes(32).toString('base64') },
  },
  {
    check: 'client-secret-format',
    wrong: 'sends no secret',
    overrides: { newSecret: () => undefined },
  },
  {
    check: 'client-refresh-before-expiry',
    wrong: 'never refreshes',
    overrides: { refreshMs: () => FAR },
  },
  {
    check: 'client-refresh-before-expiry',
    wrong: 'refreshes after the expiry',
    overrides: { refreshMs: (refreshBefore) => Date.parse(refreshBefore) - Date.now() + 200 },
  },
  {
    check: 'client-refresh-before-expiry',
    wrong: 'refreshes under another URL',
    overrides: { hookUrl: (hook, n) => `${hook}/${n}` },
  },
  {
    check: 'client-null-cursor-not-replayed',
    wrong: 'keeps its old cursor after a null cursor',
    overrides: { kept: ({ cursor }, before) => cursor ?? before },
  },
  {
    check: 'client-null-cursor-not-replayed',
    wrong: 'stores null as text',
    overrides: { kept: ({ cursor }) => (cursor === undefined ? null : String(cursor)) },
  },
  {
    check: 'client-cursor-absent-tolerated',
    wrong: 'exits when a cursor is absent',
    overrides: { kept: ({ cursor }) => (cursor === undefined ? process.exit(1) : cursor) },
  },
  {
    check: 'client-cursor-absent-tolerated',
    wrong: 'keeps its old cursor when a cursor is absent',
    overrides: { kept: ({ cursor }, before) => (cursor === undefined ? before : cursor) },
  },
  {
    check: 'client-truncated-persists-fresh-cursor',
    wrong: 'keeps its old cursor after a truncated result',
    overrides: {
      kept: ({ cursor = null, truncated }, before) =>
        truncated && before !== null ? before : cursor,
    },
  },
  {
    check: 'client-terminated-tells',
    wrong: 'opens another stream after terminated',
    overrides: { effect: (kind) => (kind === 'terminated' ? 'again' : undefined) },
  },
  {
    check: 'client-terminated-tells',
    wrong: 'does not report terminated',
    overrides: { tells: ({ applied }) => applied !== 'ended' },
  },
];

/** The faults by name, which consists of the requirement and the description. */
export const faults = byName(ROWS);
