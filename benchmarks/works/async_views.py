"""Flask's async views against stock Flask, which makes a loop for each request."""

from __future__ import annotations

from benchmarks.harness import GTHREAD, Load, Result, Settings, compare

NAME = "async"


def run(settings: Settings) -> list[Result]:
    return [
        compare("async", "Flask async view", Load("/async"), {GTHREAD: 4.0}, settings),
        compare("await", "Flask async view awaiting 10 ms", Load("/await", 64), {GTHREAD: 4.0}, settings),
    ]
