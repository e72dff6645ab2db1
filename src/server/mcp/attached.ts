/**
 * State that a binding keeps for an object that it does not own: an engine or an SDK server. The
 * map is weak, so the state is freed together with that object. Bindings declare every such state
 * with {@link attached}.
 */
const states = new WeakMap<object, Map<object, unknown>>();

/**
 * Returns a function that creates the state of an owner when it is first called for that owner, and
 * returns the same state on every later call.
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
