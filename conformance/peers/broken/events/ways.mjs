// How the minimal client of SEP-3415 can be wrong: each row replaces decisions of it so that one requirement is broken. `check` is the requirement without
// prefix, `wrong` says in a few words what is wrong.
import { randomBytes } from 'node:crypto';

const FAR = 2 ** 31 - 1;
const secretOf = (bytes) => `whsec_${randomBytes(bytes).toString('base64')}`;

const ROWS = [
  {
    check: 'client-no-extension',
    wrong: 'tries whether there are events',
    how: { hasExtension: () => true },
  },
  {
    check: 'client-relist-on-list-changed',
    wrong: 'does not read the list again',
    how: { onListChanged: () => {} },
  },
  { check: 'client-poll-cursor', wrong: 'never sends a cursor', how: { pollCursor: () => null } },
  {
    check: 'client-poll-cursor',
    wrong: 'writes the cursor its own way',
    how: { pollCursor: (cursor) => (cursor === null ? null : encodeURIComponent(cursor)) },
  },
  {
    check: 'client-poll-drain-on-has-more',
    wrong: 'waits though there is more',
    how: { pauseMs: ({ nextPollMs }, floor) => Math.max(floor, nextPollMs) },
  },
  {
    check: 'client-poll-floor',
    wrong: 'polls without a pause when it may',
    how: { pauseMs: ({ hasMore, nextPollMs }) => (hasMore ? 0 : nextPollMs) },
  },
  {
    check: 'client-poll-respects-next-poll-ms',
    wrong: 'polls when it likes',
    how: { pauseMs: () => 150 },
  },
  {
    check: 'client-stream-no-final-result',
    wrong: 'waits for a result that will not come',
    how: { onBroken: () => new Promise(() => setInterval(() => {}, 60_000)) },
  },
  {
    check: 'client-stream-no-timeout',
    wrong: 'ends a stream as it ends a late request',
    how: { streamTimeoutMs: (ms) => ms },
  },
  {
    check: 'client-stream-reconnect-with-cursor',
    wrong: 'waits for ever on a silent stream',
    how: { silenceMs: () => FAR },
  },
  {
    check: 'client-stream-reconnect-with-cursor',
    wrong: 'begins anew',
    how: { streamCursor: () => null },
  },
  {
    check: 'client-stream-reconnect-with-cursor',
    wrong: 'gives a stream up too early',
    how: { silenceMs: (ms) => ms * 0.4 },
  },
  {
    check: 'client-error-is-recoverable',
    wrong: 'opens another stream after an error',
    how: {
      effect: (kind) => (kind === 'terminated' ? 'end' : kind === 'error' ? 'again' : undefined),
    },
  },
  {
    check: 'client-error-is-recoverable',
    wrong: 'takes an error for the end',
    how: { effect: (kind) => (kind === 'terminated' || kind === 'error' ? 'end' : undefined) },
  },
  {
    check: 'client-secret-format',
    wrong: 'has a short secret',
    how: { newSecret: () => secretOf(16) },
  },
  {
    check: 'client-secret-format',
    wrong: 'has a secret without its prefix',
    how: { newSecret: () => randomBytes(32).toString('base64') },
  },
  { check: 'client-secret-format', wrong: 'has none', how: { newSecret: () => undefined } },
  {
    check: 'client-refresh-before-expiry',
    wrong: 'never subscribes again',
    how: { refreshMs: () => FAR },
  },
  {
    check: 'client-refresh-before-expiry',
    wrong: 'subscribes again when it is over',
    how: { refreshMs: (refreshBefore) => Date.parse(refreshBefore) - Date.now() + 200 },
  },
  {
    check: 'client-refresh-before-expiry',
    wrong: 'refreshes under another URL',
    how: { hookUrl: (hook, n) => `${hook}/${n}` },
  },
  {
    check: 'client-null-cursor-not-replayed',
    wrong: 'keeps the cursor that it had',
    how: { kept: ({ cursor }, before) => cursor ?? before },
  },
  {
    check: 'client-null-cursor-not-replayed',
    wrong: 'writes null as text',
    how: { kept: ({ cursor }) => (cursor === undefined ? null : String(cursor)) },
  },
  {
    check: 'client-cursor-absent-tolerated',
    wrong: 'ends when a cursor is not there',
    how: { kept: ({ cursor }) => (cursor === undefined ? process.exit(1) : cursor) },
  },
  {
    check: 'client-cursor-absent-tolerated',
    wrong: 'keeps the cursor that it had',
    how: { kept: ({ cursor }, before) => (cursor === undefined ? before : cursor) },
  },
  {
    check: 'client-truncated-persists-fresh-cursor',
    wrong: 'goes on from where it was',
    how: {
      kept: ({ cursor = null, truncated }, before) =>
        truncated && before !== null ? before : cursor,
    },
  },
  {
    check: 'client-terminated-tells',
    wrong: 'opens another stream',
    how: { effect: (kind) => (kind === 'terminated' ? 'again' : undefined) },
  },
  {
    check: 'client-terminated-tells',
    wrong: 'ends silently',
    how: { tells: ({ applied }) => applied !== 'ended' },
  },
];

/** By name: the requirement and what is wrong. */
export const ways = Object.fromEntries(ROWS.map((row) => [`${row.check}: ${row.wrong}`, row]));
