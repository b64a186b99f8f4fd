"""The results as Markdown, and how they get between the markers of a page."""

from __future__ import annotations

from itertools import groupby

from benchmarks.results import Goal, Report, Result

HEADLINES = ("small", "await", "native", "upstream", "burn")
"""The works whose rows stand in the project's README: the first one of each."""
START, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"


def table(results: list[Result]) -> str:
    """A row for what is measured of each work, its peers side by side; what missed its goal is bold and says so."""
    return "\n".join([*_HEAD, *(row for result in results for row in _rows(result))])


def headlines(report: Report, details: str) -> str:
    """What stands in the project's README: one row a work of HEADLINES; ``details`` is where the others are."""
    by_work = {result.work: result for result in report.results}
    rows = [_rows(by_work[work])[0] for work in HEADLINES if work in by_work]
    return "\n\n".join(["\n".join([*_HEAD, *rows]), f"{_measured(report)} [All rows]({details})."])


_HEAD = ("| work | measured | against | Graft has | wanted |", "| --- | --- | --- | --- | --- |")


def _rows(result: Result) -> list[str]:
    by_figure = groupby(result.goals, key=lambda goal: (goal.what, goal.at_most))
    return [_row(result.title, what, list(goals)) for (what, _), goals in by_figure]


def _row(title: str, what: str, goals: list[Goal]) -> str:
    peers = " / ".join(goal.against or "-" for goal in goals)
    found = " / ".join(goal.shown if goal.met else f"**{goal.shown}, missed**" for goal in goals)
    wanted = f"{goals[0].bound} {' / '.join(goal.shown_limit for goal in goals)}"
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (title, what, peers, found, wanted)) + " |"


def section(report: Report, chart: str) -> str:
    """What stands between the markers: the chart's path, the table, and what it was measured on."""
    parts = [
        f"![Bars: Graft's figures as a multiple of each peer's, and a tick where the goal is]({chart})",
        table(report.results),
        _measured(report),
    ]
    if report.failed:
        reasons = "; ".join(f"{name} ({reason.splitlines()[0]})" for name, reason in report.failed.items())
        parts.append(f"Not measured: {reasons}.")
    return "\n\n".join(parts)


def _measured(report: Report) -> str:
    machine, versions = report.machine, report.machine["versions"]
    goals = [goal for result in report.results for goal in result.goals]
    peers = ", ".join(f"{name} {versions[name]}" for name in ("gunicorn", "granian", "a2wsgi") if name in versions)
    return (
        f"{sum(goal.met for goal in goals)} of {len(goals)} goals are met. Measured on {machine['date']} on "
        f"{machine['cpu']} with {machine['cores']} cores ({machine['pinned']}), Python {machine['python']}, {peers}: "
        f"ratios of the medians of {machine['rounds']} alternating rounds."
    )


def insert(page: str, text: str) -> str:
    """``page`` with ``text`` between the markers, in place of what was there.

    Raises ValueError when the page does not have each marker once, the first one first.
    """
    if page.count(START) != 1 or page.count(END) != 1 or page.index(START) > page.index(END):
        raise ValueError(f"the page needs a line {START} and after it a line {END}, each once")
    before, rest = page.split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n\n{text}\n\n{END}{after}"
