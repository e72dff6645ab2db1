/**
 * State that a binding keeps for an object of somebody else: an engine or an SDK server. It is held
 * weakly, so it is freed together with its owner. Every such state is declared with {@link
 * attached}.
 */
const states = new WeakMap<object, Map<object, unknown>>();

/**
 * Returns an accessor that makes the state of an owner on the first call and returns the same state
 * afterwards.
 */
export function attached<Owner extends object, State>(
  make: (owner: Owner) => State,
): (owner: Owner) => State {
  return (owner) => {
    let all = states.get(owner);
    if (all === undefined) states.set(owner, (all = new Map()));
    if (!all.has(make)) all.set(make, make(owner));
    return all.get(make) as State;
  };
}
