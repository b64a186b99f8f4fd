"""Files that the Flask app sends, and what a worker's memory grows by while it sends big ones."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.comparison import STARTING, Comparison
from benchmarks.contenders import GRAFT, GRANIAN, GTHREAD
from benchmarks.load import Load, wrk
from benchmarks.results import Goal, Result
from benchmarks.servers import serving
from benchmarks.settings import Settings

BIG = Load("/file/200", 4)
GROWTH = 16  # MiB: less than a tenth of one of the files
WEIGHING = 4  # seconds


class Files:
    name = "files"

    def __init__(self) -> None:
        peers = {GTHREAD: 1.0, GRANIAN: 1.0}
        self._comparisons = [
            Comparison("file", "send_file of 1 MB", Load("/file/1"), peers),
            Comparison("big file", "send_file of 200 MB, 4 clients", BIG, peers, seconds=3),
        ]

    def estimate(self, settings: Settings) -> float:
        return sum(each.estimate(settings) for each in self._comparisons) + STARTING + WEIGHING

    def run(self, settings: Settings) -> Iterator[Result]:
        for comparison in self._comparisons:
            yield comparison.run(settings)
        with serving(GRAFT, settings) as server:
            wrk(server, Load("/small"), settings, 1)
            before = server.worker.memory_info().rss
            wrk(server, BIG, settings, WEIGHING - 1)
            grown = (server.worker.memory_info().rss - before) / 2**20
        goal = Goal("memory, growth", "", grown, GROWTH, at_most=True, unit="MiB")
        yield Result("file memory", "a worker that sends files of 200 MB", [goal], {GRAFT.name: {"grown_mib": grown}})


WORK = Files()
