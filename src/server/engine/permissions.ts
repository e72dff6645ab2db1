/** Which trigger types a caller sees and may follow (SEP: Isolation). */
import type { Selection as WireSelection } from '../../../spec-schema/draft/schema.ts';
import type { Selection } from '../../protocol/core/types.ts';
import { forbidden, notFound } from '../../protocol/wire/errors.ts';
import type { Catalog } from './catalog.ts';
import type { Caller } from './verbs.ts';

/**
 * Decides whether a caller may follow a selection. Called for subscribe, update, renewal and every
 * drain.
 */
export type Authorize = (
  caller: Caller,
  selection: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> },
) => boolean | Promise<boolean>;

/** Decides whether a caller's list of trigger types contains a type. */
export type Visible = (caller: Caller, name: string) => boolean | Promise<boolean>;

/**
 * Decides whether a principal may still follow a selection. Called in the background, without a
 * request and therefore without claims.
 */
export type Reauthorize = (
  principal: string,
  selection: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> },
) => boolean | Promise<boolean>;

export interface PermissionsOptions {
  readonly catalog: Catalog;
  /** Default: every authenticated caller may follow everything. */
  readonly authorize: Authorize | undefined;
  /** Default: the types that `authorize` permits without arguments. */
  readonly visible: Visible | undefined;
}

export class Permissions {
  readonly #catalog: Catalog;
  readonly #authorize: Authorize | undefined;
  readonly #visible: Visible | undefined;

  constructor({ catalog, authorize, visible }: PermissionsOptions) {
    this.#catalog = catalog;
    this.#authorize = authorize;
    this.#visible = visible;
  }

  /** Whether the list of trigger types is the same for all callers. */
  get sameForAll(): boolean {
    return this.#authorize === undefined && this.#visible === undefined;
  }

  /**
   * Resolves what a caller wants to follow, with arguments in full. Rejects in this order: unknown
   * type, no permission, invalid arguments.
   */
  async resolve(caller: Caller, wanted: readonly WireSelection[]): Promise<Selection[]> {
    const select = this.#catalog.find(wanted);
    if (this.#authorize !== undefined) {
      for (const selection of select) {
        if (await this.#authorize(caller, selection)) continue;
        // A caller must not learn that a type exists which its list does not show.
        throw (await this.isVisible(caller, selection.name))
          ? forbidden({ kind: 'trigger', name: selection.name })
          : notFound({ kind: 'trigger' });
      }
    }
    return this.#catalog.select(select);
  }

  /** Whether the caller's list of trigger types contains this one. */
  async isVisible(caller: Caller, name: string): Promise<boolean> {
    if (this.#visible !== undefined) return this.#visible(caller, name);
    return this.#authorize === undefined || this.#authorize(caller, { name, arguments: {} });
  }

  /**
   * Rejects with `WireError` `Forbidden` if the caller may no longer follow one of the selections.
   */
  async assertPermitted(caller: Caller, select: readonly Selection[]): Promise<void> {
    if (this.#authorize === undefined) return;
    for (const selection of select) {
      if (!(await this.#authorize(caller, selection)))
        throw forbidden({ kind: 'trigger', name: selection.name });
    }
  }
}
