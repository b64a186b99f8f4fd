"""What a worker weighs after it has answered every kind of request."""

from __future__ import annotations

from benchmarks.harness import GRAFT, GTHREAD, Goal, Load, Result, Server, Settings, all_serving, wrk

NAME = "memory"


def _resident(server: Server) -> float:
    return float(server.worker.memory_info().rss) / 2**20


def run(settings: Settings) -> list[Result]:
    with all_serving([GRAFT, GTHREAD], settings) as servers:
        for server in servers:
            for path in ("/small", "/page", "/block"):
                wrk(server, Load(path), settings, 1)
        found = {server.contender.name: {"rss_mib": _resident(server)} for server in servers}
    more = found[GRAFT.name]["rss_mib"] - found[GTHREAD.name]["rss_mib"]
    return [Result(NAME, "memory of a worker", [Goal("above gthread", more, 15, at_most=True, unit="MiB")], found)]
