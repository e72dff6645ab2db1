/**
 * Faults of the Python server: each one breaks one rule in one place. `plant.ts` runs them, and
 * `conformance/test/python.test.ts` demands that the kit catches them. A row of a table is one line.
 */

/** The levels that a planted server declares. A durable one runs behind the control proxy. */
export type FaultLevel = 'log' | 'stream' | 'callback' | 'durable';

export interface Fault {
  readonly level: FaultLevel;
  /** The requirement that the fault breaks, without prefix. */
  readonly check: string;
  /** A module of `conformance/peers/python`. */
  readonly file: string;
  /** Text that occurs in the module exactly once. */
  readonly old: string;
  readonly new: string;
  /** The effect, in one sentence. */
  readonly about: string;
  /** Why the kit cannot catch it. */
  readonly survives?: string;
}

type Row = readonly [
  check: string,
  about: string,
  file: string,
  old: string,
  text: string,
  survives?: string,
];

// prettier-ignore
const LOG: readonly Row[] = [
  ['ack-sent', 'A gap does not raise `sent`.', 'log.py', 'self.sent = max(self.sent, covered.last)', 'self.sent = max(self.sent, covered.events[-1][0] if covered.events else 0)'],
  ['ack-sent', 'A delivery that starts above `sent` raises it.', 'log.py', 'if after <= self.sent:', 'if True:'],
  ['ack-sent', 'Numbers that were never sent can be acknowledged.', 'methods.py', '(max(log.sent, log.acked) if acknowledging else log.head)', 'log.head'],
  ['ack-cumulative', 'An acknowledgement can go back.', 'log.py', 'self.acked = max(self.acked, sequence)', 'self.acked = sequence'],
  ['ack-only-said', 'Reading acknowledges.', 'methods.py', 'covered = found.log.cover(after, most, PULL_BYTES)', 'covered = found.log.cover(after, most, PULL_BYTES); found.log.acknowledge(covered.last)'],
  ['gap-retention-announced', 'The retention counts numbers instead of events.', 'log.py', 'self.events > retention["maxEvents"]', 'len(self.entries) - removed > retention["maxEvents"]'],
  ['gap-retention-announced', 'The retention keeps one event less than announced.', 'log.py', 'self.events > retention["maxEvents"]', 'self.events >= retention["maxEvents"]'],
  ['gap-retention-announced', 'Events leave the log at half the announced age.', 'log.py', 'entry.at + retention["maxAgeMs"] < now', 'entry.at + retention["maxAgeMs"] // 2 < now'],
  ['gap-retention-announced', 'The retention keeps half of the announced bytes.', 'log.py', 'self.bytes > retention.get("maxBytes", self.bytes)', 'self.bytes > retention.get("maxBytes", self.bytes * 2) // 2'],
  ['gap-retention-announced', 'Trimmed numbers have the reason "skipped".', 'log.py', '"to": self.trimmed, "reason": "retention"}', '"to": self.trimmed, "reason": "skipped"}'],
  ['gap-oldest', '`oldest` follows the acknowledgement.', 'log.py', 'return self.trimmed + 1', 'return self.acked + 1'],
  ['pos-old-valid', 'A delivery leaves out the trimmed numbers.', 'log.py', 'covered.gaps.append({"from": after + 1, "to": self.trimmed, "reason": "retention"})', 'pass'],
  ['pos-epoch', 'Positions of another epoch are taken.', 'methods.py', 'if position["epoch"] != log.epoch:', 'if False:'],
  ['pos-beyond-head', 'Positions beyond the log are taken.', 'methods.py', 'if acknowledging else log.head)', 'if acknowledging else 2**53)'],
  ['gap-too-large', 'The size of an event counts characters.', 'model.py', 'self.size = len(compact(self.as_json()).encode())', 'self.size = len(compact(self.as_json()))'],
  ['gap-too-large', 'An event of exactly 240 KiB is too large.', 'world.py', 'elif event.measure() > EVENT_LIMIT:', 'elif event.measure() >= EVENT_LIMIT:'],
  ['gap-same-everywhere', 'Redaction reaches the first log only.', 'world.py', '                        self.close(subscription, number, "redacted")', '                        event.fault = "redacted"; self.close(subscription, number, "redacted"); self.store.save_event(event); return'],
  ['log-once', 'Repetitions are appended.', 'world.py', 'return False  # log-once', 'pass'],
  ['log-once', 'Identifiers of two sources are taken as one.', 'world.py', 'event = Event(name, event_id or token(16), timestamp if', 'scope = ""; event = Event(name, event_id or token(16), timestamp if'],
  ['log-all-matching', 'The audience of an event is ignored.', 'world.py', 'if event.audience is not None and', 'if False and'],
  ['log-all-matching', 'A log of a selection without arguments gets nothing.', 'world.py', 'if selection["name"] != event.name:', 'if selection["name"] != event.name or not selection["arguments"]:'],
  ['sub-union', 'An event that matches two selections is appended twice.', 'world.py', 'for subscription in selected:', 'for subscription in [one for one in selected for each in one.select if self.matches(each, event)]:'],
  ['gap-effective', 'The retention of a log is that of its first selection.', 'world.py', 'all_of = [self.types[one["name"]].retention for one in select]', 'all_of = [self.types[one["name"]].retention for one in select[:1]]'],
  ['type-payload-valid', 'Invalid events are dropped.', 'world.py', 'event.fault = "invalid"  # type-payload-valid', 'return True'],
  ['type-payload-valid', 'Invalid events miss the logs whose argument the data lacks.', 'world.py', 'not shown and event.fault != "invalid":', 'not shown:'],
  ['log-unwatched', 'A source that was not watched is reported to logs without arguments only.', 'world.py', 'all(mine.get(one, value) == value for one, value in arguments.items())', 'not mine'],
  ['type-initial', 'A log does not begin with the present state.', 'methods.py', 'world.begin_with_present_state(made)', 'pass'],
  ['type-initial', 'The present state is always the first one.', 'world.py', 'data = self.states.get((selection["name"], canonical(selection.get("arguments", {}))), ', 'data = dict('],
  ['subs-since', '`since` excludes its own instant.', 'world.py', 'if one.accepted_at >= honored}', 'if one.accepted_at > honored}'],
  ['subs-since-gap', '`since` keeps the oldest events instead of the newest.', 'world.py', 'for row in sorted(held):', 'for row in sorted(held)[: subscription.retention["maxEvents"]]:'],
  ['subs-since-gap', '`since` leaves out what the log does not keep, before it assigns numbers.', 'world.py', 'for row in sorted(held):', 'for row in sorted(held)[-subscription.retention["maxEvents"] :]:'],
  ['subs-since-bound', 'The result repeats the `since` of the request.', 'world.py', 'return honored', 'return since'],
  ['subs-since-existing', 'A renewal with `since` replays.', 'methods.py', 'self.renew(existing, params)', 'self.renew(existing, params); "since" in params and world.begin_with_history(existing, milliseconds(params["since"]))'],
  ['etag-config', 'A renewal changes the ETag.', 'methods.py', 'if canonical(subscription.configuration()) != before:', 'if True:'],
  ['etag-config', 'The ETag does not cover the selections.', 'model.py', 'return [self.select, ', 'return ['],
  ['etag-config', 'The ETag does not cover the lifetime.', 'model.py', 'self.ttl, self.paused]', 'self.paused]'],
  ['etag-config', 'The ETag returns to an earlier value.', 'methods.py', 'subscription.version += 1', 'subscription.version = 3 - subscription.version'],
  ['ttl-clamp', 'Lifetimes have no upper bound.', 'methods.py', 'return min(max(asked.get("ttlMs", default), minimum), maximum)', 'return max(asked.get("ttlMs", default), minimum)'],
  ['ttl-clamp', 'An update without a lifetime grants one.', 'methods.py', 'if "ttlMs" in params or "noExpiry" in params:', 'if True:'],
  ['ttl-default', 'The default lifetime is two hours.', 'world.py', 'MIN_TTL, MAX_TTL, DEFAULT_TTL = 1_000, 30 * DAY, HOUR', 'MIN_TTL, MAX_TTL, DEFAULT_TTL = 1_000, 30 * DAY, 2 * HOUR'],
  ['ttl-renew-jitter', 'All clients get the same hint.', 'methods.py', 'random.uniform(0.5, 0.8)', '0.6'],
  ['ttl-renew-hint', 'The hint is later than the end.', 'methods.py', 'random.uniform(0.5, 0.8)', '1.2'],
  ['ttl-not-by-reading', 'Reading renews.', 'methods.py', '            if params.get("ifNoneMatch") != found.etag:', '            self.renew(found, {})\n            if params.get("ifNoneMatch") != found.etag:'],
  ['ttl-kept', 'Subscriptions never expire.', 'world.py', 'if subscription.expires_at is not None and subscription.expires_at <= now:', 'if False:'],
  ['subs-same', 'A renewal grants nothing.', 'methods.py', 'self.renew(existing, params)', 'pass'],
  ['subs-conflict', 'A call with another selection takes over the key.', 'methods.py', 'if not same(existing.select, select) or', 'if'],
  ['subs-key-scope', 'All owners share their keys.', 'methods.py', 'next((one for one in world.of_owner(owner) if one.key', 'next((one for one in world.live() if one.key'],
  ['subs-unknown-trigger', 'An unknown type is InvalidParams.', 'methods.py', 'raise Refusal("NotFound", "trigger")', 'raise invalid("/select/0/name", "a trigger type")'],
  ['subs-arguments', 'The path of wrong arguments is the selection.', 'methods.py', 'f"/select/{index}/arguments")', 'f"/select/{index}")'],
  ['iso-own', 'Every owner reads every subscription.', 'methods.py', 'if found is None or found.owner != owner:', 'if found is None:'],
  ['iso-not-found', 'Another owner learns how a subscription ended.', 'methods.py', 'if found is None or found.owner != owner:', 'if found is None or found.owner != owner and not found.ended:'],
  ['iso-iss-sub', 'Two clients of one user are one owner.', 'control.py', 'name: compact(triple)', 'name: compact(triple[:2])'],
  ['iso-principal', 'Requests without a token are served.', 'methods.py', 'if owner is None and method != "triggers/list":', 'if False:'],
  ['list-only-usable', 'The list has types that the caller may not follow.', 'world.py', 'if (owner, one.name) not in self.denied]', ']'],
  ['list-etag', 'The ETag of the list is constant.', 'methods.py', '.hexdigest()[:32]\n', '.hexdigest()[:0] + "list"\n'],
  ['list-not-modified', '`ifNoneMatch` of the list is ignored.', 'methods.py', 'params.get("ifNoneMatch") == etag:', 'False:'],
  ['get-not-modified', '`ifNoneMatch` of `triggers/get` is ignored.', 'methods.py', 'if params.get("ifNoneMatch") != found.etag:', 'if True:'],
  ['list-subs-own', 'Each page repeats the last subscription of the one before.', 'methods.py', 'if one.ordinal > start)', 'if one.ordinal >= start)'],
  ['end-revoked', 'A lost permission ends nothing.', 'world.py', 'if not allowed and told:', 'if False:'],
  ['end-recheck', 'Permissions are checked every two days.', 'world.py', 'RECHECK_MS = HOUR', 'RECHECK_MS = 48 * HOUR'],
  ['end-tombstone', 'A tombstone has no last position.', 'methods.py', 'reason=found.ended, final=final)', 'reason=found.ended)'],
  ['end-tombstone', 'A tombstone lives for an hour.', 'world.py', 'TOMBSTONE_MS = DAY', 'TOMBSTONE_MS = HOUR'],
  ['end-pull', 'A waiting pull does not see the end.', 'methods.py', 'while not subscription.ended and after', 'while after'],
  ['type-breaking', 'A removed type ends nothing.', 'world.py', '                self.end(subscription, reason)', '                pass'],
  ['upd-if-match', '`triggers/unsubscribe` ignores `ifMatch`.', 'methods.py', '            self.check_etag(found, params)\n            self.world.end', '            self.world.end'],
  ['pull-max', 'A pull returns one event too many.', 'methods.py', 'covered = found.log.cover(after, most, PULL_BYTES)', 'covered = found.log.cover(after, most + 1, PULL_BYTES)'],
  ['pull-has-more', '`hasMore` is true when there were events.', 'methods.py', 'more = last < subscription.log.head', 'more = bool(delivery["events"])'],
  ['pull-after', 'A pull without a position starts at 0.', 'methods.py', 'else found.log.acked  # pull-after', 'else 0'],
  ['pull-wait', 'A pull waits for its whole time.', 'methods.py', 'while not subscription.ended and after >= subscription.log.head and self', 'while self'],
  ['pull-ack-first', 'A pull acknowledges after it has read.', 'methods.py', 'else found.log.acked  # pull-after', 'else (min(found.log.acked, params["ack"]["sequence"] - 1) if params.get("ack") else found.log.acked)'],
  ['gen-atomic', 'A pull with a wrong position acknowledges.', 'methods.py', '                self.check_position(found, params["after"])\n            if "ack" in params:', '                "ack" in params and self.acknowledge(found, params["ack"])\n                self.check_position(found, params["after"])\n            if "ack" in params:'],
  ['gen-instants', 'Instants have six decimals.', 'model.py', 'f"{at.microsecond // 1000:03d}Z"', 'f"{at.microsecond:06d}Z"'],
  ['gen-instants', 'An instant with a lower-case `t` is refused.', 'model.py', '(\\d\\d)[Tt](\\d\\d)', '(\\d\\d)T(\\d\\d)'],
  ['gen-integers', 'Lifetimes with a fraction are taken.', 'schema.py', '"integer": lambda value: isinstance(value, int)', '"integer": lambda value: isinstance(value, (int, float))'],
  ['err-codes', 'A position conflict is NotFound.', 'methods.py', 'raise Refusal("Conflict", "position", **state, sent=log.sent)', 'raise Refusal("NotFound", "subscription")'],
];

