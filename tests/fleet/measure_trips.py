"""How many users see a failure before real hosts trip a route together: ``python -m tests.fleet.measure_trips``.

Three gateways of two workers, as processes on one Elasticsearch; a route that fails from its first request on. They
come at an even pace, to one host after the other. The figures stand in docs/fleet.md.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from graft.operations.shift import shift
from graft.types import RouteKey
from tests.fleet.hosts import Fleet
from tests.fleet.test_processes import host, write
from tests.parts.elasticsearch import running

KEY = RouteKey("POST", "/write")
LONGEST = 40.0


def failures(hosts: list[str], rate: float) -> int:
    turn, started = itertools.cycle(hosts), time.monotonic()
    asked: list[Future[int]] = []
    with ThreadPoolExecutor(16) as pool:

        def well() -> int:
            return sum(each.done() and each.result() == 200 for each in asked)

        while well() < 2 * len(hosts) and time.monotonic() - started < LONGEST:
            asked.append(pool.submit(write, next(turn), True))
            time.sleep(max(0.0, started + len(asked) / rate - time.monotonic()))
    return sum(each.result() == 500 for each in asked)


def main() -> None:
    with running() as server, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        fleet = Fleet(server.url, Path(folder))
        people = fleet.host("people")
        hosts = [stack.enter_context(host(fleet, name, fleet.url)) for name in ("one", "two", "three")]
        for rate in (2.0, 10.0, 30.0):
            found = []
            for _ in range(3):
                shift(people, KEY, 0, by="alice")
                time.sleep(1.0)
                shift(people, KEY, 100, by="alice")
                time.sleep(2.0)
                found.append(failures(hosts, rate))
            print(f"{rate:g} a second: {', '.join(map(str, found))} failures", flush=True)


if __name__ == "__main__":
    main()
