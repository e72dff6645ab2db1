/**
 * Where output goes: results to standard output, as text or as one JSON object per line; what is only worth knowing to standard
 * error, so that a pipe carries results and nothing else.
 */
import { printable } from './text.ts';
import type { Verdict } from './exit.ts';

export interface Printer {
  readonly json: boolean;
  /** Columns of the terminal; 100 where there is none. */
  readonly width: number;
  /** A result: `value` is the line in JSON mode, `text` what people read. */
  result(value: object, text: string): void;
  /** News about the connection, in the same two forms. Text goes to standard error. */
  notice(value: object, text: string): void;
  error(verdict: Verdict): void;
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
