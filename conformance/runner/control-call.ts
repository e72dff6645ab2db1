/** Requests to a control interface: its offer, and its verbs. */
import { controlProblem, type ControlledRole } from './control-schema.ts';
import { NotShown } from './observations.ts';
import { hide, parsed, recorder } from './trace.ts';
import type { Json } from './wire/session.ts';

/** The answer to `GET`. Throws unless it is a success and has the form of the schema. */
export async function offerAt(url: string, role: ControlledRole): Promise<Json> {
  const record = recorder();
  record({ from: 'kit', what: 'control request', to: 'GET' });
  const response = await fetch(url, {
    headers: { connection: 'close' },
    signal: AbortSignal.timeout(10_000),
  }).catch((error: unknown) => {
    throw new Error('The control interface does not answer. Start it or correct --control.', {
      cause: error,
    });
  });
  if (!response.ok)
    throw new Error(`The control interface answered HTTP ${response.status}. Check --control.`);
  const text = await response.text();
  let offer: Json;
  try {
    offer = JSON.parse(text);
  } catch (error) {
    throw new Error('The control interface did not answer with JSON. Check --control.', {
      cause: error,
    });
  }
  const problem = controlProblem(`${role}Offer`, offer);
  if (problem !== null)
    throw new Error(
      `The answer of the control interface does not have the form of control.schema.json: ${problem}. Correct it, or correct --control.`,
    );
  hide(...Object.values(offer?.tokens ?? {}).filter((token) => typeof token === 'string'));
  record({ from: 'peer', what: 'control answer', status: response.status, body: offer });
  return offer;
}

/**
 * Runs a verb. Throws `NotShown` when the control interface does not know it, `Error` when it
 * fails.
 */
export async function callVerb(
  url: string,
  role: ControlledRole,
  verb: string,
  params: object,
  timeoutMs: number,
): Promise<Json> {
  const record = recorder();
  const body = { do: verb, ...params };
  const problem = controlProblem(`${role}.${verb}`, body);
  if (problem !== null)
    throw new Error(
      `control.schema.json does not describe this request: ${problem}. Correct one of them.`,
    );
  record({ from: 'kit', what: 'control request', to: 'POST', body });
  const response = await fetch(url, {
    method: 'POST',
    // A crash closes the connections that an earlier request left open.
    headers: { 'content-type': 'application/json', connection: 'close' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  });
  const text = await response.text();
  const answer: Json = parsed(text);
  record({ from: 'peer', what: 'control answer', status: response.status, body: answer });
  if (response.ok) return answer;
  if (answer?.error === 'unknown_verb')
    throw new NotShown(`The control interface does not know the verb "${verb}".`);
  throw new Error(
    `the control verb "${verb}" failed: HTTP ${response.status} ${String(answer?.message ?? text).slice(0, 200)}`,
  );
}
