/** The six parts of the demo. The last part checks what the others did. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Drain, Selection } from 'mcp-triggers-experimental';
import { GitHub, webhooks, type Posted, type Webhook } from './github.ts';
import { findingLine, seconds, tableHead, tableRow, type Screen } from './screen.ts';
import type { ServerProcess } from './server-process.ts';
import { verify } from './verify.ts';
import { Watcher } from './watchers.ts';

const EVENTS = [
  'push',
  'issues',
  'pull_request',
  'issue_comment',
  'check_run',
  'release',
  'star',
  'workflow_run',
];
const SELECT: readonly Selection[] = EVENTS.map((event) => ({ name: `github.${event}` }));
const DRAINS: readonly Drain[] = ['callback', 'stream', 'pull'];
const WORKERS = 4;
const BURST = 120;
/** The server is killed after this many responses. */
const KILL_AFTER = 50;
const DOWN_MS = 700;
const ARRIVE_WITHIN_MS = 20_000;

export interface DemoOptions {
  readonly server: ServerProcess;
  readonly secret: string;
  readonly screen: Screen;
  /** Fires when the demo has to end early. */
  readonly signal: AbortSignal;
  /** Adds a function that runs at the end in any case. The functions run in reverse order. */
  readonly defer: (run: () => Promise<unknown>) => void;
}

/** Runs the demo. Resolves with whether all checks passed. */
export async function runDemo({
  server,
  secret,
  screen,
  signal,
  defer,
}: DemoOptions): Promise<boolean> {
  const upstream = new GitHub(server.origin, secret);
  const next = webhooks(EVENTS);
  const accepted: Posted[] = [];
  const watchers: Watcher[] = [];
  let wake = (): void => undefined;

  const post = async (webhook: Webhook, onNoResponse?: () => void): Promise<Posted> => {
    const posted = await upstream.post(webhook, signal, onNoResponse);
    if (posted.status !== 202)
      throw new Error(
        `The server rejected a valid webhook with ${posted.status}. Report this as a bug.`,
      );
    accepted.push(posted);
    return posted;
  };
  /**
   * Waits until every client has every accepted event, for a limited time. If an event is still
   * missing then, the checks of the last part fail.
   */
  const settle = async (): Promise<void> => {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(ARRIVE_WITHIN_MS)]);
    const ended = Promise.race(watchers.map(({ ended: end }) => end));
    while (
      watchers.some(({ arrivals }) => arrivals.length < accepted.length) &&
      !deadline.aborted
    ) {
      const news = new Promise<void>((resolve) => (wake = resolve));
      await Promise.race([news, ended, sleep(100, undefined, { signal })]);
    }
  };
  const showOneByOne = async (count: number): Promise<void> => {
    screen.line(tableHead(watchers));
    for (let at = 0; at < count; at++) {
      const posted = await post(next.next().value);
      await settle();
      screen.line(tableRow(posted, watchers));
    }
  };

  screen.title(
    1,
    'A server, and three clients that follow the same GitHub events, each by another drain',
  );
  const startMs = await server.start();
  screen.fact(
    'server',
    `${server.url}, durable store, process ${server.pid}, ready after ${seconds(startMs)}`,
  );
  const token = await server.token();
  for (const drain of DRAINS) {
    const watcher = await Watcher.start({
      url: server.url,
      token,
      drain,
      select: SELECT,
      onArrival: () => wake(),
    });
    defer(() => watcher.close());
    watchers.push(watcher);
  }
  screen.fact(
    'callback',
    `signed POST requests to ${watchers[0]!.origin}/callback, which the server has verified`,
  );
  screen.fact('stream', 'notifications on one request that stays open');
  screen.fact('pull', 'requests that wait until there are events');

  screen.title(
    2,
    "GitHub's example payloads, signed and posted to /sources/github; time from post to arrival",
  );
  await showOneByOne(10);

  screen.title(3, 'A forged webhook: one character was changed after signing');
  const forged = await upstream.attempt(next.next().value, (body) => body.replace('"', "'"));
  screen.line(
    `   status ${forged.status}, ${forged.status === 401 ? 'no event was emitted' : 'EXPECTED 401'}`,
  );

  screen.title(4, `kill -9 during a burst of ${BURST} webhooks`);
  const crash = await burst(server, () => next.next().value, post, signal);
  await settle();
  screen.fact(
    'before',
    `${crash.before} webhooks had status 202, ${crash.inFlight} more were in flight and got no response`,
  );
  screen.fact(
    'killed',
    `process ${crash.killedPid} with SIGKILL; after ${seconds(crash.downMs)} process ${server.pid} runs on the same data`,
  );
  screen.fact(
    'repeated',
    `${crash.repeated} webhooks until they got a response; stored before the kill: ${crash.known}`,
  );
  screen.fact(
    'clients',
    `reconnected: ${watchers.map(({ drain, reconnects }) => `${drain} ${drain === 'callback' ? 'is called again' : `at attempt ${reconnects}`}`).join(', ')}`,
  );

  screen.title(5, 'The same clients continue, and so do the sequence numbers');
  await showOneByOne(5);

  screen.title(6, 'Checks');
  const findings = [
    ...verify(accepted, watchers),
    {
      ok: forged.status === 401,
      text: `the forged webhook was rejected with ${forged.status} and reached no client`,
    },
  ];
  for (const finding of findings) screen.line(findingLine(finding));
  const received = watchers
    .map(({ drain, wiretap: { times, duplicates } }) => `${drain} ${times.size + duplicates}`)
    .join(', ');
  screen.line(`        events received, repetitions included: ${received}`);
  return findings.every(({ ok }) => ok);
}

interface Crash {
  readonly before: number;
  readonly inFlight: number;
  readonly killedPid: number | undefined;
  readonly downMs: number;
  readonly repeated: number;
  readonly known: number;
}

/**
 * Posts several webhooks at once. Kills the server after some responses, and starts it again a
 * little later.
 */
async function burst(
  server: ServerProcess,
  next: () => Webhook,
  post: (webhook: Webhook, onNoResponse?: () => void) => Promise<Posted>,
  signal: AbortSignal,
): Promise<Crash> {
  const killedPid = server.pid;
  const posted: Posted[] = [];
  const inFlight = new Set<string>();
  let before = 0;
  let underWay = 0;
  let crash: Promise<number> | undefined;

  const crashAndRestart = async (): Promise<number> => {
    const killedAt = performance.now();
    await server.kill();
    await sleep(DOWN_MS, undefined, { signal });
    await server.start();
    return performance.now() - killedAt;
  };
  const worker = async (): Promise<void> => {
    for (let started = 0; underWay < BURST; started++) {
      underWay += 1;
      const webhook = next();
      posted.push(await post(webhook, () => inFlight.add(webhook.id)));
      if (crash === undefined && posted.length >= KILL_AFTER) {
        before = posted.length;
        crash = crashAndRestart();
        // The promise is awaited after the workers. Until then a rejection would be unhandled.
        crash.catch(() => undefined);
      }
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
  const downMs = await crash!;
  const again = posted.filter(({ attempts }) => attempts > 1);
  return {
    before,
    inFlight: inFlight.size,
    killedPid,
    downMs,
    repeated: again.length,
    known: again.filter(({ duplicate }) => duplicate).length,
  };
}
