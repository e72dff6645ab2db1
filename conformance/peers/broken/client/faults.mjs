// Faults of the minimal client. Each row replaces some of its decisions so that it breaks one
// requirement. `check` is the requirement without prefix; `wrong` describes the fault.
import { byName, READER_FAULTS, hasKnownReasons } from '../reader-faults.mjs';

const FAR = 2 ** 31 - 1;
const SETTINGS = new Set(['revision', 'levels', 'options', 'minTtlMs', 'maxTtlMs', 'jwksUri']);
const DELIVERY = new Set([
  'resultType',
  'subscriptionId',
  'key',
  'epoch',
  'afterSequence',
  'events',
  'gaps',
  'head',
  'acked',
  'etag',
  'expiresAt',
  'terminated',
  'hasMore',
  'nextPollMs',
  'requestId',
  '_meta',
]);
const isAll = (known) => (object) => Object.keys(object).every((name) => known.has(name));

const ROWS = [
  {
    check: 'gen-ignore-unknown',
    wrong: 'rejects a gap for an unknown reason',
    overrides: { canRead: hasKnownReasons },
  },
  {
    check: 'gen-ignore-unknown',
    wrong: 'rejects a delivery with an unknown member',
    overrides: { canRead: isAll(DELIVERY) },
  },
  {
    check: 'gen-ignore-unknown',
    wrong: 'treats settings with an unknown member as missing',
    overrides: {
      hasExtension: (settings) => settings?.revision === '2026-12-01' && isAll(SETTINGS)(settings),
    },
  },
  {
    check: 'cap-no-call',
    wrong: 'calls methods although the server does not declare the extension',
    overrides: { hasExtension: () => true },
  },
  {
    check: 'cap-revision',
    wrong: 'uses the extension in a revision that it does not know',
    overrides: { hasExtension: (settings) => settings !== undefined },
  },
  {
    check: 'cap-no-call',
    wrong: 'treats -32601 as a transient failure',
    overrides: {
      meaning: ({ data }) => (data?.kind === 'subscription' ? 'gone' : (data?.kind ?? 'transient')),
    },
  },
  {
    check: 'list-changed-reread',
    wrong: 'does not read the list again after list_changed',
    overrides: { onListChanged: () => {} },
  },
  {
    check: 'list-changed-reread',
    wrong: 'reads the list again without its ETag',
    overrides: { onListChanged: (_list, call) => call('triggers/list') },
  },
  {
    check: 'err-client-unknown',
    wrong: 'treats NotFound for an unsubscribe as a failure',
    overrides: { isUnsubscribed: () => false },
  },
  { check: 'ttl-client-renews', wrong: 'never renews', overrides: { renewAfterMs: () => FAR } },
  {
    check: 'ttl-client-renews',
    wrong: 'renews with an update that carries no ttlMs',
    overrides: { renewal: ({ subscriptionId }) => ({ subscriptionId }) },
  },
  {
    check: 'rec-tell',
    wrong: 'skips gaps silently',
    overrides: { tells: ({ applied }) => applied !== 'gap' },
  },
  {
    check: 'ack-client-durable',
    wrong: 'acknowledges an event before handing it to the application',
    overrides: { hands: (line, say) => setTimeout(say, 500, line) },
  },
  {
    check: 'recv-duplicate',
    wrong: 'exits when a sequence number repeats',
    overrides: {
      isDuplicate: (number, { sequence }) => (number <= sequence ? process.exit(1) : false),
    },
  },
  {
    check: 'recv-missing-fetch',
    wrong: 'drops an out-of-order delivery and fetches nothing',
    overrides: { onMissing: () => {} },
  },
  {
    check: 'recv-elsewhere',
    wrong: 'refuses what follows numbers that another reader has acknowledged',
    overrides: {
      isMissing: ({ afterSequence }, { sequence }) => afterSequence > sequence,
      catchesUp: ({ afterSequence, acked }) => afterSequence > acked,
    },
  },
  {
    check: 'sig-raw-bytes',
    wrong: 'verifies the signature over a re-serialized body',
    overrides: { signed: (raw) => Buffer.from(JSON.stringify(JSON.parse(raw))) },
  },
  {
    check: 'stream-client-dead',
    wrong: 'waits forever on a silent stream',
    overrides: { silenceMs: () => FAR },
  },
  {
    check: 'stream-client-dead',
    wrong: 'gives up a stream too early',
    overrides: { silenceMs: (ms) => ms / 3 },
  },
  {
    check: 'stream-client-no-timeout',
    wrong: 'applies the request timeout to a stream',
    overrides: { streamTimeoutMs: (ms) => ms },
  },
  {
    check: 'pull-next-honoured',
    wrong: 'ignores nextPollMs',
    overrides: { nextPullMs: () => 50 },
  },
  {
    check: 'rec-from-applied',
    wrong: 'reads the log from the start after a broken connection',
    overrides: { after: (applied) => ({ ...applied, sequence: 0 }) },
  },
  {
    check: 'rec-from-applied',
    wrong: "resumes from the server's acknowledged position",
    overrides: { after: () => undefined },
  },
  {
    check: 'rec-from-applied',
    wrong: 'resumes at the head that the server reported',
    overrides: {
      after: (applied, head) => ({ ...applied, sequence: Math.max(head, applied.sequence) }),
    },
  },
  {
    check: 'rec-backoff',
    wrong: 'retries after a constant pause',
    overrides: { pauseMs: () => 150 },
  },
  { check: 'rec-backoff', wrong: 'retries at once', overrides: { pauseMs: () => 1 } },
  {
    check: 'rec-tell',
    wrong: 'does not report that the subscription expired',
    overrides: { tells: ({ reason }) => reason !== 'expired' },
  },
  {
    check: 'rec-tell',
    wrong: 'does not report that the log was lost',
    overrides: { tells: ({ applied, reason }) => applied !== 'lost' || reason === 'expired' },
  },
  {
    check: 'err-client-unknown',
    wrong: 'classifies an error by its message text',
    overrides: {
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

/** The faults by name, which consists of the requirement and the description. */
export const faults = byName([...READER_FAULTS, ...ROWS]);
