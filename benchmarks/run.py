"""``python benchmarks/run.py [--only NAME ...] [--quick]``: measure, print, write results.json and results.svg."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import works
from benchmarks.chart import draw
from benchmarks.harness import Goal, Result, Settings, require_tools

HERE = Path(__file__).parent


def main() -> None:
    modules = {module.NAME: module for module in _works()}
    arguments = _arguments(sorted(modules))
    require_tools()
    settings = _settings(arguments)
    print(f"{os.cpu_count()} cores, {settings.cores}, {settings.rounds} rounds of {settings.seconds} s, alternating")
    results: list[Result] = []
    for name in arguments.only or modules:
        for result in modules[name].run(settings):
            results.append(result)
            _print(result)
    if not arguments.only:
        _write(results, settings)


def _works() -> list[ModuleType]:
    names = [module.name for module in pkgutil.iter_modules(works.__path__)]
    return [importlib.import_module(f"benchmarks.works.{name}") for name in names]


def _arguments(names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=names, help="one work; may be given again")
    parser.add_argument("--quick", action="store_true", help="three short rounds instead of seven")
    parser.add_argument("--no-pin", action="store_true", help="let the system choose the cores")
    return parser.parse_args()


def _settings(arguments: argparse.Namespace) -> Settings:
    pinned = not arguments.no_pin and (os.cpu_count() or 1) >= 2 and shutil.which("taskset") is not None
    rounds, seconds = (3, 2) if arguments.quick else (7, 4)
    return Settings(rounds, seconds, 0 if pinned else None, 1 if pinned else None)


def _print(result: Result) -> None:
    print(f"\n{result.title}")
    for name, values in result.medians.items():
        print(f"    {name:<18}" + "  ".join(f"{key} {value:,.2f}" for key, value in values.items()))
    for goal in result.goals:
        print(f"  {'ok  ' if goal.met else 'MISS'} {_sentence(goal)}", flush=True)


def _sentence(goal: Goal) -> str:
    return f"{goal.label}: {goal.value:.2f} {goal.unit} (at {'most' if goal.at_most else 'least'} {goal.limit:g})"


def _write(results: list[Result], settings: Settings) -> None:
    written = {
        "when": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {settings.cores}",
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        "results": [
            {**asdict(result), "goals": [{**asdict(goal), "met": goal.met} for goal in result.goals]}
            for result in results
        ],
    }
    (HERE / "results.json").write_text(json.dumps(written, indent=2) + "\n")
    draw(results, HERE / "results.svg")


if __name__ == "__main__":
    main()
