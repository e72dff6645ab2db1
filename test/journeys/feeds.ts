/**
 * The sources of a journey's events: GitHub over HTTP, or a watched folder where nobody can post.
 * Both have one interface.
 */
import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TriggerEvent, Selection } from 'mcp-triggers-experimental';
import { webhooks, type GitHub, type Webhook } from '../../scripts/demo/github.ts';

export interface Feed {
  readonly select: readonly Selection[];
  /**
   * Makes one event happen; resolves with the value that `identify` will return for it, once the
   * upstream knows that it is accepted.
   */
  happen(): Promise<string>;
  identify(event: TriggerEvent): string;
  /** Whether each start of the server leaves a gap, because nobody watched the source before it. */
  readonly isUnwatchedAtStart?: boolean;
  /** Sends the first event again, where the upstream can. */
  readonly repeat?: () => Promise<void>;
}

/** `kind` keeps the journeys that share a server apart. */
export function githubFeed(github: GitHub, kind: string): Feed {
  const source = webhooks([kind]);
  const sent: Webhook[] = [];
  const post = async (webhook: Webhook) => github.post(webhook, AbortSignal.timeout(90_000));
  return {
    select: [{ name: `github.${kind}` }],
    async happen() {
      const webhook = source.next().value;
      sent.push(webhook);
      const { status, duplicate } = await post(webhook);
      assert.deepEqual({ status, duplicate }, { status: 202, duplicate: false });
      return webhook.id;
    },
    identify: ({ eventId }) => eventId,
    async repeat() {
      const { status, duplicate } = await post(sent[0]!);
      assert.deepEqual({ status, duplicate }, { status: 202, duplicate: true });
    },
  };
}

export function folderFeed(folder: string, watched: string): Feed {
  let count = 0;
  return {
    select: [{ name: 'file.changed' }],
    isUnwatchedAtStart: true,
    async happen() {
      const name = `note-${++count}.txt`;
      // A file is moved into place whole, so that it is one event however slowly it is written.
      const draft = join(folder, name);
      await writeFile(draft, `note ${count}`);
      await rename(draft, join(watched, name));
      return name;
    },
    identify: ({ data }) => (data as { readonly path: string }).path,
  };
}
