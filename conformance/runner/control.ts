/**
 * The control interface of a server: through it the kit causes what no MCP client can cause, such as
 * events and crashes. Each verb is optional; a check that needs a missing verb is `not shown`.
 * `docs/conformance.md` describes it for implementers, and `control.schema.json` its messages.
 */
import { callVerb, offerAt } from './control-call.ts';
import { NotShown } from './observations.ts';

/** The verbs with their members. */
export interface Verbs {
  /**
   * Emits events in this order, as an upstream would send them; returns when they are accepted.
   * `scope` is the source within which `eventId` is unique; without it, they share one source.
   * `audience` has principals by their names in `tokens`; without it, an event concerns everybody.
   * `_meta` has the trace context of the upstream.
   */
  readonly emit: {
    readonly events: readonly {
      readonly scope?: string;
      readonly name: string;
      readonly eventId?: string;
      readonly timestamp?: string;
      readonly audience?: readonly string[];
      readonly _meta?: { readonly traceparent: string; readonly tracestate?: string };
      readonly data: object;
    }[];
  };
  /**
   * Says that the source of this type was not watched for a time; returns when that is in the logs.
   * `arguments` are those that the missing events would match; without them, any.
   */
  readonly unwatch: { readonly name: string; readonly arguments?: object };
  /** Kills the process without warning and starts it again; returns when it serves. */
  readonly crash: object;
  /** As `crash`, and restores the state of the last `remember`, as from a backup. */
  readonly lose: object;
  /** Saves the state that a later `lose` restores. */
  readonly remember: object;
  /** Advances the server's clock; returns when everything due by then has happened or started. */
  readonly advance: { readonly ms: number };
  /**
   * Withdraws (`allowed: false`) or restores a principal's permission for a type. The server checks
   * its subscriptions at once; with `told: false` it gets no notice of the change.
   */
  readonly permit: {
    readonly principal: string;
    readonly name: string;
    readonly allowed: boolean;
    readonly told?: boolean;
  };
  /** Redacts the data of an event. */
  readonly redact: { readonly name: string; readonly eventId: string };
  /** Removes a trigger type, or changes its schema. */
  readonly remove: { readonly name: string; readonly reason: 'trigger_removed' | 'schema_changed' };
  /** Declares a copy of the plain type under this name. */
  readonly declare: { readonly name: string };
}
export type Verb = keyof Verbs;

/**
 * Names of the trigger types for the kit, by their use. Checks that need a missing type are
 * `not shown`.
 */
export interface ControlTypes {
  /**
   * Offers every drain of the server. Argument: `topic`, a string that equals the event's `topic`.
   * Data: `{ topic, n, pad? }`, where `n` is an integer and the others are strings. Retention: at
   * least 1,000 events and one hour.
   */
  readonly plain: string;
  /** As `plain`, with `history`. */
  readonly history?: string;
  /** As `plain`, but keeps at most 20 events. Has `history` if the server offers it. */
  readonly short?: string;
  /** As `plain`, but with the drain `pull` only. */
  readonly pullOnly?: string;
  /**
   * As `plain`, with `initial`, and `topic` is required. The present state of a topic is the data
   * of its last event, and `{ topic, n: 0 }` before the first.
   */
  readonly initial?: string;
}

/** The answer to `GET`. */
export interface ControlOffer {
  readonly verbs: readonly Verb[];
  readonly types: ControlTypes;
  /**
   * Access tokens by principal. `main` is the principal of `--token`; `other` is another one;
   * `stranger` may follow nothing; `namesake` has the subject of `main` at another issuer, and
   * `sibling` is another client of the user `main`.
   */
  readonly tokens: Readonly<Record<string, string>>;
  /**
   * Host names that the server under test resolves. `inside` resolves to an address that callbacks
   * may not use.
   */
  readonly names?: Readonly<Record<string, string>>;
  /**
   * Sum of all `advance` so far: the lead of the server's clock, in milliseconds. Default 0.
   */
  readonly aheadMs?: number;
}

/** The control interface of the implementation under test, or its absence. */
export class Control {
  readonly #url: string | undefined;
  readonly offer: ControlOffer | undefined;
  /** Lead of the server's clock over the kit's clock, in milliseconds. */
  aheadMs: number;

  private constructor(url: string | undefined, offer: ControlOffer | undefined) {
    this.#url = url;
    this.offer = offer;
    this.aheadMs = offer?.aheadMs ?? 0;
  }

  /** No control interface. */
  static readonly none = new Control(undefined, undefined);

  /** Reads the offer. Throws unless the URL answers with success. */
  static async at(url: string): Promise<Control> {
    return new Control(url, (await offerAt(url, 'Server')) as ControlOffer);
  }

  has(verb: Verb): boolean {
    return this.offer?.verbs.includes(verb) === true;
  }

  /** Throws `NotShown` when a verb is missing. */
  require(...verbs: readonly Verb[]): void {
    for (const verb of verbs)
      if (!this.has(verb))
        throw new NotShown(`The control interface does not offer the verb "${verb}".`);
  }

  /** The trigger type for a use. Throws `NotShown` when it is missing. */
  type(use: keyof ControlTypes): string {
    const name = this.offer?.types[use];
    if (name === undefined)
      throw new NotShown(`The control interface names no trigger type "${use}".`);
    return name;
  }

  /** The token of a principal. Throws `NotShown` when it is missing. */
  token(principal: string): string {
    const token = this.offer?.tokens[principal];
    if (token === undefined)
      throw new NotShown(`The control interface has no token "${principal}".`);
    return token;
  }

  /** The host name with this meaning. Throws `NotShown` when it is missing. */
  hostName(meaning: string): string {
    const name = this.offer?.names?.[meaning];
    if (name === undefined) throw new NotShown(`The control interface names no host "${meaning}".`);
    return name;
  }

  /** Runs a verb. Throws `NotShown` when the verb is missing, `Error` when it fails. */
  async do<V extends Verb>(verb: V, params: Verbs[V]): Promise<Readonly<Record<string, unknown>>> {
    this.require(verb);
    const answer: unknown = await callVerb(this.#url!, 'Server', verb, params, 60_000);
    if (verb === 'advance') this.aheadMs += (params as Verbs['advance']).ms;
    return answer as Readonly<Record<string, unknown>>;
  }
}
