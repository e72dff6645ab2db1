/** Types of the minimal receiver. */

/** Every decision that a receiver can get wrong; a broken receiver replaces some of them. */
export declare const RECEIVER: object;

/** Starts a receiver and its control interface on loopback ports, with one registration. */
export declare function serve(decisions?: object): Promise<{
  readonly url: string;
  readonly secret: string;
  readonly control: string;
  close(): void;
}>;
