/** The types of the computed vector families. */

/** One vector. The tool adds its `id`, in the order of `cases`. */
export interface VectorCase {
  readonly comment: string;
  /** Names of notes that apply to the case. */
  readonly flags: readonly string[];
  /** The source of a published vector. */
  readonly source?: string;
  readonly verdict: 'valid' | 'invalid';
  readonly [member: string]: unknown;
}

/** The vectors for one rule. */
export interface VectorFamily {
  readonly family: string;
  readonly description: string;
  /** An explanation of each flag. */
  readonly notes: Readonly<Record<string, string>>;
  /** Members that all cases share, such as keys. */
  readonly shared?: Readonly<Record<string, unknown>>;
  readonly cases: readonly VectorCase[];
}
