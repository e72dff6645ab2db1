/** Starts the Python server for tests: as it is, or a copy with a fault. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ControlProxy } from '../../runner/control-proxy.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const FOLDER = fileURLToPath(new URL('.', import.meta.url));

export interface PythonServer {
  readonly url: string;
  readonly token: string;
  readonly control: string;
  close(): Promise<void>;
}

/** A copy of the server's modules, in a place from which they find the schema. */
export function copyOfServer(): { readonly folder: string; remove(): void } {
  const root = mkdtempSync(join(tmpdir(), 'python-server-'));
  const folder = join(root, 'conformance/peers/python');
  mkdirSync(folder, { recursive: true });
  cpSync(FOLDER, folder, { recursive: true, filter: (file) => !file.includes('__pycache__') });
  symlinkSync(join(ROOT, 'spec-schema'), join(root, 'spec-schema'));
  return { folder, remove: () => rmSync(root, { recursive: true, force: true }) };
}

/** Starts a server that is not durable, with these levels. */
export async function startServer(level: string, folder = FOLDER): Promise<PythonServer> {
  const child = spawn(
    'python3',
    [join(folder, 'server.py'), '--level', level, '--unsafe-allow-loopback'],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  try {
    const line = await Promise.race([
      once(createInterface(child.stdout), 'line') as Promise<[string]>,
      once(child, 'exit').then(() => {
        throw new Error('the Python server did not start');
      }),
    ]);
    const access = JSON.parse(line[0]) as Omit<PythonServer, 'close'>;
    return { ...access, close: () => killed(child) };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

/** Starts a durable server behind the kit's control proxy. */
export async function startDurable(folder = FOLDER): Promise<PythonServer> {
  const data = mkdtempSync(join(tmpdir(), 'python-store-'));
  const [port, controlPort] = [await freePort(), await freePort()];
  const script = join(folder, 'server.py');
  const proxy = await ControlProxy.start({
    command: `exec python3 '${script}' --unsafe-allow-loopback --port ${port} --control-port ${controlPort} --data '${data}/store' --outside '${data}/outside' >/dev/null 2>&1`,
    inner: `http://127.0.0.1:${controlPort}/`,
    data: `${data}/store`,
  });
  const offer = (await (await fetch(proxy.url)).json()) as { tokens: { main: string } };
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    token: offer.tokens.main,
    control: proxy.url,
    async close() {
      await proxy.close();
      rmSync(data, { recursive: true, force: true });
    },
  };
}

async function killed(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}