// prettier-ignore
const STREAM: readonly Row[] = [
  ['stream-heartbeat', 'A heartbeat comes every 20 seconds.', 'stream.py', 'HEARTBEAT_MS = 10_000', 'HEARTBEAT_MS = 20_000'],
  ['stream-window', 'The window of events is ignored.', 'stream.py', 'self.events - len(self.in_flight), room', '10_000, room'],
  ['stream-window', 'The window of bytes counts one delivery only.', 'stream.py', 'room = self.bytes - sum(size for _, size in self.in_flight)', 'room = self.bytes'],
  ['stream-window', 'An event that is larger than the window is never sent.', 'stream.py', 'force=not self.in_flight', 'force=False'],
  ['stream-window', 'Acknowledged events stay in flight.', 'stream.py', 'if one[0] > log.acked]', 'if True]'],
  ['stream-first', 'A quiet stream has no first delivery.', 'stream.py', 'self.world, None, None, self', 'self.world, self.world.clock.now(), self.state(), self'],
  ['stream-tag', 'The id of the request is always a string.', 'stream.py', '"requestId": self.request_id', '"requestId": str(self.request_id)'],
  ['stream-continues', 'A delivery starts at its own last number.', 'stream.py', 'after, self.position = self.position, covered.last', 'self.position = after = covered.last'],
  ['stream-continues', 'A stream without a position starts at 0.', 'stream.py', 'else found.log.acked', 'else 0'],
  ['stream-end', 'The end comes without `terminated`.', 'stream.py', 'or due or ended:', 'or due and not ended:'],
  ['stream-end', 'A stream ends without a result.', 'wire.py', 'if not stream.canceled:', 'if False:'],
  ['stream-changed', 'A changed configuration makes no heartbeat.', 'stream.py', ' or state != seen', ''],
  ['list-changed-send', 'Streams do not say that the list has changed.', 'stream.py', 'if new_list != list_etag and', 'if False and'],
  ['stream-stalled', 'A full window ends the stream.', 'stream.py', 'while not self.canceled:', 'while not self.canceled and len(self.in_flight) < self.events:'],
  ['stream-cancel', '`notifications/cancelled` is ignored.', 'wire.py', '                    stream.canceled = True', '                    pass'],
  ['dlv-same-object', 'Events on a stream lack `acceptedAt`.', 'stream.py', '        return heading(self.subscription, after, covered.events, covered.gaps)', '        made = heading(self.subscription, after, covered.events, covered.gaps)\n        [one.pop("acceptedAt") for one in made["events"]]\n        return made'],
];

