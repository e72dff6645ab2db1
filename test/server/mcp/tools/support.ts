/**
 * The three tools as an agent uses them: an SDK client that calls them by name and gets structure
 * and text back.
 */
import assert from 'node:assert/strict';
import { Client } from '@modelcontextprotocol/client';
import { InMemoryTransport, McpServer } from '@modelcontextprotocol/server';
import type { Position } from '../../../../spec-schema/draft/schema.ts';
import { attachTools, type ToolsOptions } from '../../../../src/server/mcp/tools/install.ts';
import type { Checked, NextCall } from '../../../../src/server/mcp/tools/schemas.ts';
import type { BindableEngine } from '../../../../src/server/engine/verbs.ts';
import { compileUserSchema } from '../../../../src/protocol/wire/user-schema.ts';

/** The result of `watch` with a trigger. */
export interface Watching {
  readonly watchId: string;
  readonly trigger: string;
  readonly arguments: Record<string, unknown>;
  readonly created: boolean;
  readonly position: Position;
  readonly remaining: number;
  readonly expiresAt: string | null;
  readonly next: NextCall;
}

/** The result of `watch` without a trigger. */
export interface Listed {
  readonly triggers: readonly {
    readonly name: string;
    readonly arguments: Record<string, unknown>;
  }[];
  readonly watches: readonly Omit<Watching, 'created' | 'next'>[];
  readonly watchesOmitted?: number;
  readonly nextCursor?: string;
}

/** An error. */
export interface Refused {
  readonly error: {
    readonly name: string;
    readonly code: number;
    readonly message: string;
    readonly data: Record<string, unknown>;
  };
  readonly next?: NextCall;
}

export interface Answer {
  readonly isError: boolean;
  readonly text: string;
  readonly structured: Record<string, unknown>;
}

export interface Tools {
  readonly mcp: McpServer;
  readonly client: Client;
  /**
   * Any answer; checks that it fits the announced schema, and that its text says no less than its
   * structure.
   */
  call(name: string, args?: object): Promise<Answer>;
  watch(trigger: string, args?: object): Promise<Watching>;
  list(cursor?: string): Promise<Listed>;
  check(
    watchId: string,
    more?: { readonly done?: Position; readonly maxEvents?: number },
  ): Promise<Checked>;
  refused(name: string, args?: object): Promise<Refused>;
  close(): Promise<void>;
}

export async function agent(
  engine: BindableEngine,
  options: ToolsOptions = {},
  prepare: (mcp: McpServer) => void = () => undefined,
): Promise<Tools> {
  const mcp = new McpServer({ name: 'test', version: '1' });
  prepare(mcp);
  attachTools(mcp, engine, options);
  const [near, far] = InMemoryTransport.createLinkedPair();
  await mcp.connect(far);
  const client = new Client({ name: 'test', version: '1' });
  await client.connect(near);
  const { tools } = await client.listTools();
  const schemas = new Map(
    tools.map(({ name, outputSchema }) => [
      name,
      outputSchema === undefined ? undefined : compileUserSchema(outputSchema),
    ]),
  );
  const call = async (name: string, args: object = {}): Promise<Answer> => {
    const {
      isError = false,
      content,
      structuredContent,
    } = await client.callTool({ name, arguments: { ...args } });
    const [block, ...more] = content;
    assert.ok(block?.type === 'text' && more.length === 0, 'one block of text');
    const answer: Answer = {
      isError,
      text: block.text,
      structured: structuredContent as Record<string, unknown>,
    };
    const checked = schemas.get(name)?.(answer.structured);
    if (checked)
      assert.ok(
        checked.ok,
        `${name} answered ${JSON.stringify(answer.structured)}, expected ${checked.ok ? '' : `${checked.path} ${checked.expected}`}`,
      );
    if (checked) consistent(answer);
    return answer;
  };
  const fine = async (name: string, args: object): Promise<unknown> => {
    const { isError, text, structured } = await call(name, args);
    assert.equal(isError, false, text);
    return structured;
  };
  const { prefix = '' } = options;
  return {
    mcp,
    client,
    call,
    watch: async (trigger, args) =>
      (await fine(`${prefix}watch`, {
        trigger,
        ...(args === undefined ? {} : { arguments: args }),
      })) as Watching,
    list: async (cursor) =>
      (await fine(`${prefix}watch`, cursor === undefined ? {} : { cursor })) as Listed,
    check: async (watchId, more = {}) =>
      (await fine(`${prefix}check`, { watchId, ...more })) as Checked,
    async refused(name, args) {
      const { isError, structured } = await call(name, args);
      assert.equal(isError, true, JSON.stringify(structured));
      return structured as unknown as Refused;
    },
    close: () => client.close(),
  };
}

/** A client that reads only the text must learn everything it has to act on. */
function consistent({ text, structured }: Answer): void {
  const { events = [], gaps = [], reset, next, error } = structured as Partial<Checked & Refused>;
  const lines = [
    ...events.map((event) => ({ sequence: event.sequence, words: JSON.stringify(event) })),
    ...gaps.map(({ from, to, reason }) => ({
      sequence: from,
      words: `${from === to ? `number ${from}` : `numbers ${from} to ${to}`} will never come (${reason})`,
    })),
  ].sort((a, b) => a.sequence - b.sequence);
  let at = 0;
  for (const { words } of lines) {
    at = text.indexOf(words, at);
    assert.ok(at !== -1, `the text lacks, at its place: ${words}`);
  }
  assert.equal(text.startsWith('Attention: '), reset !== undefined);
  if (error !== undefined) assert.equal(text, error.message);
  else if (next !== undefined)
    assert.ok(
      text.includes(`call ${next.tool} with ${JSON.stringify(next.arguments)}`),
      'the text lacks the next call',
    );
}

/** The numbers that an answer covers, in order: `4` an event, `5-7` a gap. */
export const covered = ({ events, gaps }: Checked): string =>
  [
    ...events.map(({ sequence }) => [sequence, String(sequence)] as const),
    ...gaps.map(({ from, to }) => [from, `${from}-${to}`] as const),
  ]
    .sort(([a], [b]) => a - b)
    .map(([, text]) => text)
    .join(' ');
