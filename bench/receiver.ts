/**
 * The receiver of the callback benchmarks, in a process of its own. It answers a challenge with its
 * proof, and every other POST with the last sequence number as `ack`. It finds that number without
 * parsing JSON, so that it takes little time. The library and the raw loop are both measured
 * against it.
 */
import { createServer } from 'node:http';
import { createHmac, createSecretKey } from 'node:crypto';

const proofKey = createSecretKey(Buffer.from(process.argv[2] ?? '', 'base64'));
let posts = 0;
let events = 0;

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = (chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)).toString('latin1');
    const challenge = /"challenge":"([^"]+)"/.exec(body)?.[1];
    let answer: string;
    if (challenge !== undefined) {
      answer = JSON.stringify({
        challenge,
        proof: createHmac('sha256', proofKey).update(`challenge.${challenge}`).digest('base64'),
      });
    } else {
      posts += 1;
      const at = body.lastIndexOf('{"sequence":');
      const after = /"after":([0-9]+)/.exec(body.slice(0, 400))?.[1] ?? '0';
      if (at !== -1) events += body.split('{"sequence":').length - 1;
      answer = `{"ack":${at === -1 ? after : Number.parseInt(body.slice(at + 12, at + 32), 10)}}`;
      // The message says when it was made. The emitter runs on the same machine, so the clocks
      // agree.
      const made = /"madeAt":([0-9.]+)/.exec(body)?.[1];
      if (made !== undefined)
        process.send?.({ latencyMs: performance.timeOrigin + performance.now() - Number(made) });
    }
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': answer.length,
    });
    response.end(answer);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () =>
  process.send?.({ port: (server.address() as { port: number }).port }),
);
process.on('message', (message) => {
  if (message === 'count') {
    process.send?.({ posts, events });
    posts = 0;
    events = 0;
  }
  if (message === 'stop') process.exit(0);
});
process.on('disconnect', () => process.exit(0));
