/** The demo as a story in six chapters. Each shows something and leaves behind what the last one checks. */
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
/** After so many answers the server is killed, in the middle of the others. */
const KILL_AFTER = 50;
const DOWN_MS = 700;
const ARRIVE_WITHIN_MS = 20_000;

export interface Cast {
  readonly server: ServerProcess;
  readonly secret: string;
  readonly screen: Screen;
  /** Fires when the demo is to end early. */
  readonly signal: AbortSignal;
  /** Runs at the end, whatever happens, last first. */
  readonly defer: (run: () => Promise<unknown>) => void;
}

/** Tells it. Resolves with whether everything held. */
export async function tell({ server, secret, screen, signal, defer }: Cast): Promise<boolean> {
  const upstream = new GitHub(server.origin, secret);
  const next = webhooks(EVENTS);
  const accepted: Posted[] = [];
  const watchers: Watcher[] = [];
  let wake = (): void => undefined;

  const post = async (webhook: Webhook, onUnanswered?: () => void): Promise<Posted> => {
    const posted = await upstream.post(webhook, signal, onUnanswered);
    if (posted.status !== 202) throw new Error(`A genuine webhook was answered ${posted.status}.`);
    accepted.push(posted);
    return posted;
  };
  /** Until everything that was accepted has arrived everywhere. Being late is not hidden: the last chapter finds it missing. */
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
    'A server, and three clients that follow the same GitHub events, each in its own way',
  );
  const startMs = await server.start();
  screen.fact(
    'server',
    `${server.url}  durable store, process ${server.pid}, ready after ${seconds(startMs)}`,
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
    `signed POST to ${watchers[0]!.origin}/callback, which proved that it knows the secret`,
  );
  screen.fact('stream', 'notifications on one request that stays open');
  screen.fact('pull', 'a request that waits until there is something');

  screen.title(
    2,
    "GitHub's own example payloads, signed, posted to /sources/github; time from post to arrival",
  );
  await showOneByOne(10);

  screen.title(3, 'A forged webhook: one character changed after it was signed');
  const forged = await upstream.attempt(next.next().value, (body) => body.replace('"', "'"));
  screen.line(
    `   answered ${forged.status}; ${forged.status === 401 ? 'nothing was appended' : 'THIS SHOULD HAVE BEEN 401'}`,
  );

  screen.title(4, `kill -9 in the middle of a burst of ${BURST} webhooks`);
  const crash = await burst(server, () => next.next().value, post, signal);
  await settle();
  screen.fact(
    'before',
    `${crash.before} webhooks answered 202, ${crash.unanswered} more were under way and got no answer`,
  );
  screen.fact(
    'killed',
    `process ${crash.killedPid} with SIGKILL, away for ${seconds(crash.downMs)}, back on the same data as process ${server.pid}`,
  );
  screen.fact(
    'repeated',
    `${crash.repeated} webhooks until they were answered; ${crash.known} of them the server had kept already`,
  );
  screen.fact(
    'clients',
    `back by themselves: ${watchers.map(({ drain, reconnects }) => `${drain} ${drain === 'callback' ? 'was called again' : `at attempt ${reconnects}`}`).join(', ')}`,
  );

  screen.title(5, 'The same clients go on, and so do the numbers');
  await showOneByOne(5);

  screen.title(6, 'What arrived');
  const findings = [
    ...verify(accepted, watchers),
    {
      ok: forged.status === 401,
      text: `the forged webhook was refused with ${forged.status} and arrived nowhere`,
    },
  ];
  for (const finding of findings) screen.line(findingLine(finding));
  const received = watchers
    .map(({ drain, wiretap: { times, duplicates } }) => `${drain} ${times.size + duplicates}`)
    .join(', ');
  screen.line(`        received on the wire, repeats included: ${received}`);
  return findings.every(({ ok }) => ok);
}

interface Crash {
  readonly before: number;
  readonly unanswered: number;
  readonly killedPid: number | undefined;
  readonly downMs: number;
  readonly repeated: number;
  readonly known: number;
}

/** Several posts at once; after some answers the server dies without warning and is started again a little later. */
async function burst(
  server: ServerProcess,
  next: () => Webhook,
  post: (webhook: Webhook, onUnanswered?: () => void) => Promise<Posted>,
  signal: AbortSignal,
): Promise<Crash> {
  const killedPid = server.pid;
  const posted: Posted[] = [];
  const unanswered = new Set<string>();
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
      posted.push(await post(webhook, () => unanswered.add(webhook.id)));
      if (crash === undefined && posted.length >= KILL_AFTER) {
        before = posted.length;
        crash = crashAndRestart();
        // Awaited below, after the workers: until then it is nobody's.
        crash.catch(() => undefined);
      }
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
  const downMs = await crash!;
  const again = posted.filter(({ attempts }) => attempts > 1);
  return {
    before,
    unanswered: unanswered.size,
    killedPid,
    downMs,
    repeated: again.length,
    known: again.filter(({ duplicate }) => duplicate).length,
  };
}
