/**
 * A source of file changes in a directory. The watcher only says which paths to check; each file is
 * compared with its version that was emitted last. So a burst of changes becomes one event, and no
 * change is lost while the store is full. A restart checks every file again; because the event id is
 * made from the version of the file, no version is emitted twice. Changes that the watcher
 * could not see, such as a deletion while the server was down, become a gap of reason `unwatched`.
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
import { emitFailure, type Emit, type Source } from './source.ts';

export interface FolderSourceOptions {
  readonly folder: string;
  /**
   * The data directory of the server. Its files are not watched: every event changes the store, and
   * would cause the next event.
   */
  readonly dataDir?: string;
  readonly log: Log;
  /** A file counts as completely written when it has not changed for this time. Default: 500 ms. */
  readonly settleMs?: number;
  /** At start, changes older than this are not emitted, in milliseconds. Default: one day. */
  readonly catchUpMs?: number;
  readonly clock?: Clock;
}

const DAY_MS = 86_400_000;
const SETTLE_MS = 500;
const RETRY_MS = 5_000;
/**
 * A file found at start counts as created if it was last changed within this time after its
 * creation, else as modified.
 */
const WRITE_MS = 10_000;
/**
 * `maxAgeMs` is longer than the default of `catchUpMs`, because the server must still know every
 * event id that a restart may emit again.
 */
const RETENTION = { maxAgeMs: 7 * DAY_MS, maxEvents: 10_000 };

/** Stands for every path in the set of paths that could not be checked. No path is empty. */
const WHOLE_FOLDER = '';
/** Most gaps for single paths; for more, the whole folder gets one. */
const UNSEEN_MAX = 100;

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
    kind: oneOrMore(z.enum(KINDS)).describe('Kinds of changes: one or several.'),
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

/** A version of a file. */
interface Version {
  readonly id: string;
  readonly size: number;
  readonly modifiedAt: string;
  /** When the content or the path last changed, in epoch milliseconds. */
  readonly changedMs: number;
  readonly bornMs: number;
}

/**
 * Creates the source. `start` resolves when every file has been checked, or earlier if the store
 * rejects an event for the moment. It rejects if the path does not exist or is not a directory.
 */
