/** What a maker of vectors hands over. Numbers are given by the tool, in the order of `cases`. */
export interface VectorCase {
  readonly comment: string;
  /** Each is explained once, in `notes`. */
  readonly flags: readonly string[];
  /** Where a published vector comes from. */
  readonly source?: string;
  readonly verdict: 'valid' | 'invalid';
  readonly [member: string]: unknown;
}

export interface VectorFamily {
  readonly family: string;
  readonly description: string;
  readonly notes: Readonly<Record<string, string>>;
  /** Members that all cases share, such as keys. */
  readonly shared?: Readonly<Record<string, unknown>>;
  readonly cases: readonly VectorCase[];
}
