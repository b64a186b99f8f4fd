"""What a worker weighs after it has answered the same requests, and where the gateway's surplus comes from."""

from __future__ import annotations

import http.client
import statistics
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks import weights
from benchmarks.comparison import STARTING
from benchmarks.contenders import GRAFT, GTHREAD
from benchmarks.results import Goal, Result
from benchmarks.servers import Server, all_serving, environment_of
from benchmarks.settings import Settings

PATHS = ("/small", "/page", "/block")
CLIENTS = 16
REQUESTS = 100  # of each client for each path
ROUNDS = 3  # fresh servers each time: memory hardly differs from one to the next
ASKING = 3.0  # seconds for the requests to two servers, for the estimate
WEIGHING = 1.5  # and to import all parts once


class Memory:
    name = "memory"

    def estimate(self, settings: Settings) -> float:
        return ROUNDS * (2 * STARTING + ASKING + WEIGHING)

    def run(self, settings: Settings) -> Iterator[Result]:
        rounds = [_round(settings) for _ in range(ROUNDS)]
        found = {
            name: {figure: statistics.median(each[name][figure] for each in rounds) for figure in rounds[0][name]}
            for name in rounds[0]
        }
        more = found[GRAFT.name]["rss_mib"] - found[GTHREAD.name]["rss_mib"]
        goal = Goal("memory above", GTHREAD.name, more, 15, at_most=True, unit="MiB")
        yield Result("memory", "memory of a worker", [goal], found, _explained(more, settings))


WORK = Memory()


def _round(settings: Settings) -> dict[str, dict[str, float]]:
    with all_serving([GRAFT, GTHREAD], settings) as servers:
        for server in servers:
            with ThreadPoolExecutor(CLIENTS) as clients:
                list(clients.map(_ask, [server.port] * CLIENTS))
        settings.advance(2 * STARTING + ASKING, "memory")
        return {server.name: _memory(server) for server in servers}


def _ask(port: int) -> None:
    """One client. By number and not by time, so that a quick server has not answered more."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for path in PATHS:
        for _ in range(REQUESTS):
            connection.request("GET", path)
            connection.getresponse().read()
    connection.close()


def _memory(server: Server) -> dict[str, float]:
    """Resident; proportional, where pages shared with Gunicorn's master count half; unique, where they don't count."""
    told = server.worker.memory_full_info()
    return {"rss_mib": told.rss / 2**20, "pss_mib": told.pss / 2**20, "uss_mib": told.uss / 2**20}


def _explained(more: float, settings: Settings) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        parts = weights.measure(ROUNDS, environment_of(GRAFT, folder))
    settings.advance(ROUNDS * WEIGHING, "memory")
    own = {part: weight for part, weight in parts.items() if part != weights.SHARED}
    running = more - sum(own.values())
    listed = ", ".join(f"{part} {weight:.1f}" for part, weight in own.items())
    return [f"of the {more:.1f} MiB, importing takes: {listed}; the rest, {running:+.1f}, comes with running"]
