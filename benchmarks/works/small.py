"""A small Flask view: what a request costs around the view."""

from __future__ import annotations

from benchmarks.harness import GRANIAN, GTHREAD, PLAIN, Load, Result, Settings, compare

NAME = "small"


def run(settings: Settings) -> list[Result]:
    goals = {GTHREAD: 3.0, PLAIN: 3.0, GRANIAN: 0.8}
    return [compare(NAME, "small Flask view", Load("/small"), goals, settings, p99_lowest=True)]
