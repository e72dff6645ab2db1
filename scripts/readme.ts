/**
 * Writes the generated parts of README.md: example code, environment variables, the client's
 * options and exit codes. Each part is between `<!-- <name> -->` and `<!-- /<name> -->`. `--check`
 * writes nothing and fails if a part is stale.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { argumentsOf } from './arguments.ts';
import { EXIT_MEANINGS } from '../reference-client/exit.ts';
import { createProgram } from '../reference-client/program.ts';
import { describeConfig } from '../reference-server/config.ts';

const ROOT = new URL('../', import.meta.url);
const REGION = /^\/\/ #region readme\n([\s\S]*?)^\/\/ #endregion$/m;

const read = (path: string): Promise<string> => readFile(new URL(path, ROOT), 'utf8');

/** The part of an example file that the README quotes. */
export async function example(path: string): Promise<string> {
  const region = REGION.exec(await read(path))?.[1];
  if (region === undefined) throw new Error(`${path} has no "// #region readme". Restore it.`);
  return `\`\`\`ts\n${region}\`\`\``;
}

function environment(): string {
  const rows = describeConfig().map(({ name, fallback, about, secret }) => {
    const value = fallback === null || fallback === '' ? '' : `\`${fallback}\``;
    return `| \`${name}\` | ${value} | ${about.replaceAll('|', '\\|')}${secret ? ' Secret.' : ''} |`;
  });
  return ['| variable | default | meaning |', '|---|---|---|', ...rows].join('\n');
}

const exitCodes = (): string =>
  [
    '| code | meaning |',
    '|---|---|',
    ...EXIT_MEANINGS.map(([code, meaning]) => `| ${code} | ${meaning} |`),
  ].join('\n');

function commands(): string {
  const program = createProgram(
    { out: () => undefined, err: () => undefined, columns: 100 },
    new AbortController().signal,
  );
  const rows = program.commands.map((command) => {
    const usage = [
      command.name(),
      ...command.registeredArguments.map((argument) =>
        argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
      ),
    ].join(' ');
    const options = command.options
      .map(({ flags }) => `\`${flags.replaceAll('|', '\\|')}\``)
      .join(' ');
    return `| \`${usage}\` | ${command.description()} | ${options} |`;
  });
  const globals = program.options
    .filter(({ long }) => long !== '--version')
    .map(({ flags, description, defaultValue, argChoices }) => {
      const choices = argChoices === undefined ? '' : `: ${argChoices.join(', ')}`;
      return `| \`${flags}\` | ${description}${choices}${defaultValue === undefined ? '' : ` (default \`${String(defaultValue)}\`)`} |`;
    });
  return [
    '| command | effect | options |',
    '|---|---|---|',
    ...rows,
    '',
    '| global option | effect |',
    '|---|---|',
    ...globals,
  ].join('\n');
}

/** Returns the text of README.md with all parts up to date. */
export async function fresh(readme: string): Promise<string> {
  const parts: Readonly<Record<string, string>> = {
    'example: server': await example('docs/examples/server.ts'),
    'example: client': await example('docs/examples/client.ts'),
    'example: receiver': await example('docs/examples/receiver.ts'),
    environment: environment(),
    commands: commands(),
    'exit codes': exitCodes(),
  };
  return Object.entries(parts).reduce((text, [name, part]) => {
    const [start, end] = [`<!-- ${name} -->\n`, `\n<!-- /${name} -->`];
    const [from, to] = [text.indexOf(start), text.indexOf(end)];
    if (from < 0 || to < from)
      throw new Error(
        `README.md has no markers for "${name}". Restore the lines <!-- ${name} --> and <!-- /${name} -->.`,
      );
    // Some renderers recognize a table only with blank lines around it.
    return `${text.slice(0, from + start.length)}\n${part}\n${text.slice(to)}`;
  }, readme);
}

const USAGE = `Usage: npm run readme [-- --check]

Writes the generated parts of README.md.

Options:
  --check  write nothing; exit code 1 if a part is stale`;

async function main(check: boolean): Promise<number> {
  const before = await read('README.md');
  const after = await fresh(before);
  if (before === after) return 0;
  if (!check) await writeFile(new URL('README.md', ROOT), after);
  else process.stderr.write('README.md is stale. Run: npm run readme\n');
  return check ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  process.exitCode = await main(
    argumentsOf(USAGE, { options: { check: { type: 'boolean', default: false } } }).values.check,
  );
