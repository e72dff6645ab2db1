/**
 * What the suite starts per scenario: passes on what it is told (the scenario and its context in the environment, the server's URL as the last argument)
 * to the driver, whose URL is the argument before. Loads nothing but Node.
 */
import { text } from 'node:stream/consumers';
import { request } from 'node:http';

/** What to do, for the driver. */
export interface Order {
  readonly scenario: string;
  readonly url: string;
  /** JSON, by scenario. */
  readonly context: string;
}

const [driver = '', url = ''] = process.argv.slice(2);
const { MCP_CONFORMANCE_SCENARIO: scenario = '', MCP_CONFORMANCE_CONTEXT: context = '{}' } =
  process.env;
const order: Order = { scenario, url, context };
request(driver, { method: 'POST' }, async (answer) => {
  process.stderr.write(await text(answer));
  process.exitCode = answer.statusCode === 200 ? 0 : 1;
}).end(JSON.stringify(order));
