"""What one more worker weighs beside others after it has answered the same requests, and where a first one's surplus
comes from.

Memory is proportional: a page that several processes share counts in part for each. So what all processes of a server
with four workers have, less what all of one with a single worker have, is what three more workers have cost.
"""

from __future__ import annotations

import http.client
import statistics
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil

from benchmarks import weights
from benchmarks.comparison import STARTING
from benchmarks.contenders import GRAFT, GTHREAD, Contender
from benchmarks.results import Goal, Result
from benchmarks.servers import Server, all_serving, environment_of
from benchmarks.settings import Settings

PATHS = ("/small", "/page", "/block")
MANY = 4
CLIENTS = 16
REQUESTS = 100  # of each client for each path
ROUNDS = 3  # fresh servers each time: memory hardly differs from one to the next
ASKING = 3.0  # seconds for the requests to two servers, for the estimate
WEIGHING = 1.5  # and to import all parts once


class Memory:
    name = "memory"

    def estimate(self, settings: Settings) -> float:
        return ROUNDS * (4 * STARTING + (1 + MANY) * ASKING + WEIGHING)

    def run(self, settings: Settings) -> Iterator[Result]:
        rounds = [_round(settings) for _ in range(ROUNDS)]
        found = {
            name: {figure: statistics.median(each[name][figure] for each in rounds) for figure in rounds[0][name]}
            for name in rounds[0]
        }
        more = found[GRAFT.name]["one_more_mib"] - found[GTHREAD.name]["one_more_mib"]
        goal = Goal("proportional memory above", GTHREAD.name, more, 15, at_most=True, unit="MiB")
        alone = found[GRAFT.name]["rss_mib"] - found[GTHREAD.name]["rss_mib"]
        yield Result("memory", "one more worker", [goal], found, _explained(alone, settings))


WORK = Memory()


def _round(settings: Settings) -> dict[str, dict[str, float]]:
    """Of each server: a single worker's memory, and what one more adds."""
    with all_serving([GRAFT, GTHREAD], settings) as servers:
        for server in servers:
            _have_answered(server, 1)
        settings.advance(2 * STARTING + ASKING, "memory")
        alone = {server.name: _memory(server) for server in servers}
        of_one = {server.name: _of_all(server) for server in servers}
    with all_serving([_with_many(GRAFT), _with_many(GTHREAD)], settings) as servers:
        for server in servers:
            _have_answered(server, MANY)
        settings.advance(2 * STARTING + MANY * ASKING, "memory")
        for server in servers:
            alone[server.name]["one_more_mib"] = (_of_all(server) - of_one[server.name]) / (MANY - 1)
    return alone


def _with_many(contender: Contender) -> Contender:
    command = list(contender.command)
    command[command.index("-w") + 1] = str(MANY)
    return replace(contender, command=tuple(command))


def _have_answered(server: Server, workers: int) -> None:
    for _ in range(workers):
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(_ask, [server.port] * CLIENTS))


def _of_all(server: Server) -> float:
    """The proportional memory of Gunicorn's master and all its workers."""
    master = psutil.Process(server.process.pid)
    return float(sum(each.memory_full_info().pss for each in (master, *master.children(recursive=True))) / 2**20)


def _ask(port: int) -> None:
    """One client. By number and not by time, so that a quick server has not answered more."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for path in PATHS:
        for _ in range(REQUESTS):
            connection.request("GET", path)
            connection.getresponse().read()
    connection.close()


def _memory(server: Server) -> dict[str, float]:
    """Of a single worker. Resident; proportional, where pages shared with Gunicorn's master count half; unique, where
    they don't count."""
    told = server.worker.memory_full_info()
    return {"rss_mib": told.rss / 2**20, "pss_mib": told.pss / 2**20, "uss_mib": told.uss / 2**20}


def _explained(more: float, settings: Settings) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        parts = weights.measure(ROUNDS, environment_of(GRAFT, folder))
    settings.advance(ROUNDS * WEIGHING, "memory")
    own = {part: weight for part, weight in parts.items() if part != weights.SHARED}
    running = more - sum(own.values())
    listed = ", ".join(f"{part} {weight:.1f}" for part, weight in own.items())
    told = f"a single worker has {more:.1f} MiB more in RAM, of which importing takes: {listed}"
    return [f"{told}; the rest, {running:+.1f}, comes with running"]