export function folderSource(options: FolderSourceOptions): Source {
  const { log, settleMs = SETTLE_MS, catchUpMs = DAY_MS, clock = systemClock } = options;
  const known = new Map<string, Version>();
  /** The paths to check, in the order of the watcher's reports; true = found at start. */
  const pending = new Map<string, boolean>();
  /** The paths that could not be checked and whose logs have no gap yet. */
  const unseen = new Set<string>();
  let watcher: FSWatcher | null = null;
  let emit: Emit | null = null;
  /**
   * Identifies the watched folder, so that the files of another folder have identities of their
   * own.
   */
  let scope = '';
  let checking: Promise<void> | null = null;
  let cancelRetry: (() => void) | null = null;

  const emitChange = async (
    to: Emit,
    path: string,
    kind: Kind,
    version: Version,
  ): Promise<void> => {
    const eventId = digest([path, kind === 'deleted', version.id]);
    const timestamp = kind === 'deleted' ? clock.now() : version.changedMs;
    await to(
      fileChanged.event({
        scope,
        eventId,
        timestamp,
        data: { path, kind, size: version.size, modifiedAt: version.modifiedAt },
      }),
    );
  };

  const checkPath = async (
    to: Emit,
    root: string,
    path: string,
    atStart: boolean,
  ): Promise<void> => {
    const before = known.get(path);
    const now = await versionOf(`${root}/${path}`);
    if (now?.id === before?.id) return;
    if (now === null) {
      if (before) await emitChange(to, path, 'deleted', before);
      known.delete(path);
      return;
    }
    const isNew = atStart ? now.changedMs - now.bornMs <= WRITE_MS : before === undefined;
    if (!atStart || now.changedMs >= clock.now() - catchUpMs)
      await emitChange(to, path, isNew ? 'created' : 'modified', now);
    known.set(path, now);
  };

  /**
   * Checks the pending paths one by one. If the store rejects an event for the moment, stops; its
   * path and all later ones are checked again after {@link RETRY_MS}.
   */
  const checkPending = async (to: Emit, root: string): Promise<void> => {
    if (!(await reportUnseen(to))) return checkLater(to, root);
    for (const [path, atStart] of pending) {
      if (emit !== to) return;
      pending.delete(path);
      try {
        await checkPath(to, root, path, atStart);
      } catch (cause) {
        const again = emitFailure(cause).kind === 'transient';
        log.error(
          { source: 'folder', again, err: cause },
          again
            ? 'file change not accepted; trying again in 5 s'
            : 'file could not be checked; its log gets a gap',
        );
        if (again) {
          pending.set(path, pending.get(path) ?? atStart);
          return checkLater(to, root);
        }
        unseen.add(path);
        if (!(await reportUnseen(to))) return checkLater(to, root);
      }
    }
  };

  const checkLater = (to: Emit, root: string): void => {
    const retry = (): void => {
      cancelRetry = null;
      startChecking(to, root);
    };
    cancelRetry = clock.after(RETRY_MS, retry, { background: true });
  };

  /**
   * Emits a gap for each path that could not be checked, or one for the whole folder. Resolves with
   * false if the store rejects it for the moment; the gap is then emitted later.
   */
  const reportUnseen = async (to: Emit): Promise<boolean> => {
    const paths =
      unseen.has(WHOLE_FOLDER) || unseen.size > UNSEEN_MAX ? [WHOLE_FOLDER] : [...unseen];
    for (const path of paths) {
      const only = path === WHOLE_FOLDER ? {} : { arguments: argumentsOf(path) };
      try {
        await to({ scope, name: 'file.changed', gap: 'unwatched', ...only });
      } catch (cause) {
        const again = emitFailure(cause).kind === 'transient';
        log.error(
          { source: 'folder', again, err: cause },
          again ? 'gap not accepted; trying again in 5 s' : 'gap not accepted; nobody learns of it',
        );
        if (again) return false;
      }
      unseen.delete(path);
    }
    if (paths[0] === WHOLE_FOLDER) unseen.clear();
    return true;
  };

  const startChecking = (to: Emit, root: string): void => {
    if (emit !== to || checking || cancelRetry) return;
    checking = checkPending(to, root).finally(() => (checking = null));
  };

  return {
    triggers: [fileChanged],

    async start(to) {
      emit = to;
      // Nobody watched before this start: deletions, and all but the last version of a file, are
      // lost.
      unseen.add(WHOLE_FOLDER);
      let scanning = true;
      const root = await realpath(options.folder).catch((cause: NodeJS.ErrnoException) => {
        throw new LocalError(
          'config_invalid',
          `The watch folder cannot be opened (${cause.code}). Set TRIGGERS_WATCH_FOLDER to a directory that exists and that this user can read.`,
          { cause },
        );
      });
      if (!(await lstat(root)).isDirectory())
        throw new LocalError(
          'config_invalid',
          'The watch path is not a directory. Set TRIGGERS_WATCH_FOLDER to a directory.',
        );
      const dataDir = options.dataDir === undefined ? null : await realpath(options.dataDir);
      if (dataDir !== null && isWithin(dataDir, root))
        throw new LocalError(
          'config_invalid',
          'The watch folder is in the data directory. Set TRIGGERS_WATCH_FOLDER or TRIGGERS_DATA_DIR to another directory.',
        );
      scope = `folder/${digest([root])}`;
      const watching = watch(root, {
        followSymlinks: false,
        ignorePermissionErrors: true,
        ignored: (path) =>
          (dataDir !== null && isWithin(dataDir, path)) ||
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
        if (!scanning) startChecking(to, root);
      });
      await new Promise<void>((resolve, reject) =>
        watching.once('ready', resolve).once('error', reject),
      );
      watching.on('error', (cause) => {
        log.error(
          { source: 'folder', err: cause },
          'watching the folder failed; logs get a gap, because changes may be missed',
        );
        unseen.add(WHOLE_FOLDER);
        // Errors come in bursts, which share one gap.
        if (!checking && !cancelRetry) checkLater(to, root);
      });
      startChecking(to, root);
      await checking;
      scanning = false;
      startChecking(to, root);
    },

    async stop() {
      emit = null;
      cancelRetry?.();
      cancelRetry = null;
      await watcher?.close();
      await checking;
      watcher = null;
      pending.clear();
      known.clear();
      unseen.clear();
    },
  };
}

/** Whether `path` is `folder` or below it. */
const isWithin = (folder: string, path: string): boolean =>
  path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);

/**
 * The version of a file; null = the path is not a regular file. Does not follow links, because they
 * may lead out of the directory.
 */
async function versionOf(path: string): Promise<Version | null> {
  const stats = await lstat(path, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
    throw error;
  });
  if (!stats?.isFile()) return null;
  return {
    // Only `ctime` shows that a file was moved away and back.
    id: digest([stats.mtimeNs, stats.ctimeNs, stats.size, stats.ino].map(String)),
    size: Number(stats.size),
    modifiedAt: new Date(Number(stats.mtimeMs)).toISOString(),
    changedMs: Number(stats.mtimeMs > stats.ctimeMs ? stats.mtimeMs : stats.ctimeMs),
    bornMs: Number(stats.birthtimeMs),
  };
}

/** The arguments of an event about this path, except for its kind, which is not known. */
function argumentsOf(path: string): Record<string, unknown> {
  const folders = foldersAbove(path);
  return { path, ...(folders.length === 0 ? {} : { folder: folders }) };
}

/** `a/b/c.txt` → `a`, `a/b`. */
function foldersAbove(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, at) => parts.slice(0, at + 1).join('/'));
}

const digest = (parts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
