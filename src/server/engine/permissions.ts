/** Decides which trigger types a caller sees and may follow (SEP: Isolation). */
import type { Selection as WireSelection } from '../../../spec-schema/draft/schema.ts';
import type { Selection } from '../../protocol/core/types.ts';
import { forbidden, notFound } from '../../protocol/wire/errors.ts';
import type { Catalog } from './catalog.ts';
import type { Caller } from './verbs.ts';

/**
 * Decides whether a caller may follow a selection. Called by `subscribe` (also for a renewal),
 * `update`, `pull`, `stream` and `watch`; if there is no `Visible`, also by `list`, with empty
 * arguments.
 */
export type Authorize = (
  caller: Caller,
  selection: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> },
) => boolean | Promise<boolean>;

/** Decides whether a caller's list of trigger types contains a type. */
export type Visible = (caller: Caller, name: string) => boolean | Promise<boolean>;

/**
 * Decides whether an owner may still follow a selection. Called in the background, where there is
 * no request and thus no claims. `parseOwner` returns the parts of `principal`.
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
   * Resolves and checks the selections that a caller wants to follow. Rejects with `NotFound` for
   * an unknown type, `Forbidden` without permission, and `InvalidParams` for invalid arguments, in
   * this order.
   */
  async resolve(caller: Caller, wanted: readonly WireSelection[]): Promise<Selection[]> {
    const select = this.#catalog.find(wanted);
    if (this.#authorize !== undefined) {
      for (const selection of select) {
        if (await this.#authorize(caller, selection)) continue;
        // A caller must not learn of types that its list does not show.
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