// prettier-ignore
const CALLBACK: readonly Row[] = [
  ['subs-unsupported', 'A drain that a type lacks is not refused.', 'methods.py', 'if any(drain not in one.drains for one in types):', 'if False:'],
  ['upd-if-match', 'Nothing is checked again after the verification of an update.', 'methods.py', '        self.check_etag(subscription, params)\n        known', '        verified or self.check_etag(subscription, params)\n        known'],
  ['end-tombstone', 'An update goes on although the subscription ended during its verification.', 'methods.py', '        subscription = self.find(params["subscriptionId"], owner)\n        select', '        subscription = self.world.subscriptions[params["subscriptionId"]] if verified else self.find(params["subscriptionId"], owner)\n        select'],
  ['uns-ends', 'Unsubscribing sends a notice to the callback.', 'world.py', 'if reason == "unsubscribed":', 'if False:'],
  ['etag-config', 'The ETag does not cover `paused`.', 'model.py', 'self.ttl, self.paused]', 'self.ttl]'],
  ['etag-config', 'The ETag does not cover the secret.', 'model.py', 'self.callback and self.callback.parameters(), self.ttl', 'self.callback and self.callback.url, self.ttl'],
  ['subs-verified', 'A subscription is created without asking the endpoint.', 'methods.py', 'if "callback" in params and verified is None:\n            return None\n', 'verified = verified or world.clock.now()\n'],
  ['subs-id-first', 'The challenge names another id.', 'methods.py', 'self.verify(owner, params["callback"], subscription_id, params["key"])', 'self.verify(owner, params["callback"], "sub_" + token(), params["key"])'],
  ['upd-verify', 'Another URL replaces the callback without verification.', 'methods.py', 'if given and not known and verified is None:', 'verified = verified or (given and current and current.url != given["url"] and self.world.clock.now()) or None\n        if given and not known and verified is None:'],
  ['upd-rotate', 'A rotation drops the previous secret at once.', 'methods.py', 'current.previous, current.previous_until = current.secret, self', 'current.previous, current.previous_until = None, self'],
  ['upd-detach', '`removeCallback` removes nothing.', 'methods.py', 'subscription.callback = None  # upd-detach', 'pass'],
  ['upd-resume', '`resume` keeps the failure counters.', 'model.py', 'self.suspended_at = self.probe_at = None\n        self.reset()', 'self.suspended_at = self.probe_at = None'],
  ['sub-only-client-resumes', 'A renewal resumes a suspended callback.', 'methods.py', '        subscription.ttl = grant(params, "durable" in self.levels)', '        subscription.callback and subscription.callback.resume()\n        subscription.ttl = grant(params, "durable" in self.levels)'],
  ['retry-success', 'A success keeps the failure counters.', 'deliveries.py', 'callback.reset()  # retry-success', 'pass'],
  ['retry-success', '`resume` clears the last error.', 'model.py', 'self.suspended_at = self.probe_at = None\n', 'self.suspended_at = self.probe_at = self.last_error = None\n'],
  ['sub-paused', 'A paused callback gets events.', 'deliveries.py', 'and not subscription.paused:', 'and True:'],
  ['sub-no-secret', 'The subscription shows the URL.', 'methods.py', '"origin": destinations.origin(callback.url),', '"origin": callback.url,'],
  ['sig-secret-format', 'A secret in another spelling of base64 is taken.', 'callback.py', ' or "whsec_" + base64.b64encode(data).decode() != secret', ''],
  ['ans-current-only', 'The answer of a replaced callback counts.', 'deliveries.py', 'if subscription.ended or subscription.callback is not callback or any(one not in known for one in signed):', 'if subscription.ended:'],
  ['cb-one-lease', 'A replaced callback does not block the next attempt.', 'methods.py', '            subscription.callback = self.new_callback(given, verified)\n            return', '            subscription.callback = self.new_callback(given, verified)\n            subscription.busy = False\n            return'],
  ['cb-start', 'A delivery starts one number too late.', 'deliveries.py', 'covered = log.cover(log.acked, min(', 'covered = log.cover(min(log.acked + 1, log.head - 1), min('],
  ['cb-batch', 'A request has up to 1,000 events.', 'callback.py', 'MOST_EVENTS = 100', 'MOST_EVENTS = 1_000'],
  ['cb-body-limit', 'A body has up to 512 KiB.', 'deliveries.py', 'EVENT_BYTES = BODY_LIMIT - 16_384', 'EVENT_BYTES = 2 * BODY_LIMIT'],
  ['cb-deadline', 'An attempt may take 20 seconds.', 'callback.py', 'DEADLINE_MS = 10_000', 'DEADLINE_MS = 20_000'],
  ['cb-answer-limit', 'The server reads an answer without end.', 'callback.py', 'answer.read(ANSWER_LIMIT)', 'answer.read()'],
  ['cb-id-range', 'Every delivery has a random id.', 'callback.py', 'if last == after:', 'if True:'],
  ['cb-id-range', 'The id does not cover the gaps.', 'callback.py', 'runs = ",".join(f"{gap[\'from\']}-{gap[\'to\']}" for gap in gaps)', 'runs = ""'],
  ['cb-headers', 'The request does not name the subscription.', 'callback.py', '            "MCP-Subscription-Id": subscription_id,\n', ''],
  ['sig-timestamp', 'The timestamp has milliseconds.', 'callback.py', 'timestamp = str(self._clock.now() // 1000)', 'timestamp = str(self._clock.now())'],
  ['sig-rotation', 'The previous secret signs first.', 'model.py', 'return [self.secret, self.previous] if rotating', 'return [self.previous, self.secret] if rotating'],
  ['sig-rotation-end', 'A rotation lasts for ten minutes.', 'methods.py', 'ROTATION_MS = 300_000', 'ROTATION_MS = 600_000'],
  ['sig-rotation-end', '`revokePrevious` is ignored.', 'methods.py', 'if params.get("revokePrevious") and subscription.callback:', 'if False:'],
  ['cbv-proof', 'Every 2xx answer is a proof.', 'deliveries.py', 'return None if is_proof(secret, text, answer.body) else "challenge_failed"', 'return None'],
  ['cbv-one-request', 'A challenge that fails is repeated.', 'deliveries.py', '        if answer.category:\n            return answer.category', '        if answer.status != 200:\n            answer = self.caller.post(url, [secret], webhook_id(subscription_id, "", 0, 0, []), subscription_id, params)\n        if answer.category:\n            return answer.category'],
  ['cbv-rate', 'Verifications can fail without limit.', 'methods.py', 'if len(recent) >= most:', 'if False:'],
  ['ans-partial', 'An acknowledgement covers the whole delivery.', 'deliveries.py', 'subscription.log.acknowledge(number)', 'subscription.log.acknowledge(covered.last)'],
  ['ans-no-ack', 'An answer that acknowledges nothing is a success.', 'callback.py', 'if number > after or after == last else None', 'if True else None'],
  ['ans-no-ack', 'An acknowledgement beyond the delivery counts.', 'callback.py', 'not after <= number <= last:', 'number < after:'],
  ['ans-partial', 'The next delivery comes at once after a partial acknowledgement.', 'deliveries.py', 'callback.retry_at = now + 100  # ans-partial', 'callback.retry_at = now'],
  ['ans-reject', 'A rejected event is acknowledged.', 'deliveries.py', 'self.world.close(subscription, rejected, "rejected")  # ans-reject', 'number = rejected'],
  ['ans-reject', 'A rejection makes no gap.', 'deliveries.py', 'self.world.close(subscription, rejected, "rejected")  # ans-reject', 'pass'],
  ['ans-reject-gap', 'A reported gap that is rejected is never settled.', 'deliveries.py', 'if rejected is not None and covered.gap_at(rejected):', 'if False:'],
  ['ans-reject-other', 'Any event of the delivery can be rejected.', 'callback.py', '_natural(rejected) and rejected == number + 1 and', '_natural(rejected) and rejected > number and'],
  ['ans-gone', '410 does not suspend.', 'deliveries.py', 'callback.suspend(now, "gone")  # ans-gone', 'self._failed(subscription, callback, covered, "gone", now)'],
  ['ans-413', 'After 413 the same events come again.', 'deliveries.py', 'callback.batch = len(covered.events) // 2', 'pass'],
  ['ans-413', '413 for one event makes no gap.', 'deliveries.py', 'return self.world.close(subscription, covered.events[0][0], "too_large")', 'return None'],
  ['ans-retry-after', '`Retry-After` is ignored.', 'callback.py', 'wish = retry_after_ms(answer.retry_after, now) if status in (429, 503) else None', 'wish = None'],
  ['subs-verified', 'A TLS failure is a refused connection.', 'callback.py', 'else "tls_error")', 'else "connection_refused")'],
  ['retry-config-limit', 'Configuration failures never suspend.', 'deliveries.py', 'if misplaced or now', 'if now'],
  ['retry-time-limit', 'A day of failures does not suspend.', 'deliveries.py', ' or now - callback.failing_since >= DAY:', ':'],
  ['retry-skip', 'An event that fails is never skipped.', 'deliveries.py', 'if held_up and covered.events:', 'if False:'],
  ['retry-skip-config', 'Configuration failures skip events.', 'deliveries.py', 'outcome["category"], now, configuration=True)', 'outcome["category"], now)'],
  ['retry-probe', 'A suspended endpoint gets no challenge.', 'model.py', 'self.probe_at = now + 60_000', 'self.probe_at = None'],
  ['end-callback', 'The callback does not hear of the end.', 'world.py', 'subscription.notice_at = now  # end-callback', 'subscription.notice_at = None'],
  ['end-callback', 'The notice of the end is not repeated.', 'deliveries.py', 'if not answer.category and 200 <= answer.status <= 299:', 'if True:'],
  ['curl-opaque', 'The server simplifies the URL.', 'destinations.py', 'path + (query or "")', 'path.replace("//", "/") + (query or "")'],
  ['ssrf-literal', 'Callbacks can go to 10.0.0.0/8.', 'destinations.py', '"0.0.0.0/8", "10.0.0.0/8",', '"0.0.0.0/8",'],
  ['ssrf-normal-form', 'A path can have dot segments.', 'destinations.py', 'if any(re.sub("%2e", ".", segment, flags=re.I) in _DOTS for segment in path.split("/")):', 'if False:'],
  ['ssrf-blind', 'A name with a private address has its own category.', 'destinations.py', 'raise ConnectionRefusedError  # ssrf-blind', 'raise TimeoutError'],
  ['err-no-value', 'An error repeats the callback URL.', 'destinations.py', 'raise invalid("/callback/url", expected)', 'raise invalid("/callback/url", f"{expected}, not {url}")'],
  ['ttl-endpoint', 'A renewal asks the endpoint again.', 'methods.py', '        if existing:\n', '        if existing and "callback" in params and verified is None:\n            return None\n        if existing:\n'],
];

