"""Tasks in the metrics, all workers together."""

from __future__ import annotations

from graft.figures.prometheus import REGISTRY, Counter, Gauge
from graft.tasks.records import TaskState

_unfinished = Gauge(
    "graft_tasks_unfinished",
    "Background tasks that wait or run.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
_ended = Counter("graft_tasks_ended", "Background tasks that ended, by how.", ("state",), registry=REGISTRY)
_refused = Counter("graft_tasks_refused", "Background tasks refused at GRAFT_TASKS_LIMIT.", registry=REGISTRY)


class TaskFigures:
    """Children of the metrics are looked up once."""

    def __init__(self) -> None:
        self._ended = {state: _ended.labels(state.value) for state in TaskState}

    def taken(self) -> None:
        _unfinished.inc()

    def refused(self) -> None:
        _refused.inc()

    def ended(self, state: TaskState) -> None:
        _unfinished.dec()
        self._ended[state].inc()

    def lost(self, number: int) -> None:
        self._ended[TaskState.LOST].inc(number)
