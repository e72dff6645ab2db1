/**
 * The control interface: how an implementation lets the kit bring situations about that no peer can bring about by itself. It is optional, verb by verb; what
 * needs a verb that is not there is reported as not shown. `docs/conformance.md` describes it for implementers.
 *
 * One URL. `GET` answers `{ verbs, types, tokens, names, aheadMs }`; `POST { "do": verb, … }` answers 2xx with a JSON object once it is done, or any other status with a text.
 */
import { NotShown } from './looks.ts';

/** What can be asked for, and what each answers. */
export interface Verbs {
  /** Events happen, in this order; answered when they are accepted. `data` fits the type's payload. */
  readonly emit: {
    readonly events: readonly {
      readonly name: string;
      readonly eventId?: string;
      readonly timestamp?: string;
      readonly data: object;
    }[];
  };
  /** The process dies without a warning and is started again; answered when it serves. */
  readonly crash: object;
  /** As `crash`, and what was committed since the last `remember` is gone, as after a restored backup. */
  readonly lose: object;
  /** What a later `lose` goes back to. */
  readonly remember: object;
  /** The server's clock goes forward; everything due by then has happened, or is under way, when it is answered. */
  readonly advance: { readonly ms: number };
  /**
   * This principal (of `tokens`) may not follow this type any more (`false`) or again. The server is told and looks at it at once; with `told: false` it is left to
   * find out by itself.
   */
  readonly permit: {
    readonly principal: string;
    readonly name: string;
    readonly allowed: boolean;
    readonly told?: boolean;
  };
  /** The data of an event is forgotten. */
  readonly redact: { readonly name: string; readonly eventId: string };
  /** A trigger type is not offered any more, because it was removed or because its schema changed. */
  readonly remove: { readonly name: string; readonly reason: 'trigger_removed' | 'schema_changed' };
  /** A trigger type is offered (again): a copy of the plain type under this name. */
  readonly declare: { readonly name: string };
}
export type Verb = keyof Verbs;

/** Trigger types for the kit, by what they are needed for. A name that is missing makes what needs it "not shown". */
export interface ControlTypes {
  /**
   * Every drain the server has. Arguments: `topic` (string, equals the event's). Data: `{ topic, n, pad? }`, strings but `n`, an integer. Retention at least
   * 1,000 events and an hour.
   */
  readonly plain: string;
  /** As `plain`, with `history`. */
  readonly history?: string;
  /** As `plain`, keeps at most 20 events. */
  readonly short?: string;
  /** As `plain`, only the drain `pull`. */
  readonly pullOnly?: string;
}

/** What `GET` answers. */
export interface ControlOffer {
  readonly verbs: readonly Verb[];
  readonly types: ControlTypes;
  /** Access tokens by principal. `main` is the one of `--token`; `other` is somebody else; `stranger` may follow nothing; `namesake` has the subject of `main` from
   * another issuer. */
  readonly tokens: Readonly<Record<string, string>>;
  /** Host names that mean something to the server under test. `inside`: one that it resolves to an address which callbacks may not have. */
  readonly names?: Readonly<Record<string, string>>;
  /** How far `advance` has set the server's clock ahead in earlier runs, in milliseconds. Default 0. */
  readonly aheadMs?: number;
}

/** The control interface of the implementation under test, or its absence. */
export class Control {
  readonly #url: string | undefined;
  readonly offer: ControlOffer | undefined;
  /** How far the server's clock is ahead of ours, in milliseconds. */
  aheadMs: number;

  private constructor(url: string | undefined, offer: ControlOffer | undefined) {
    this.#url = url;
    this.offer = offer;
    this.aheadMs = offer?.aheadMs ?? 0;
  }

  /** No control interface: everything that needs one is not shown. */
  static readonly none = new Control(undefined, undefined);

  /** Asks what is offered. Throws when the URL does not answer as it should. */
  static async at(url: string): Promise<Control> {
    const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
    if (!response.ok) throw new Error(`The control interface answers HTTP ${response.status}.`);
    return new Control(url, (await response.json()) as ControlOffer);
  }

  has(verb: Verb): boolean {
    return this.offer?.verbs.includes(verb) === true;
  }

  /** Throws `NotShown` when the verb is not offered. */
  require(...verbs: readonly Verb[]): void {
    for (const verb of verbs)
      if (!this.has(verb)) throw new NotShown(`needs the control verb "${verb}"`);
  }

  /** A trigger type for this use. Throws `NotShown`. */
  type(use: keyof ControlTypes): string {
    const name = this.offer?.types[use];
    if (name === undefined)
      throw new NotShown(`needs the trigger type "${use}" of the control interface`);
    return name;
  }

  /** Another principal's token. Throws `NotShown`. */
  token(principal: string): string {
    const token = this.offer?.tokens[principal];
    if (token === undefined)
      throw new NotShown(`needs the token "${principal}" of the control interface`);
    return token;
  }

  /** A host name with a meaning. Throws `NotShown`. */
  hostName(meaning: string): string {
    const name = this.offer?.names?.[meaning];
    if (name === undefined)
      throw new NotShown(`needs the host name "${meaning}" of the control interface`);
    return name;
  }

  /** Does it. Throws `NotShown` when it is not offered, `Error` when it fails. */
  async do<V extends Verb>(verb: V, params: Verbs[V]): Promise<Readonly<Record<string, unknown>>> {
    this.require(verb);
    const response = await fetch(this.#url!, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ do: verb, ...params }),
      signal: AbortSignal.timeout(60_000),
    });
    if (!response.ok)
      throw new Error(
        `The control interface could not "${verb}": HTTP ${response.status} ${(await response.text()).slice(0, 200)}`,
      );
    if (verb === 'advance') this.aheadMs += (params as Verbs['advance']).ms;
    return (await response.json()) as Readonly<Record<string, unknown>>;
  }
}
