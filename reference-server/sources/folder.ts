/**
 * Events of a folder: files created, modified and deleted below it. The watcher only says where to look; what happened is the
 * difference between the file now and the version last told of, so bursts fold together and a full store loses nothing. A
 * version of a file has one id, so that a restart, which looks at every file again, repeats none.
 */
import { createHash } from 'node:crypto';
import { lstat, realpath } from 'node:fs/promises';
import { posix, relative, sep } from 'node:path';
import { watch, type FSWatcher } from 'chokidar';
import {
  defineTrigger,
  LocalError,
  systemClock,
  type Clock,
  type Log,
} from 'mcp-triggers-experimental/server';
import { z } from 'zod';
import type { Emit, Source } from '../source.ts';
import { readRefusal } from './refusals.ts';

export interface FolderSourceOptions {
  readonly folder: string;
  readonly log: Log;
  /** A file counts as written when it has not changed for this long. Default: 500 ms. */
  readonly settleMs?: number;
  /** Files that changed while the server was down are told of if that is not longer ago. Default: one day. */
  readonly catchUpMs?: number;
  readonly clock?: Clock;
}

const DAY_MS = 86_400_000;
const SETTLE_MS = 500;
const RETRY_MS = 5_000;
/** Born at most this long before it was last written, a file found at start counts as created. */
const WRITE_MS = 10_000;
/** Longer than `catchUpMs` may be: a version's id must be remembered for as long as a restart can tell of it again. */
const RETENTION = { maxAgeMs: 7 * DAY_MS, maxEvents: 10_000 };

const KINDS = ['created', 'modified', 'deleted'] as const;
type Kind = (typeof KINDS)[number];

const oneOrMore = <S extends z.ZodType>(one: S) =>
  z.union([one, z.array(one).min(1).max(64)]).optional();
const relativePath = z
  .string()
  .min(1)
  .max(4096)
  .regex(/^[^/].*[^/]$|^[^/]$/);

const fileChanged = defineTrigger({
  name: 'file.changed',
  description: 'A file in the watched folder was created, modified or deleted.',
  input: z.strictObject({
    kind: oneOrMore(z.enum(KINDS)).describe('What happened: one or several.'),
    path: oneOrMore(relativePath).describe(
      'Which file, relative to the watched folder, with slashes: one or several.',
    ),
    folder: oneOrMore(relativePath).describe(
      'Files anywhere below this folder, relative to the watched one, without a slash at its end: one or several.',
    ),
  }),
  payload: z.object({
    path: z.string().describe('Relative to the watched folder, with slashes.'),
    kind: z.enum(KINDS),
    size: z.int().min(0).describe('In bytes; of a deleted file, its last known size.'),
    modifiedAt: z.iso.datetime().describe('Of a deleted file, its last known one.'),
  }),
  attributes: { folder: ({ path }) => foldersAbove(path) },
  retention: RETENTION,
  history: { maxAgeMs: DAY_MS },
  ordering: 'arrival',
});

/** What is known of a file. */
interface Version {
  readonly id: string;
  readonly size: number;
  readonly modifiedAt: string;
  /** When its content or its place last changed, epoch milliseconds. */
  readonly changedMs: number;
  readonly bornMs: number;
}

