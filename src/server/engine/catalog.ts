/**
 * The catalog: which trigger types are declared, what their arguments and payloads must look like, and which of an event's
 * values an argument is compared with.
 */
import { createHash } from 'node:crypto';
import type {
  Drain,
  Selection as WireSelection,
  TriggerType,
} from '../../../spec-schema/draft/schema.ts';
import type { Retention, Selection } from '../../protocol/core/types.ts';
import { invalidParams, LocalError, notFound, unsupported } from '../../protocol/wire/errors.ts';
import { RETENTION_AGE_MS, RETENTION_EVENTS } from '../../protocol/wire/limits.ts';
import { compileUserSchema, type UserValidator } from '../../protocol/wire/user-schema.ts';
import { check } from '../../protocol/wire/validate.ts';
import type { DeclaredTrigger } from './verbs.ts';

/** Retention of a type that declares none. */
export const DEFAULT_RETENTION: Retention = {
  maxAgeMs: RETENTION_AGE_MS,
  maxEvents: RETENTION_EVENTS,
};

export interface Declared {
  readonly type: TriggerType;
  readonly declared: DeclaredTrigger;
  readonly checkArguments: UserValidator;
  readonly checkPayload: UserValidator;
}

type Match = (args: Readonly<Record<string, unknown>>, data: unknown) => boolean;

export class Catalog {
  readonly #types = new Map<string, Declared>();
  #etag: string | null = null;

