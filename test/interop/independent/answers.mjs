// The table "Answers" of sep/0000-triggers.md, implemented from the SEP alone: what a callback's
// answer means to the server. The independent implementation uses it to check that its receiver's
// answers are understood. Names in square brackets are requirement ids of the SEP.
const HOUR_MS = 3_600_000;
const CONFIGURATION = [400, 401, 403, 404, 415, 422];
const failure = (category, retryAfterMs = null) => ({ kind: 'transient', category, retryAfterMs });

/** [ans-retry-after]: seconds or an HTTP date, at most an hour; null when it is neither. */
function waitOf(text, nowMs) {
  if (text === undefined) return null;
  const dated = /GMT$/.test(text) ? text : `${text} GMT`;
  const ms = /^[0-9]+$/.test(text) ? Number(text) * 1000 : Date.parse(dated) - nowMs;
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), HOUR_MS);
}

function acknowledged({ afterSequence, last }, body) {
  const n = body?.ackSequence;
  if (!Number.isInteger(n) || n < afterSequence || n > last) return undefined; // [ans-no-ack]
  if (body.reject === undefined)
    return n === afterSequence && last > afterSequence
      ? undefined
      : { kind: 'acked', ackSequence: n, reject: null }; // [ans-no-ack]
  return body.reject?.sequence === n + 1 && n < last
    ? { kind: 'acked', ackSequence: n, reject: n + 1 }
    : undefined; // [ans-reject-other]
}

/** The outcome of a delivery that covered `sent.afterSequence + 1` to `sent.last`. */
export function outcomeOf(sent, { status, body, retryAfter }, nowMs) {
  if (status >= 200 && status < 300) return acknowledged(sent, body) ?? failure('no_ack');
  if (status >= 300 && status < 400) return { kind: 'config', category: 'http_4xx' }; // [ans-no-redirect]
  if (CONFIGURATION.includes(status)) return { kind: 'config', category: 'http_4xx' };
  if (status === 410) return { kind: 'gone' }; // [ans-gone]
  if (status === 413) return { kind: 'too_large' }; // [ans-413]
  const wait = status === 429 || status === 503 ? waitOf(retryAfter, nowMs) : null;
  return failure(status >= 400 && status < 500 ? 'http_4xx' : 'http_5xx', wait);
}
