/** What the tables of ways to be wrong hold. */
export interface Way {
  /** The requirement it breaks, without prefix. */
  readonly check: string;
  /** What it does wrong, in a few words. */
  readonly wrong: string;
  /** The decisions that it replaces. */
  readonly how: object;
}
export declare const ways: Readonly<Record<string, Way>>;
