/** The minimal receiver, for those who start it from TypeScript. */

/** Decisions that a receiver makes; a broken one makes some of them otherwise. */
export declare const RECEIVER: object;

/** A receiver and its control interface on loopback ports, with one registration to begin with. */
export declare function serve(how?: object): Promise<{
  readonly url: string;
  readonly secret: string;
  readonly control: string;
  close(): void;
}>;
