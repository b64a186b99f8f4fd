"""One module per work, each with a ``WORK``."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Protocol

from benchmarks.results import Result
from benchmarks.settings import Settings

MODULES = (
    "small",
    "access_log",
    "bodies",
    "files",
    "blocking",
    "async_views",
    "native",
    "fastapi",
    "upstream",
    "search",
    "neighbours",
    "mirror",
    "memory",
)


class Work(Protocol):
    """Something to measure. ``name`` is short, for ``--only``."""

    @property
    def name(self) -> str: ...

    def estimate(self, settings: Settings) -> float:
        """Seconds that it will take; ``settings.advance`` is called with as many by the time that it is done."""

    def run(self, settings: Settings) -> Iterator[Result]:
        """Raises BenchmarkError when something is missing or does not start."""


def discover() -> dict[str, Work]:
    """By name, in the order of the report."""
    works: list[Work] = [importlib.import_module(f"{__name__}.{module}").WORK for module in MODULES]
    return {work.name: work for work in works}
