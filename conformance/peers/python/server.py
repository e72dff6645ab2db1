"""A server of the Triggers extension on Python's standard library (3.11 or later), written from docs/porting.md and the specification.

    python3 conformance/peers/python/server.py --port 8080 --control-port 9000 --data ./data --unsafe-allow-loopback

Prints { "url", "token", "control" } when it serves. Without `--data` it is not durable: everything is in memory. `--level` limits what it
declares. `--outside` is the folder for what must not be restored together with the store (see store.py).
"""

import argparse
import json
import os
import threading

import control
import wire
from callback import Caller
from deliveries import Deliveries
from methods import Methods
from model import Clock
from store import Store
from world import World


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--control-port", type=int, default=0)
    options.add_argument("--data")
    options.add_argument("--outside")
    options.add_argument("--level", default="log,stream,callback", help="levels to declare; durable follows from --data")
    # ssrf-development: visibly unsafe, and for tests only.
    options.add_argument("--unsafe-allow-loopback", action="store_true")
    given = options.parse_args()

    levels = given.level.split(",") + (["durable"] if given.data else [])
    store = Store(given.data, given.outside or (given.data and given.data.rstrip("/") + ".outside"))
    clock = Clock(int(os.environ.get("MCP_CONFORMANCE_AHEAD_MS") or store.meta("advanced") or 0))
    types = control.conformance_types().values()
    for one in types:
        one.drains = [drain for drain in one.drains if drain == "pull" or drain in levels]
    world = World(store, clock, types, control.OWNERS)
    caller = Caller(clock, given.unsafe_allow_loopback)
    deliveries = Deliveries(world, caller)
    methods = Methods(world, deliveries, levels, given.unsafe_allow_loopback)

    tokens = control.tokens(store.key)
    endpoint = wire.Endpoint(methods, {token: control.OWNERS[name] for name, token in tokens.items()})
    interface = wire.serve(given.control_port, control.handler(control.Control(world, tokens)))
    url = wire.serve(given.port, wire.handler(endpoint))
    deliveries.start()
    print(json.dumps({"url": f"{url}/mcp", "token": tokens["main"], "control": f"{interface}/"}), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
