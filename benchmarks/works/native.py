"""What the gateway adds to a native route: the same routes in a bare Starlette app, in the same worker."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.harness import GRAFT, Contender, Load, Result, Settings, compare, uvicorn_worker

NAME = "native"

LAST = "/section99/7/view"
ONE = Contender("bare Starlette", uvicorn_worker("benchmarks.apps.bare:one"), probe="/native")
MANY = Contender("bare Starlette", uvicorn_worker("benchmarks.apps.bare:many"), probe=LAST)
HUNDRED = replace(GRAFT, probe=LAST, environment=(*GRAFT.environment, ("GRAFT_NATIVE", "benchmarks.apps.hundred")))


def run(settings: Settings) -> list[Result]:
    """The gateway counts its metrics in files for all workers, as it does under Gunicorn."""
    return [
        compare(NAME, "native route", Load("/native"), {ONE: 1.0}, settings),
        compare("native of 100", "native route, the last of 100", Load(LAST), {MANY: 3.0}, settings, ours=HUNDRED),
    ]
