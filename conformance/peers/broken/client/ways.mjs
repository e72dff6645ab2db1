// How the minimal client can be wrong: each row replaces decisions of it so that one requirement is broken. `check` is the requirement without
// prefix, `wrong` says in a few words what is wrong.

const FAR = 2 ** 31 - 1;
const SETTINGS = new Set([
  'listChanged',
  'drains',
  'durability',
  'minTtlMs',
  'maxTtlMs',
  'jwksUri',
]);
const DELIVERY = new Set([
  'resultType',
  'subscriptionId',
  'key',
  'epoch',
  'after',
  'events',
  'gaps',
  'head',
  'acked',
  'etag',
  'status',
  'expiresAt',
  'challenge',
  'terminated',
  'hasMore',
  'nextPollMs',
  '_meta',
]);
const isAll = (known) => (object) => Object.keys(object).every((name) => known.has(name));

const ROWS = [
  {
    check: 'gen-ignore-unknown',
    wrong: 'reads no delivery with a member that it does not know',
    how: { canRead: isAll(DELIVERY) },
  },
  {
    check: 'gen-ignore-unknown',
    wrong: 'takes settings with a member that it does not know for none',
    how: { hasExtension: (settings) => settings !== undefined && isAll(SETTINGS)(settings) },
  },
  {
    check: 'cap-no-call',
    wrong: 'calls methods that were not declared',
    how: { hasExtension: () => true },
  },
  {
    check: 'cap-method-not-found',
    wrong: 'takes -32601 for a passing failure',
    how: {
      meaning: ({ data }) => (data?.kind === 'subscription' ? 'gone' : (data?.kind ?? 'transient')),
    },
  },
  {
    check: 'list-changed-reread',
    wrong: 'does not read the list again',
    how: { onListChanged: () => {} },
  },
  {
    check: 'list-changed-reread',
    wrong: 'reads the list again without its ETag',
    how: { onListChanged: (_list, call) => call('triggers/list') },
  },
  {
    check: 'uns-client-idempotent',
    wrong: 'takes NotFound for a failure to unsubscribe',
    how: { isUnsubscribed: () => false },
  },
  { check: 'ttl-client-renews', wrong: 'never renews', how: { renewAfterMs: () => FAR } },
  {
    check: 'ttl-client-renews',
    wrong: 'renews with an update that grants nothing',
    how: { renewal: ({ subscriptionId }) => ({ subscriptionId }) },
  },
  {
    check: 'gap-client-tells',
    wrong: 'skips gaps silently',
    how: { tells: ({ applied }) => applied !== 'gap' },
  },
  {
    check: 'ack-client-durable',
    wrong: 'acknowledges what it has not handed on yet',
    how: { hands: (line, say) => setTimeout(say, 500, line) },
  },
  {
    check: 'dlv-repeat',
    wrong: 'ends when it gets a number twice',
    how: { isDuplicate: (number, { sequence }) => (number <= sequence ? process.exit(1) : false) },
  },
  { check: 'recv-duplicate', wrong: 'applies a number twice', how: { isDuplicate: () => false } },
  { check: 'recv-missing', wrong: 'jumps over missing numbers', how: { isMissing: () => false } },
  {
    check: 'recv-missing-fetch',
    wrong: 'leaves out what is not next, and waits',
    how: { onMissing: () => {} },
  },
  {
    check: 'recv-epoch',
    wrong: 'does not tell that the log was lost',
    how: { tells: ({ applied }) => applied !== 'lost' },
  },
  {
    check: 'recv-epoch-repeat',
    wrong: 'applies renumbered events again',
    how: { isRepeated: () => false },
  },
  {
    check: 'recv-left-epoch',
    wrong: 'goes back to an epoch that it has left',
    how: { isLeft: () => false },
  },
  {
    check: 'sig-raw-bytes',
    wrong: 'verifies what it has parsed and written again',
    how: { signed: (raw) => Buffer.from(JSON.stringify(JSON.parse(raw))) },
  },
  {
    check: 'curl-explicit-key',
    wrong: 'registers a signed URL without a key',
    how: { key: () => undefined },
  },
  {
    check: 'stream-client-dead',
    wrong: 'waits for ever on a silent stream',
    how: { silenceMs: () => FAR },
  },
  {
    check: 'stream-client-dead',
    wrong: 'gives a stream up too early',
    how: { silenceMs: (ms) => ms / 3 },
  },
  {
    check: 'stream-client-no-timeout',
    wrong: 'ends a stream as it ends a late request',
    how: { streamTimeoutMs: (ms) => ms },
  },
  {
    check: 'pull-next-honoured',
    wrong: 'pulls again when it likes',
    how: { nextPullMs: () => 50 },
  },
  {
    check: 'rec-from-applied',
    wrong: 'begins anew after a broken connection',
    how: { after: (applied) => ({ ...applied, sequence: 0 }) },
  },
  {
    check: 'rec-from-applied',
    wrong: 'relies on what the server has acknowledged',
    how: { after: () => undefined },
  },
  {
    check: 'rec-from-applied',
    wrong: 'goes on at the head that it has heard of',
    how: { after: (applied, head) => ({ ...applied, sequence: Math.max(head, applied.sequence) }) },
  },
  { check: 'rec-backoff', wrong: 'tries again after the same pause', how: { pauseMs: () => 150 } },
  { check: 'rec-backoff', wrong: 'tries again at once', how: { pauseMs: () => 1 } },
  {
    check: 'rec-tell',
    wrong: 'does not tell that the subscription expired',
    how: { tells: ({ reason }) => reason !== 'expired' },
  },
  {
    check: 'rec-tell',
    wrong: 'does not tell that the log was lost',
    how: { tells: ({ applied, reason }) => applied !== 'lost' || reason === 'expired' },
  },
  {
    check: 'err-client-unknown',
    wrong: 'decides by the message',
    how: {
      meaning: ({ code, message }) =>
        code === -32601
          ? 'absent'
          : /another epoch/.test(message)
            ? 'epoch'
            : /beyond/.test(message)
              ? 'position'
              : /not found/.test(message)
                ? 'gone'
                : 'transient',
    },
  },
];

/** By name: the requirement and what is wrong. */
export const ways = Object.fromEntries(ROWS.map((row) => [`${row.check}: ${row.wrong}`, row]));
