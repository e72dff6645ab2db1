/**
 * Connects an SDK client to every kind of target, and attaches the observers of its transport
 * before the first byte.
 */
import {
  Client,
  StreamableHTTPClientTransport,
  SUPPORTED_PROTOCOL_VERSIONS,
  type ClientCapabilities,
  type Transport,
} from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { systemClock } from '../../protocol/lib/clock.ts';
import { placeCapability } from '../../protocol/wire/capability.ts';
import { EXTENSION_ID } from '../../protocol/wire/schema.ts';
import { HttpGuard } from './http-guard.ts';
import { EVENTS_EXTENSION_ID } from '../../protocol/events/names.ts';
import { noRevision, peerError } from './peer-error.ts';
import { ServerStream } from './server-stream.ts';
import type { ConnectOptions, HttpTarget, StdioTarget } from './targets.ts';
import { observeTransport } from './transport-state.ts';

/**
 * A subclass of the SDK's transport: for the class itself the SDK starts a second process, to probe
 * the era.
 */
class InPlaceStdioTransport extends StdioClientTransport {}

/**
 * Connects over HTTP, or starts the process. Errors over HTTP are translated; errors of a process
 * are those of the SDK.
 */
export async function dial(
  target: HttpTarget | StdioTarget,
  options: ConnectOptions,
): Promise<Client> {
  const { protocol = 'auto' } = options;
  try {
    return await attempt(target, options, MODES[protocol]);
  } catch (error) {
    // A server that does not know discovery may exit at the probe. A second process gets
    // `initialize` at once.
    const exitedAtProbe =
      'command' in target &&
      protocol === 'auto' &&
      (error as { code?: unknown }).code === 'ERA_NEGOTIATION_FAILED';
    if (!exitedAtProbe) throw error;
    return attempt(target, options, MODES['2025-11-25']);
  }
}

const MODES = {
  auto: 'auto',
  '2026-07-28': { pin: '2026-07-28' },
  '2025-11-25': 'legacy',
} as const;

async function attempt(
  target: HttpTarget | StdioTarget,
  { clientInfo, dataRef, timeoutMs }: ConnectOptions,
  mode: (typeof MODES)[keyof typeof MODES],
): Promise<Client> {
  const client = new Client(clientInfo ?? { name: 'mcp-triggers-experimental', version: '0' }, {
    capabilities: capabilitiesOf(dataRef === true),
    versionNegotiation: { mode },
  });
  const transport = 'url' in target ? httpTransport(target) : stdioTransport(target);
  const { handshake, guard } = observeTransport(transport);
  try {
    await client.connect(transport, timeoutMs === undefined ? {} : { timeout: timeoutMs });
  } catch (error) {
    // The SDK has no error for a revision that it does not know.
    if (
      handshake.revision !== undefined &&
      !SUPPORTED_PROTOCOL_VERSIONS.includes(handshake.revision)
    )
      throw noRevision(undefined);
    throw 'url' in target ? peerError(error, guard?.token) : error;
  }
  return client;
}

/** The client's capabilities. Settings with content are in the place of every revision. */
function capabilitiesOf(dataRef: boolean): ClientCapabilities {
  const extensions = { [EXTENSION_ID]: {}, [EVENTS_EXTENSION_ID]: {} };
  return dataRef ? placeCapability({ extensions }, { options: ['dataRef'] }) : { extensions };
}

/** Bounds for the `retry:` field that a server sends on a stream. */
const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 30_000;

function httpTransport({ url, token, authProvider, requestInit, fetch }: HttpTarget): Transport {
  const bearer =
    token === undefined
      ? undefined
      : { token: async () => (typeof token === 'function' ? token() : token) };
  const auth = authProvider ?? bearer;
  const guard = new HttpGuard(fetch ?? globalThis.fetch);
  const stream = new ServerStream(guard.fetch);
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    ...(auth ? { authProvider: auth } : {}),
    ...(requestInit ? { requestInit } : {}),
    fetch: stream.fetch,
    reconnectionScheduler: (reconnect, delayMs) =>
      systemClock.after(Math.min(RETRY_MAX_MS, Math.max(RETRY_MIN_MS, delayMs)), reconnect, {
        background: true,
      }),
  });
  observeTransport(transport, { guard, serverStream: stream });
  return transport;
}

function stdioTransport({
  command,
  args = [],
  env,
  cwd,
  stderr = 'inherit',
}: StdioTarget): Transport {
  return new InPlaceStdioTransport({
    command,
    args: [...args],
    stderr,
    ...(env ? { env: { ...env } } : {}),
    ...(cwd === undefined ? {} : { cwd }),
  });
}
