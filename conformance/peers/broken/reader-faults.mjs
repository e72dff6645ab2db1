// Faults of the reader that the minimal client and the minimal receiver share. Each row replaces
// some of its decisions.

/** The rows by name, which consists of the requirement and the description. */
export const byName = (rows) =>
  Object.fromEntries(rows.map((row) => [`${row.check}: ${row.wrong}`, row]));

export const READER_FAULTS = [
  {
    check: 'recv-duplicate',
    wrong: 'applies a sequence number twice',
    overrides: { isDuplicate: () => false },
  },
  {
    check: 'recv-missing',
    wrong: 'skips missing sequence numbers',
    overrides: { isMissing: () => false },
  },
  {
    check: 'recv-elsewhere',
    wrong: 'passes silently over numbers that another reader has acknowledged',
    overrides: { tells: ({ applied }) => applied !== 'elsewhere' },
  },
  {
    check: 'recv-epoch',
    wrong: 'does not report that the log was lost',
    overrides: { tells: ({ applied }) => applied !== 'lost' },
  },
  {
    check: 'recv-epoch-repeat',
    wrong: 'applies renumbered events again',
    overrides: { isRepeated: () => false },
  },
  {
    check: 'recv-left-epoch',
    wrong: 'returns to an epoch that it has left',
    overrides: { isLeft: () => false },
  },
];

/** Whether every gap has a reason of this revision. */
export const hasKnownReasons = ({ gaps = [] }) =>
  gaps.every(({ reason }) =>
    ['retention', 'skipped', 'rejected', 'too_large', 'redacted'].includes(reason),
  );
