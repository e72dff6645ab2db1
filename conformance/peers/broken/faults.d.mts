/** Types of the tables of faults. */
export interface ProgramFault {
  /** The requirement that it breaks, without prefix. */
  readonly check: string;
  /** A short description of the fault. */
  readonly wrong: string;
  /** The decisions that it replaces. */
  readonly overrides: object;
}
export declare const faults: Readonly<Record<string, ProgramFault>>;
