/**
 * The process that the suite starts per scenario. It passes its input to the driver: the scenario
 * and its context from the environment, and the server's URL from the second argument. The first
 * argument is the URL of the driver. Loads nothing but Node.
 */
import { text } from 'node:stream/consumers';
import { request } from 'node:http';

/** A task for the driver. */
export interface Order {
  readonly scenario: string;
  readonly url: string;
  /** Scenario-specific, as JSON. */
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
