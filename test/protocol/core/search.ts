/**
 * Visits every state that a model can reach, breadth first, and reports the shortest path to a
 * broken rule, or the number of states from which no path leads to a goal.
 */

/** One action of a state. */
export type Action<State> = readonly [name: string, next: State];

/** A model: its states, and the rules that every one of them must obey. */
export interface Model<State> {
  readonly start: State;
  /** The actions of a state. An action that leads to the same object is ignored. */
  actions(state: State): Iterable<Action<State>>;
  /** Two states with the same key behave the same. */
  keyOf(state: State): string;
  /** The rule that this state breaks, or null. `before` is the state one action earlier. */
  brokenRule(state: State, before: State): string | null;
  /** Whether everything is done. */
  isGoal(state: State): boolean;
  /** Whether the state needs no path to a goal. Default: every state needs one. */
  isExempt?(state: State): boolean;
}

export interface Exploration {
  readonly states: number;
  readonly edges: number;
  /** The shortest path to a broken rule. */
  readonly violation: { readonly rule: string; readonly path: readonly string[] } | null;
  /** Number of states from which no path leads to a goal. */
  readonly stuck: number;
}

/** Explores the model. Throws when it has more than `statesMax` states. */
export function search<State>(model: Model<State>, statesMax = 400_000): Exploration {
  const states: (State | null)[] = [model.start];
  const ids = new Map([[model.keyOf(model.start), 0]]);
  const cameFrom: (readonly [id: number, action: string])[] = [[-1, '']];
  const predecessors: number[][] = [[]];
  const goals: number[] = [];
  const exempt: number[] = [];
  let edges = 0;
  for (let id = 0; id < states.length; id += 1) {
    const state = states[id]!;
    // An explored state is never read again; dropping it bounds the memory.
    states[id] = null;
    if (model.isGoal(state)) goals.push(id);
    else if (model.isExempt?.(state) === true) exempt.push(id);
    for (const [action, next] of model.actions(state)) {
      if (next === state) continue;
      edges += 1;
      const key = model.keyOf(next);
      let nextId = ids.get(key);
      if (nextId === undefined) {
        nextId = states.length;
        if (nextId >= statesMax)
          throw new Error(
            `The exploration passed ${statesMax} states. Make the configuration smaller.`,
          );
        ids.set(key, nextId);
        states.push(next);
        predecessors.push([]);
        cameFrom.push([id, action]);
      }
      const rule = model.brokenRule(next, state);
      if (rule !== null)
        return {
          states: states.length,
          edges,
          violation: { rule, path: [...pathTo(id, cameFrom), action] },
          stuck: 0,
        };
      predecessors[nextId]!.push(id);
    }
  }
  const reached = reaching(goals, predecessors);
  for (const id of exempt) reached.add(id);
  return { states: states.length, edges, violation: null, stuck: states.length - reached.size };
}

function pathTo(id: number, cameFrom: readonly (readonly [number, string])[]): string[] {
  const path: string[] = [];
  for (let at = id; at > 0; at = cameFrom[at]![0]) path.unshift(cameFrom[at]![1]);
  return path;
}

/** The states with a path to one of the goals, found backwards from the goals. */
function reaching(
  goals: readonly number[],
  predecessors: readonly (readonly number[])[],
): Set<number> {
  const seen = new Set(goals);
  const queue = [...goals];
  for (let id = queue.pop(); id !== undefined; id = queue.pop())
    for (const before of predecessors[id]!)
      if (!seen.has(before)) {
        seen.add(before);
        queue.push(before);
      }
  return seen;
}