  constructor(triggers: readonly DeclaredTrigger[]) {
    for (const trigger of triggers) {
      if (this.#types.has(trigger.type.name))
        throw refused(trigger.type.name, 'is declared twice: names are unique in one server');
      this.declare(trigger);
    }
  }

  /** Declares a type, or replaces the one of this name. Throws `LocalError` `config_invalid`, or `schema_refused` for a schema. */
  declare(declared: DeclaredTrigger): void {
    const { name } = declared.type;
    const type: TriggerType = {
      ...declared.type,
      drains: declared.type.drains ?? ['callback', 'stream', 'pull'],
      retention: declared.type.retention ?? DEFAULT_RETENTION,
      ordering: declared.type.ordering ?? 'arrival',
    };
    judge(type);
    this.#types.set(name, {
      type,
      declared,
      checkArguments: compileUserSchema(type.inputSchema),
      checkPayload: compileUserSchema(type.payloadSchema),
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

  /** Ascending by name, so that pages are stable. */
  all(): TriggerType[] {
    return [...this.#types.values()]
      .map((one) => one.type)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Changes exactly when a declared type changes. */
  etagOf(types: readonly TriggerType[]): string {
    const whole = types.length === this.#types.size;
    if (whole && this.#etag !== null) return this.#etag;
    const etag = createHash('sha256')
      .update(JSON.stringify(types))
      .digest('base64url')
      .slice(0, 22);
    if (whole) this.#etag = etag;
    return etag;
  }

  /** Checks what a client wants to follow; refuses unknown names and arguments that the type's schema refuses. */
  select(select: readonly WireSelection[]): Selection[] {
    const found = this.find(select);
    found.forEach((selection, at) => {
      const checked = this.#types.get(selection.name)!.checkArguments(selection.arguments);
      if (!checked.ok)
        throw invalidParams(`/select/${at}/arguments${checked.path}`, checked.expected);
    });
    return found;
  }

  /** The same selections with their arguments written out. Refuses unknown names. */
  find(select: readonly WireSelection[]): Selection[] {
    return select.map(({ name, arguments: args = {} }) => {
      if (!this.#types.has(name)) throw notFound({ kind: 'trigger' });
      return { name, arguments: args };
    });
  }

  /** The strictest retention of the selected types. */
  retentionOf(select: readonly Selection[]): Retention {
    let { maxAgeMs, maxEvents } = {
      maxAgeMs: Number.MAX_SAFE_INTEGER,
      maxEvents: Number.MAX_SAFE_INTEGER,
    };
    for (const { name } of select) {
      const retention = this.#types.get(name)?.type.retention ?? DEFAULT_RETENTION;
      maxAgeMs = Math.min(maxAgeMs, retention.maxAgeMs);
      maxEvents = Math.min(maxEvents, retention.maxEvents);
    }
    return { maxAgeMs, maxEvents };
  }

  /** How far back `since` may reach for this selection; null when a type has no history. */
  historyOf(select: readonly Selection[]): number | null {
    let reach = Number.MAX_SAFE_INTEGER;
    for (const { name } of select) {
      const history = this.#types.get(name)?.type.history;
      if (history === undefined) return null;
      reach = Math.min(reach, history.maxAgeMs);
    }
    return reach;
  }

  /** The longest any type keeps anything: older events may be forgotten. */
  longestRetentionMs(): number {
    let longest = DEFAULT_RETENTION.maxAgeMs;
    for (const { type } of this.#types.values())
      longest = Math.max(longest, type.retention.maxAgeMs, type.history?.maxAgeMs ?? 0);
    return longest;
  }

  /** Validates an event's data; refuses with `LocalError` before anything is accepted. */
  payload(name: string, data: unknown): void {
    const declared = this.#types.get(name);
    if (declared === undefined)
      throw new LocalError(
        'trigger_unknown',
        'no trigger type of this name is declared; declare it before emitting its events',
      );
    const checked = declared.checkPayload(data);
    if (!checked.ok)
      throw new LocalError(
        'payload_invalid',
        `the event's data does not fit payloadSchema: ${checked.path === '' ? 'it' : checked.path} must be ${checked.expected}`,
      );
  }

  /** What an argument of this name is compared with. */
  attribute(name: string, argument: string, data: unknown): unknown {
    const extract = this.#types.get(name)?.declared.attributes?.[argument] as
      ((data: unknown) => unknown) | undefined;
    if (extract !== undefined) return extract(data);
    return typeof data === 'object' && data !== null
      ? (data as Record<string, unknown>)[argument]
      : undefined;
  }

  /** The type's own predicate, if it has one. */
  predicate(name: string): Match | undefined {
    return this.#types.get(name)?.declared.match as Match | undefined;
  }
}

/** Refuses a drain that a selected type does not offer (SEP: Capability). */
export function mayDrain(
  catalog: Catalog,
  { select }: { readonly select: readonly Selection[] },
  drain: Drain,
): void {
  for (const { name } of select) {
    if (catalog.get(name)?.type.drains.includes(drain) === false) throw unsupported(drain);
  }
}

/** Names that belong to the protocol, with the arguments each has there (SEP: Reserved names). */
const RESERVED: Readonly<Record<string, readonly string[]>> = {
  'mcp.resource.updated': ['uri'],
  'mcp.tools.list_changed': [],
  'mcp.prompts.list_changed': [],
  'mcp.resources.list_changed': [],
  'mcp.task.updated': ['taskId'],
};

function judge(type: TriggerType): void {
  const checked = check('TriggerType', type);
  if (!checked.ok)
    throw refused(
      type.name,
      `is not a trigger type: ${checked.path === '' ? 'it' : checked.path} must be ${checked.expected}`,
    );
  if (!type.drains.includes('pull'))
    throw refused(type.name, 'must offer the drain "pull": every recovery ends in it');
  if (!type.name.startsWith('mcp.')) return;
  const reserved = RESERVED[type.name];
  const named = Object.keys(type.inputSchema['properties'] ?? {});
  if (reserved === undefined)
    throw refused(
      type.name,
      'starts with "mcp.", which is reserved for types that the protocol names',
    );
  if (named.sort().join() !== [...reserved].sort().join())
    throw refused(
      type.name,
      `is a type of the protocol and has exactly these arguments: ${reserved.join(', ') || 'none'}`,
    );
}

const refused = (name: string, problem: string): LocalError =>
  new LocalError('config_invalid', `the trigger type "${name}" ${problem}`);
