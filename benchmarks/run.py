"""``python benchmarks/run.py [--only NAME ... [--renew]] [--quick]``: measures and prints.

A whole run writes results.json, results.svg, the table in benchmarks/README.md and five rows of it in the README.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import machine, table, works
from benchmarks.chart import draw
from benchmarks.contenders import BIN, ROOT
from benchmarks.results import BenchmarkError, Report, Result
from benchmarks.settings import Settings, two_cores

HERE = ROOT / "benchmarks"
RESULTS = HERE / "results.json"
README = ROOT / "README.md"
BUSY = 10  # percent of all cores, above which what others do shows in the figures


def main() -> int:
    """The exit code: 0, or 1 when a work could not be measured. A goal that was missed is a result like others."""
    known = works.discover()
    arguments = _arguments(list(known))
    _require_tools()
    chosen = [known[name] for name in arguments.only or known]
    settings = _settings(arguments)
    report = Report(machine.describe(settings), [])
    _announce(report, sum(work.estimate(settings) for work in chosen))
    with _progress(chosen, settings) as settings:
        for work in chosen:
            _run(work, settings, report)
    if arguments.renew:
        write(Report.from_json(json.loads(RESULTS.read_text())).renewed(report))
    elif not (arguments.only or arguments.quick):
        write(report)
    return 1 if report.failed else 0


def _arguments(names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=names, help="one work; may be given again; prints only")
    parser.add_argument("--renew", action="store_true", help="with --only: write them into the results that are there")
    parser.add_argument("--quick", action="store_true", help="three rounds, to see that it runs; prints only")
    parser.add_argument("--rounds", type=int, help="how often each contender of a work is asked (15)")
    parser.add_argument("--no-pin", action="store_true", help="let the system choose the cores")
    arguments = parser.parse_args()
    if arguments.renew and not (arguments.only and RESULTS.exists()):
        parser.error("--renew wants --only, and results of a whole run")
    return arguments


def _settings(arguments: argparse.Namespace) -> Settings:
    cores = None if arguments.no_pin else two_cores()
    settings = Settings(arguments.rounds or (3 if arguments.quick else 15), seconds=1)
    return settings if cores is None else replace(settings, server_core=cores[0], load_core=cores[1])


def _require_tools() -> None:
    missing = [tool for tool in ("wrk",) if shutil.which(tool) is None]
    missing += [tool for tool in ("gunicorn", "granian") if not (BIN / tool).exists()]
    if missing:
        raise SystemExit(f"missing: {', '.join(missing)}; see benchmarks/README.md")


def _announce(report: Report, seconds: float) -> None:
    told = report.machine
    print(f"{told['cpu']}, {told['cores']} cores, Python {told['python']}, commit {told['commit'] or 'unknown'}")
    print(f"{told['pinned']}; {told['rounds']} alternating rounds; about {math.ceil(seconds / 60)} minutes")
    if told["busy_percent"] > BUSY:
        print(f"warning: other programs keep this machine {told['busy_percent']:.0f}% busy; wait until they are done")
    sys.stdout.flush()


@contextmanager
def _progress(chosen: Iterable[works.Work], settings: Settings) -> Iterator[Settings]:
    """The settings with a progress bar to advance, on a terminal; elsewhere as they are."""
    console = Console()
    columns = (TextColumn("{task.description:<16}"), BarColumn(None), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=sum(work.estimate(settings) for work in chosen))

        def advance(seconds: float, doing: str) -> None:
            progress.update(task, advance=seconds, description=doing[:16])

        yield replace(settings, advance=advance)


def _run(work: works.Work, settings: Settings, report: Report) -> None:
    """A work that fails takes no other with it."""
    try:
        for result in work.run(settings):
            report.results.append(result)
            _print(result)
    except BenchmarkError as error:
        report.failed[work.name] = str(error)
        print(f"\n{work.name} could not be measured: {error}", flush=True)


def _print(result: Result) -> None:
    print(f"\n{result.title}")
    for name, values in result.medians.items():
        print(f"    {name:<25}" + "  ".join(f"{_SHORT.get(key, key)} {value:,.2f}" for key, value in values.items()))
    for goal in result.goals:
        print(f"  {'ok  ' if goal.met else 'MISS'} {goal.label}: {goal.shown} ({goal.wanted})")
    for note in result.notes:
        print(f"       {note}", flush=True)


_SHORT = {"requests_per_second": "rps", "legacy_requests_per_second": "legacy rps"}


def write(report: Report) -> None:
    """All that others read: the figures, the chart, the table, and the first rows of it in the project's README."""
    RESULTS.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    draw(report, HERE / "results.svg")
    for page, text in (
        (HERE / "README.md", table.section(report, "results.svg")),
        (README, table.headlines(report, "benchmarks/README.md#results")),
    ):
        page.write_text(table.insert(page.read_text(), text))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