// prettier-ignore
const DURABLE: readonly Row[] = [
  ['log-durable-sent', '`sent` is not stored.', 'store.py', 'LOG_MEMBERS = ("epoch", "trimmed", "acked", "sent")', 'LOG_MEMBERS = ("epoch", "trimmed", "acked")'],
  ['log-durable-sent', '`sent` is stored with the next change only.', 'methods.py', 'world.save(found)  # log-durable-sent', 'pass'],
  ['ttl-survives', 'Tombstones are not stored.', 'world.py', '        self.store.delete_log(subscription)\n        self.save(subscription)', '        self.store.delete_subscription(subscription)'],
  ['ttl-survives', 'The state of a callback is not stored.', 'store.py', 'document["callback"] = dataclasses.asdict(subscription.callback)', 'document["callback"] = dataclasses.asdict(subscription.callback) | {"suspended_at": None, "attempts": 0, "last_error": None}'],
  ['ttl-survives', 'The secret of a callback is not stored.', 'store.py', 'document["callback"][name] = self._cipher.seal(document["callback"][name])', 'document["callback"][name] = self._cipher.seal(document["callback"][name] if name == "url" else "whsec_" + "A" * 32)'],
  ['ttl-survives', 'The end of the lifetime is counted from the start of the process.', 'world.py', '        self.subscriptions = {one.id: one for one in subscriptions}', '        for one in subscriptions:\n            one.expires_at = one.ttl and self.clock.now() + one.ttl\n        self.subscriptions = {one.id: one for one in subscriptions}'],
  ['ack-only-said', 'An acknowledgement is committed 100 ms after the answer.', 'store.py', '        self._db.execute("commit")\n        self.dirty = False\n        self._witness()', '        if not getattr(self, "late", None):\n            import threading\n\n            def later():\n                self._db.execute("commit")\n                self.dirty, self.late = False, None\n                self._witness()\n\n            self.late = threading.Timer(0.1, later)\n            self.late.start()'],
  ['ack-only-said', 'An acknowledgement is not stored.', 'methods.py', '        self.was_read(subscription)\n        self.world.save(subscription)', '        self.was_read(subscription)'],
  ['log-no-silent-loss', 'Events are stored without their numbers.', 'world.py', '        self.store.save_entry(subscription, number)\n        if trim:', '        if trim:'],
  ['gap-final', 'A redaction is not stored in the log.', 'world.py', '        if subscription.log.close(number, reason):\n            self.store.save_entry(subscription, number)', '        subscription.log.close(number, reason)'],
  ['log-once', 'The identifiers of events are forgotten in a crash.', 'world.py', '        self.by_identity[event.scope, event.name, event.event_id] = event', '        if hasattr(self, "ordinal"):\n            self.by_identity[event.scope, event.name, event.event_id] = event'],
  ['log-epoch-rotate', 'Every start begins a new epoch.', 'world.py', 'if store.lost_writes():', 'if True:'],
  ['log-epoch-rotate', 'Lost writes are not noticed.', 'world.py', 'if store.lost_writes():', 'if False:'],
  ['log-epoch-renumber', 'A new epoch keeps `acked`.', 'log.py', 'self.epoch, self.acked, self.sent = token(16), 0, 0', 'self.epoch, self.sent = token(16), 0'],
  ['etag-config', 'A new epoch keeps the ETag.', 'model.py', 'return f"{self.log.epoch[:8]}-{self.version}"', 'return f"{self.id[4:12]}-{self.version}"'],
  ['ttl-null', 'A subscription without a suggested lifetime has no expiry.', 'methods.py', 'if asked.get("noExpiry"):', 'if asked.get("noExpiry") or "ttlMs" not in asked:'],
  ['cbv-daily', 'The callback of a subscription without expiry is verified once.', 'deliveries.py', 'checks = [callback.checked_at + DAY] if subscription.expires_at is None else []', 'checks = []'],
  ['end-suspended', 'A suspension lasts for ever.', 'world.py', '        return max(callback.suspended_at, subscription.read_at) + MAX_SUSPENDED', '        return None'],
  ['end-suspended', 'Reading does not put off the end of a suspended subscription.', 'world.py', 'return max(callback.suspended_at, subscription.read_at) + MAX_SUSPENDED', 'return callback.suspended_at + MAX_SUSPENDED'],
];

const of = (level: FaultLevel, rows: readonly Row[]): Fault[] =>
  rows.map(([check, about, file, old, text, survives]) => ({
    level,
    check,
    about,
    file,
    old,
    new: text,
    ...(survives === undefined ? {} : { survives }),
  }));

export const faults: readonly Fault[] = [
  ...of('log', LOG),
  ...of('stream', STREAM),
  ...of('callback', CALLBACK),
  ...of('durable', DURABLE),
];
