/**
 * Prints results to standard output, as text or as one JSON object per line. Prints notices as text
 * to standard error, so that a pipe gets only results.
 */
import { printable } from './text.ts';
import type { Failure } from './exit.ts';

export interface Printer {
  readonly json: boolean;
  /** The columns of the terminal; 100 without a terminal. */
  readonly width: number;
  /** Prints a result: `value` with `--json`, else `text`. */
  result(value: object, text: string): void;
  /**
   * Prints a notice, for example about the connection: `value` with `--json`, else `text` to
   * standard error.
   */
  notice(value: object, text: string): void;
  error(failure: Failure): void;
}

export interface Outputs {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly columns: number | undefined;
}

export function createPrinter(json: boolean, { out, err, columns = 100 }: Outputs): Printer {
  const line = (value: object) => out(`${JSON.stringify(value)}\n`);
  return {
    json,
    width: Math.max(60, columns),
    result: (value, text) => (json ? line(value) : out(`${text}\n`)),
    notice: (value, text) => (json ? line(value) : err(`${text}\n`)),
    error({ code, name, message, hint, data }) {
      if (json)
        return err(
          `${JSON.stringify({ error: { name, message, ...(data === undefined ? {} : { data }), ...(hint === undefined ? {} : { hint }) }, exitCode: code })}\n`,
        );
      const detail = data === undefined ? '' : `  data  ${printable(JSON.stringify(data))}\n`;
      err(
        `${name}: ${printable(message)}\n${detail}${hint === undefined ? '' : `  hint  ${printable(hint)}\n`}`,
      );
    },
  };
}