/** `start` rejects if the folder does not exist; it resolves when every file there has been looked at. */
export function folderSource(options: FolderSourceOptions): Source {
  const { log, settleMs = SETTLE_MS, catchUpMs = DAY_MS, clock = systemClock } = options;
  const known = new Map<string, Version>();
  /** Paths to look at, in the order in which they were named; true = found at start, and perhaps there for years. */
  const pending = new Map<string, boolean>();
  let watcher: FSWatcher | null = null;
  let emit: Emit | null = null;
  let working: Promise<void> | null = null;
  let cancelRetry: (() => void) | null = null;

  const tell = async (to: Emit, path: string, kind: Kind, version: Version): Promise<void> => {
    const eventId = digest([path, kind === 'deleted', version.id]);
    const timestamp = kind === 'deleted' ? clock.now() : version.changedMs;
    await to(
      fileChanged.event({
        eventId,
        timestamp,
        data: { path, kind, size: version.size, modifiedAt: version.modifiedAt },
      }),
    );
  };

  const look = async (to: Emit, root: string, path: string, atStart: boolean): Promise<void> => {
    const before = known.get(path);
    const now = await versionOf(`${root}/${path}`);
    if (now?.id === before?.id) return;
    if (now === null) {
      if (before) await tell(to, path, 'deleted', before);
      known.delete(path);
      return;
    }
    const isNew = atStart ? now.changedMs - now.bornMs <= WRITE_MS : before === undefined;
    if (!atStart || now.changedMs >= clock.now() - catchUpMs)
      await tell(to, path, isNew ? 'created' : 'modified', now);
    known.set(path, now);
  };

  /** Works through the pending paths one by one. Where the store refuses for now, the path waits, and all after it. */
  const work = async (to: Emit, root: string): Promise<void> => {
    for (const [path, atStart] of pending) {
      if (emit !== to) return;
      pending.delete(path);
      try {
        await look(to, root, path, atStart);
      } catch (cause) {
        const again = readRefusal(cause).verdict === 'later';
        log.error({ source: 'folder', again, err: cause }, 'a change of a file was not accepted');
        if (!again) continue;
        pending.set(path, pending.get(path) ?? atStart);
        const retry = (): void => {
          cancelRetry = null;
          nudge(to, root);
        };
        cancelRetry = clock.after(RETRY_MS, retry, { background: true });
        return;
      }
    }
  };

  const nudge = (to: Emit, root: string): void => {
    if (emit !== to || working || cancelRetry) return;
    working = work(to, root).finally(() => (working = null));
  };

  return {
    triggers: [fileChanged],

    async start(to) {
      emit = to;
      let scanning = true;
      const root = await realpath(options.folder);
      if (!(await lstat(root)).isDirectory())
        throw new LocalError('config_invalid', 'What is to be watched is not a folder.');
      const watching = watch(root, {
        followSymlinks: false,
        ignorePermissionErrors: true,
        ignored: (path) =>
          relative(root, path)
            .split(sep)
            .some((part) => part.startsWith('.')),
        awaitWriteFinish: {
          stabilityThreshold: settleMs,
          pollInterval: Math.max(10, Math.min(100, settleMs / 4)),
        },
      });
      watcher = watching;
      watching.on('all', (what, path) => {
        if (what === 'addDir' || what === 'unlinkDir') return;
        const name = relative(root, path).split(sep).join(posix.sep);
        pending.set(name, pending.get(name) ?? scanning);
        if (!scanning) nudge(to, root);
      });
      await new Promise<void>((resolve, reject) =>
        watching.once('ready', resolve).once('error', reject),
      );
      watching.on('error', (cause) =>
        log.error({ source: 'folder', err: cause }, 'the folder cannot be watched completely'),
      );
      nudge(to, root);
      await working;
      scanning = false;
      nudge(to, root);
    },

    async stop() {
      emit = null;
      cancelRetry?.();
      cancelRetry = null;
      await watcher?.close();
      await working;
      watcher = null;
      pending.clear();
      known.clear();
    },
  };
}

/** Null if there is no regular file: a link is not followed, what it points at may be anywhere. */
async function versionOf(path: string): Promise<Version | null> {
  const stats = await lstat(path, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
    throw error;
  });
  if (!stats?.isFile()) return null;
  return {
    // The time of change tells a file that was moved away and back from one that never went.
    id: digest([stats.mtimeNs, stats.ctimeNs, stats.size, stats.ino].map(String)),
    size: Number(stats.size),
    modifiedAt: new Date(Number(stats.mtimeMs)).toISOString(),
    changedMs: Number(stats.mtimeMs > stats.ctimeMs ? stats.mtimeMs : stats.ctimeMs),
    bornMs: Number(stats.birthtimeMs),
  };
}

/** `a/b/c.txt` → `a`, `a/b`. */
function foldersAbove(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, at) => parts.slice(0, at + 1).join('/'));
}

const digest = (parts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
