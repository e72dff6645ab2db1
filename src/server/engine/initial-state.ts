/**
 * Reads the present state for the selections of level-triggered types, with which a new log starts
 * (SEP: Trigger types).
 */
import { canonicalText } from '../../protocol/core/canonical.ts';
import type { Selection } from '../../protocol/core/types.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import type { Catalog } from './catalog.ts';
import { checkEvent, type CheckedEvent, type EventCheckParts } from './new-event.ts';
import type { InitialState } from './verbs.ts';

/** Time for which the function of a type may run. */
const READ_MS = 10_000;

/** The selections of level-triggered types, each once. */
export function levelTriggered(catalog: Catalog, select: readonly Selection[]): Selection[] {
  const found = new Map<string, Selection>();
  for (const one of select)
    if (catalog.get(one.name)?.declared.initial !== undefined)
      found.set(`${one.name}\n${canonicalText(one.arguments)}`, one);
  return [...found.values()];
}

/**
 * The present states as events that only this subscription gets. Rejects with `LocalError`
 * `unreachable` when a state cannot be read.
 */
export async function readInitial(
  selections: readonly Selection[],
  subscriptionId: string,
  parts: EventCheckParts,
): Promise<CheckedEvent[]> {
  const states = await Promise.all(selections.map((one) => read(one, parts)));
  return states.flatMap((state, at) =>
    state === null
      ? []
      : [
          checkEvent(
            {
              // The upstream's own event with the same identifier is another one.
              scope: `initial/${subscriptionId}/${at}`,
              name: selections[at]!.name,
              audience: [],
              ...state,
            },
            parts,
          ),
        ],
  );
}

async function read(
  { name, arguments: args }: Selection,
  { catalog, clock }: Pick<EventCheckParts, 'catalog' | 'clock'>,
): Promise<InitialState | null> {
  const initial = catalog.get(name)?.declared.initial;
  if (initial === undefined) return null;
  const late = timer(clock);
  try {
    return await Promise.race([late.promise, (async () => initial(args))()]);
  } catch (cause) {
    throw new LocalError(
      'unreachable',
      `The present state of a trigger type could not be read within ${READ_MS / 1000} s, so there is no subscription. Subscribe again later.`,
      { cause },
    );
  } finally {
    late.cancel();
  }
}

function timer(clock: Clock): { readonly promise: Promise<never>; readonly cancel: () => void } {
  let cancel = (): void => undefined;
  const promise = new Promise<never>((_, reject) => {
    cancel = clock.after(READ_MS, () =>
      reject(new Error('The function "initial" of the trigger type did not resolve in time.')),
    );
  });
  return { promise, cancel };
}
