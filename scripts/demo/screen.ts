/**
 * The output of the demo: plain lines of at most 100 columns, for readers who do not know the
 * extension.
 */
import type { Finding } from './verify.ts';
import type { Watcher } from './watchers.ts';
import type { Posted } from './github.ts';

const WIDTH = 100;
const EVENT = 57;
const LAG = 10;

export interface Screen {
  line(text?: string): void;
  title(number: number, text: string): void;
  /** A name and a value. */
  fact(name: string, text: string): void;
}

export function createScreen(write: (text: string) => void): Screen {
  const line = (text = '') => write(`${text.slice(0, WIDTH).trimEnd()}\n`);
  return {
    line,
    title: (number, text) => line(`\n${number}  ${text}`),
    fact: (name, text) => line(`   ${name.padEnd(9)} ${text}`),
  };
}

/** The head of a table of events. */
export const tableHead = (watchers: readonly Watcher[]): string =>
  `     no.  ${'event'.padEnd(EVENT)}${watchers.map(({ drain }) => drain.padStart(LAG)).join('')}`;

/**
 * A row of the table: the number of the event, which is the same for all clients, and the time
 * until each client had it.
 */
export function tableRow(posted: Posted, watchers: readonly Watcher[]): string {
  const arrivals = watchers.map(({ arrivals: all }) =>
    all.find(({ event }) => event.eventId === posted.webhook.id),
  );
  const numbers = [
    ...new Set(arrivals.map((arrival) => String(arrival?.event.sequence ?? '-'))),
  ].join('/');
  const lags = arrivals.map((arrival) =>
    (arrival === undefined ? 'missing' : `${Math.round(arrival.at - posted.firstAt)} ms`).padStart(
      LAG,
    ),
  );
  return `  ${numbers.padStart(6)}  ${about(posted).padEnd(EVENT)}${lags.join('')}`;
}

function about({ webhook }: Posted): string {
  const { action, repository } = JSON.parse(webhook.body) as {
    action?: string;
    repository?: { full_name: string };
  };
  return cut(
    `github.${webhook.event} ${[action, repository?.full_name].filter((part) => part !== undefined).join(' ')}`,
    EVENT - 1,
  );
}

const cut = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, width - 1)}…`;

export const findingLine = ({ ok, text }: Finding): string => `   ${ok ? 'ok  ' : 'FAIL'} ${text}`;

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
