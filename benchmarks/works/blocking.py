"""A view that waits 10 ms: the threads are what counts."""

from __future__ import annotations

from benchmarks.harness import GTHREAD, Load, Result, Settings, compare

NAME = "block"


def run(settings: Settings) -> list[Result]:
    return [compare(NAME, "view that blocks 10 ms", Load("/block"), {GTHREAD: 0.95}, settings)]
