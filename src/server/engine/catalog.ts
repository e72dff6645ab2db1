/**
 * The trigger types that the server declares: their schemas, the event values that arguments are
 * compared with, and `triggers/list` (SEP: Trigger types, triggers/list).
 */
import { createHash } from 'node:crypto';
import type {
  Drain,
  ListTriggersNotModified,
  ListTriggersRequestParams,
  ListTriggersResult,
  Selection as WireSelection,
  TriggerType,
} from '../../../spec-schema/draft/schema.ts';
import type { Retention, Selection } from '../../protocol/core/types.ts';
import { invalidParams, LocalError, notFound, unsupported } from '../../protocol/wire/errors.ts';
import { RETENTION_AGE_MS, RETENTION_EVENTS } from '../../protocol/wire/limits.ts';
import { compileUserSchema, type UserValidator } from '../../protocol/wire/user-schema.ts';
import { check } from '../../protocol/wire/validate.ts';
import type { DeclaredTrigger } from './verbs.ts';

/** Trigger types per page of `triggers/list`. */
const PAGE = 100;
/** Time for which a client may cache the list. */
const LIST_TTL_MS = 300_000;

/** Retention of a type that declares none. */
const DEFAULT_RETENTION: Retention = {
  maxAgeMs: RETENTION_AGE_MS,
  maxEvents: RETENTION_EVENTS,
};

export interface Declared {
  readonly type: TriggerType;
  readonly declared: DeclaredTrigger;
  readonly checkArguments: UserValidator;
  readonly checkPayload: UserValidator;
  /** Validates some of the arguments: `inputSchema` without what it requires. */
  readonly checkSome: UserValidator;
}

type Match = (args: Readonly<Record<string, unknown>>, data: unknown) => boolean;

export class Catalog {
  readonly #types = new Map<string, Declared>();
  #etag: string | null = null;

