"""What the gateway adds to a FastAPI operation, or saves it: the same router in a bare FastAPI app, in the same kind of
worker. By the processor time of the worker, which tells more of 100 microseconds than a throughput does."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.comparison import Comparison, ratio
from benchmarks.contenders import Contender, graft, gunicorn
from benchmarks.load import Load
from benchmarks.results import Goal, Result
from benchmarks.settings import Settings

BARE = "bare FastAPI"
PATH = "/operations/7?q=name&page=3"


class FastAPI:
    name = "fastapi"

    def __init__(self) -> None:
        app = "benchmarks.apps.operations:bare()"
        bare = Contender(BARE, gunicorn("uvicorn.workers.UvicornWorker", app), PATH)
        ours = graft("benchmarks.apps.operations", PATH)
        self._comparison = Comparison("fastapi", "FastAPI operation", Load(PATH), {bare: 0.0}, ours)

    def estimate(self, settings: Settings) -> float:
        return self._comparison.estimate(settings)

    def run(self, settings: Settings) -> Iterator[Result]:
        measured = self._comparison.run(settings)
        found = measured.medians
        goals = [Goal("requests a CPU second", BARE, ratio(found, BARE, "graft", "cpu_ms"), 1.1)]
        yield Result(measured.work, measured.title, goals, found, measured.notes)


WORK = FastAPI()
