/** The vectors of one family, as its maker returns them. The tool numbers them in the order of `cases`. */
export interface VectorCase {
  readonly comment: string;
  /** Each is explained once, in `notes`. */
  readonly flags: readonly string[];
  /** The source of a published vector. */
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
