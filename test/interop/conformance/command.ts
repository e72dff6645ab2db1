/**
 * The process that the suite starts per scenario: passes its input (the scenario and its context
 * from the environment, the server's URL as the last argument) to the driver, whose URL is the
 * argument before. Loads nothing but Node.
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