  constructor(triggers: readonly DeclaredTrigger[]) {
    for (const trigger of triggers) {
      if (this.#types.has(trigger.type.name))
        throw invalidType(
          trigger.type.name,
          'is declared twice. Give each type of a server its own name.',
        );
      this.declare(trigger);
    }
  }

  /**
   * Adds a type, or replaces the one with the same name. Throws `LocalError`: `config_invalid`
   * for an invalid type, `schema_refused` for an invalid schema.
   */
  declare(declared: DeclaredTrigger): void {
    const { name } = declared.type;
    const type: TriggerType = {
      ...declared.type,
      drains: declared.type.drains ?? ['callback', 'stream', 'pull'],
      retention: declared.type.retention ?? DEFAULT_RETENTION,
      ordering: declared.type.ordering ?? 'arrival',
      ...(declared.initial === undefined ? {} : { initial: true }),
    };
    assertType(type);
    assertInitial(type, declared);
    this.#types.set(name, {
      type,
      declared,
      checkArguments: compileUserSchema(type.inputSchema),
      checkPayload: compileUserSchema(type.payloadSchema),
      checkSome: compileUserSchema({ ...type.inputSchema, required: [] }),
    });
    this.#etag = null;
  }

  remove(name: string): boolean {
    this.#etag = null;
    return this.#types.delete(name);
  }

  get(name: string): Declared | undefined {
    return this.#types.get(name);
  }

  /** All types, ascending by name, so that pages are stable. */
  all(): TriggerType[] {
    return [...this.#types.values()]
      .map((one) => one.type)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * One page of the types that `shows` accepts, by name. `sameForAll` = every caller gets the
   * same list, so shared caches may keep it. Throws `WireError` `InvalidParams` for an invalid
   * cursor.
   */
  async list(
    params: ListTriggersRequestParams,
    shows: (name: string) => boolean | Promise<boolean>,
    sameForAll: boolean,
  ): Promise<ListTriggersResult | ListTriggersNotModified> {
    const types: TriggerType[] = [];
    for (const type of this.all()) if (await shows(type.name)) types.push(type);
    const etag = this.#etagOf(types);
    const cache = {
      etag,
      ttlMs: LIST_TTL_MS,
      cacheScope: sameForAll ? ('public' as const) : ('private' as const),
    };
    if (params.ifNoneMatch === etag && params.cursor === undefined)
      return { notModified: true, ...cache };
    const from = params.cursor === undefined ? 0 : indexAfter(types, params.cursor);
    const triggers = types.slice(from, from + PAGE);
    const last = triggers.at(-1);
    const more = from + PAGE < types.length && last !== undefined;
    return { triggers, ...(more ? { nextCursor: cursorAt(last.name) } : {}), ...cache };
  }

  /** A hash of the list; cached for the list of all types. */
  #etagOf(types: readonly TriggerType[]): string {
    const whole = types.length === this.#types.size;
    if (whole && this.#etag !== null) return this.#etag;
    const etag = createHash('sha256')
      .update(JSON.stringify(types))
      .digest('base64url')
      .slice(0, 22);
    if (whole) this.#etag = etag;
    return etag;
  }

  /**
   * Resolves selections and checks their arguments. Throws `WireError`: `NotFound` for an unknown
   * name, `InvalidParams` for arguments that do not match `inputSchema`.
   */
  select(select: readonly WireSelection[]): Selection[] {
    const found = this.find(select);
    found.forEach((selection, at) => {
      const checked = this.#types.get(selection.name)!.checkArguments(selection.arguments);
      if (!checked.ok)
        throw invalidParams(`/select/${at}/arguments${checked.path}`, checked.expected);
    });
    return found;
  }

  /**
   * Resolves selections without checking their arguments; absent `arguments` become `{}`. Throws
   * `WireError` `NotFound` for an unknown name.
   */
  find(select: readonly WireSelection[]): Selection[] {
    return select.map(({ name, arguments: args = {} }) => {
      if (!this.#types.has(name)) throw notFound({ kind: 'trigger' });
      return { name, arguments: args };
    });
  }

  /** The retention of a log over these types: of each member the lowest. */
  retentionOf(select: readonly Selection[]): Retention {
    let { maxAgeMs, maxEvents, maxBytes } = {
      maxAgeMs: Number.MAX_SAFE_INTEGER,
      maxEvents: Number.MAX_SAFE_INTEGER,
      maxBytes: Number.MAX_SAFE_INTEGER,
    };
    for (const { name } of select) {
      const retention = this.#types.get(name)?.type.retention ?? DEFAULT_RETENTION;
      maxAgeMs = Math.min(maxAgeMs, retention.maxAgeMs);
      maxEvents = Math.min(maxEvents, retention.maxEvents);
      maxBytes = Math.min(maxBytes, retention.maxBytes ?? maxBytes);
    }
    return {
      maxAgeMs,
      maxEvents,
      ...(maxBytes === Number.MAX_SAFE_INTEGER ? {} : { maxBytes }),
    };
  }

  /**
   * Longest time that `since` may reach back, in milliseconds; null = a selected type has no
   * history.
   */
  historyOf(select: readonly Selection[]): number | null {
    let maxAgeMs = Number.MAX_SAFE_INTEGER;
    for (const { name } of select) {
      const history = this.#types.get(name)?.type.history;
      if (history === undefined) return null;
      maxAgeMs = Math.min(maxAgeMs, history.maxAgeMs);
    }
    return maxAgeMs;
  }

  /** The longest retention or history of all types, in milliseconds. No log needs older events. */
  longestRetentionMs(): number {
    let longest = DEFAULT_RETENTION.maxAgeMs;
    for (const { type } of this.#types.values())
      longest = Math.max(longest, type.retention.maxAgeMs, type.history?.maxAgeMs ?? 0);
    return longest;
  }

  /** The type of an event. Throws `LocalError` `trigger_unknown` for an unknown name. */
  ofEvent(name: string): Declared {
    const declared = this.#types.get(name);
    if (declared === undefined)
      throw new LocalError(
        'trigger_unknown',
        'No trigger type with this name is declared. Declare it before emitting its events.',
      );
    return declared;
  }

  /**
   * The arguments that data of this type have, with their values, although the data may not match
   * `payloadSchema`: only values that `inputSchema` allows for the argument, because another value
   * shows nothing.
   */
  knownArguments(name: string, data: unknown): Record<string, unknown> {
    const { type, checkSome } = this.ofEvent(name);
    const known: Record<string, unknown> = {};
    for (const argument of Object.keys(type.inputSchema['properties'] ?? {})) {
      const value = attempt(() => this.attribute(name, argument, data));
      const isAllowed = (one: unknown): boolean => checkSome({ [argument]: one }).ok;
      const isKnown = Array.isArray(value)
        ? value.length > 0 && value.every(isAllowed)
        : value !== undefined && isAllowed(value);
      if (isKnown) known[argument] = value;
    }
    return known;
  }

  /** The event value that an argument of this name is compared with. */
  attribute(name: string, argument: string, data: unknown): unknown {
    const extract = this.#types.get(name)?.declared.attributes?.[argument] as
      ((data: unknown) => unknown) | undefined;
    if (extract !== undefined) return extract(data);
    return typeof data === 'object' && data !== null
      ? (data as Record<string, unknown>)[argument]
      : undefined;
  }

  /** Whether events of this type must name their audience (SEP: Reserved types). */
  needsAudience(name: string): boolean {
    return (
      this.#types.get(name)?.declared.audience === 'required' ||
      RESERVED[name]?.needsAudience === true
    );
  }

  /** The type's option `match`, if it has one. */
  predicate(name: string): Match | undefined {
    return this.#types.get(name)?.declared.match as Match | undefined;
  }
}

/**
 * Throws `WireError` `Unsupported` for a drain that a selected type does not offer (SEP:
 * Settings).
 */
export function assertDrain(catalog: Catalog, select: readonly Selection[], drain: Drain): void {
  for (const { name } of select) {
    if (catalog.get(name)?.type.drains?.includes(drain) === false) throw unsupported(drain);
  }
}

/** A type that the protocol defines (SEP: Reserved types). */
interface ReservedType {
  readonly arguments: readonly string[];
  /** Whether the first event of a log is the present state. */
  readonly isInitial?: true;
  /** Whether each event concerns some owners only. */
  readonly needsAudience?: true;
}

const RESERVED: Readonly<Record<string, ReservedType>> = {
  'mcp.resource.updated': { arguments: ['uri'], isInitial: true },
  'mcp.tools.list_changed': { arguments: [], needsAudience: true },
  'mcp.prompts.list_changed': { arguments: [], needsAudience: true },
  'mcp.resources.list_changed': { arguments: [], needsAudience: true },
  'mcp.task.updated': { arguments: ['taskId'], isInitial: true, needsAudience: true },
};

function assertInitial(type: TriggerType, { initial }: DeclaredTrigger): void {
  if (initial === undefined && (type.initial === true || RESERVED[type.name]?.isInitial === true))
    throw invalidType(
      type.name,
      'describes a state. Declare it with the function "initial", which reads the present state.',
    );
  if (initial !== undefined && type.history !== undefined)
    throw invalidType(
      type.name,
      'has both "initial" and "history". A log begins with the present state or with past events: remove one of them.',
    );
}

function assertType(type: TriggerType): void {
  const checked = check('TriggerType', type);
  if (!checked.ok)
    throw invalidType(
      type.name,
      `is not valid: ${checked.path === '' ? 'it' : checked.path} must be ${checked.expected}.`,
    );
  if (type.drains?.includes('pull') === false)
    throw invalidType(type.name, 'must offer the drain "pull". Clients need it to recover.');
  if (!type.name.startsWith('mcp.')) return;
  const reserved = RESERVED[type.name]?.arguments;
  const named = Object.keys(type.inputSchema['properties'] ?? {});
  if (reserved === undefined)
    throw invalidType(
      type.name,
      'starts with "mcp.", which is reserved for the protocol. Choose another name.',
    );
  if (named.sort().join() !== [...reserved].sort().join())
    throw invalidType(
      type.name,
      `is defined by the protocol. Declare exactly these arguments: ${reserved.join(', ') || 'none'}.`,
    );
}

const invalidType = (name: string, problem: string): LocalError =>
  new LocalError('config_invalid', `The trigger type "${name}" ${problem}`);

const cursorAt = (name: string): string => Buffer.from(`n${name}`).toString('base64url');

function indexAfter(types: readonly { readonly name: string }[], cursor: string): number {
  const text = Buffer.from(cursor, 'base64url').toString('utf8');
  if (!text.startsWith('n'))
    throw invalidParams('/cursor', 'a nextCursor that triggers/list returned');
  const at = types.findIndex(({ name }) => name > text.slice(1));
  return at === -1 ? types.length : at;
}

/** The result of a function of the operator; undefined if it throws. */
function attempt(run: () => unknown): unknown {
  try {
    return run();
  } catch {
    return undefined;
  }
}
