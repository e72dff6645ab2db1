/** A concurrent sender that repeats each event until it is accepted, and records when that was. */
import { setTimeout as sleep } from 'node:timers/promises';

const RETRY_MS = 10;
const PAUSE_MS = 4;

/** One event, and the interval in which it was accepted. */
export interface Accepted {
  readonly eventId: string;
  /** Time of the first attempt. */
  readonly from: number;
  /** Time of the 202. */
  readonly to: number;
}

export class Upstream {
  readonly accepted: Accepted[] = [];
  /** Attempts that got no answer. */
  unanswered = 0;
  /** Repetitions that the server knew: it had accepted the event, and its answer was lost. */
  known = 0;
  readonly #url: string;
  #count = 0;

  constructor(origin: string) {
    this.#url = `${origin}/emit`;
  }

  /**
   * Sends until `enough` fires; resolves when every started event is accepted, or `stop` has fired.
   */
  async run(senders: number, enough: AbortSignal, stop: AbortSignal): Promise<void> {
    await Promise.all(
      Array.from({ length: senders }, async () => {
        while (!enough.aborted) {
          await this.#send(`event-${++this.#count}`, stop);
          await sleep(PAUSE_MS);
        }
      }),
    );
  }

  async #send(eventId: string, stop: AbortSignal): Promise<void> {
    const from = performance.now();
    const body = JSON.stringify({ eventId, data: { about: eventId } });
    while (!stop.aborted) {
      const answer = await fetch(this.#url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      }).then(
        async (response) => ({ status: response.status, text: await response.text() }),
        () => undefined,
      );
      if (answer?.status === 202) {
        if (answer.text === 'duplicate') this.known += 1;
        this.accepted.push({ eventId, from, to: performance.now() });
        return;
      }
      this.unanswered += 1;
      await sleep(RETRY_MS);
    }
  }
}
