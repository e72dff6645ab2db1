/**
 * State that bindings keep about an object they were given: an engine or an SDK server. Servers come and go with every request and
 * engines are made by the application, so neither has a place for it. Every such state is declared with {@link attached}, and all
 * of it stands here.
 */
const states = new WeakMap<object, Map<object, unknown>>();

/** Declares one kind of state and returns its accessor, which makes the state of an owner on the first call and keeps it as long as the owner lives. */
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
