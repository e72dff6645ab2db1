"""The server's own functions against the vectors of `spec-schema/draft/vectors` (docs/porting.md, step 1).

python3 conformance/peers/python/vectors_test.py
"""

import json
import sys

import callback
import destinations
import methods
from errors import DRAFT, Refusal
from log import Entry, Log
from model import Callback, Event, Subscription
from schema import canonical, demand


def file_of(family):
    return json.loads((DRAFT / "vectors" / f"{family}.json").read_text())


def webhook_id(case, _):
    return case["webhookId"] == callback.webhook_id(case["subscriptionId"], case["epoch"], case["afterSequence"], case["last"], case["gaps"])


def challenge_proof(case, _):
    return callback.is_proof(case["secret"], case["challenge"], case["answer"])


def callback_address(case, _):
    return destinations.all_public(case["addresses"])


def callback_answer(case, file):
    given = case["answer"]
    answer = callback.Answer(given["status"], given.get("body"), given.get("retryAfter"))
    made = callback.meaning(case["sent"]["afterSequence"], case["sent"]["last"], answer, file["nowMs"])
    assert made == case["expected"], made
    return made["kind"] == "acked"


def ttl_grant(case, _):
    policy, asked = case["policy"], {name: case[name] for name in ("ttlMs", "noExpiry") if name in case}
    try:
        demand({"$ref": "#/$defs/UpdateRequestParams"}, {"subscriptionId": "sub_0123456789012345678901", **asked})
    except Refusal:
        return False
    granted = methods.grant(asked, policy["allowNoExpiry"], policy["minMs"], policy["maxMs"], policy["defaultMs"])
    assert granted == case["expected"].get("ttlMs"), granted
    return True


def subscription_etag(case, _):
    state = dict(case["given"])
    made = Subscription("sub", "owner", "key", 1, state.get("select"), {}, 0, Log(epoch="e" * 8))
    etags = []
    for change in [{}, *case["steps"]]:
        before, state = canonical(made.configuration()), {**state, **change}
        made.select, made.ttl, made.paused = state.get("select"), state.get("ttlMs"), state.get("paused", False)
        made.callback = state.get("callback") and Callback(canonical(state["callback"]), state.get("secret", ""), 0, state.get("skipAfterMs"))
        if "epoch" in change:
            made.log.epoch = f"{len(etags):08d}" if change["epoch"] != made.log.epoch else made.log.epoch
        if etags and canonical(made.configuration()) != before:
            made.version += 1
        etags.append(made.etag)
    # Which of them are equal, whatever they look like.
    assert [etags.index(one) for one in etags] == [case["etags"].index(one) for one in case["etags"]], etags
    return True


FAMILIES = [webhook_id, challenge_proof, callback_address, callback_answer, ttl_grant, subscription_etag]


def main():
    differ, count = [], 0
    for run in FAMILIES:
        file = file_of(run.__name__.replace("_", "-"))
        for case in file["cases"]:
            count += 1
            try:
                agrees = run(case, file) == (case["verdict"] == "valid")
            except Exception as why:
                agrees = repr(why)
            if agrees is not True:
                differ.append(f"{file['family']} {case['id']}: {case['comment']} ({agrees})")
    print(*differ, f"{count} cases, {len(differ)} differ", sep="\n")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
