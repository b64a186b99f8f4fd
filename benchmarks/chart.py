"""The results as one SVG: a bar for each ratio, a tick where its goal is, amber where the goal was missed.

Above, what is to be as high as possible, as a multiple of the peer's, each gridline twice the one before. Below, what
is to be low, as a share of the most that it may be. The picture brings its own background, so that it can be read on a
page of either colour, whichever the reader's system prefers.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from benchmarks.results import Goal, Report, Result

WIDTH, PADDING = 860, 20
LEFT, RIGHT = 500, 90  # where the bars begin; what is left for the figure behind the longest
ROW, BAR = 20, 12
LEAST, MOST = 0.5, 64.0  # the multiples that the bars have room for
LOW_MOST = 1.5  # the shares
STYLE = """
.card{fill:#ffffff;stroke:#d1d9e0} text{fill:#1f2328} .faint{fill:#59636e} .grid{stroke:#d1d9e0} .one{stroke:#818b98}
.ok{fill:#2da44e} .miss{fill:#e8a317} .goal{stroke:#1f2328} .head{font-weight:600;font-size:13px}
.figure{paint-order:stroke;stroke:#ffffff;stroke-width:4px}
@media(prefers-color-scheme:dark){.card{fill:#0d1117;stroke:#3d444d} text{fill:#f0f6fc} .faint{fill:#9198a1}
.grid{stroke:#30363d} .one{stroke:#656c76} .ok{fill:#3fb950} .miss{fill:#e3a21a} .goal{stroke:#f0f6fc}
.figure{stroke:#0d1117}}
"""

Row = tuple[Result, Goal]
Scale = Callable[[float], float]


def draw(report: Report, path: Path) -> None:
    path.write_text(svg(report), encoding="utf-8")


def svg(report: Report) -> str:
    rows = [(result, goal) for result in report.results for goal in result.goals]
    canvas = _Canvas()
    canvas.key()
    high = [row for row in rows if not row[1].at_most]
    low = [row for row in rows if row[1].at_most]
    if high:
        canvas.section("As a multiple of the peer's figure: longer is better", [0.5, 1, 2, 4, 8, 16, 32, 64], _multiple)
        canvas.rows(high, _multiple, start=1.0, shown=lambda goal: (goal.value, goal.limit))
    if low:
        canvas.section("As a share of the most that is allowed: shorter is better", [0, 0.5, 1], _share)
        canvas.rows(low, _share, start=0.0, shown=lambda goal: (goal.value / goal.limit, 1.0))
    canvas.caption(report)
    return canvas.svg()


def _multiple(ratio: float) -> float:
    doublings = math.log2(max(LEAST, min(ratio, MOST)) / LEAST) if ratio > 0 else 0.0
    return _x(doublings / math.log2(MOST / LEAST))


def _share(share: float) -> float:
    return _x(max(0.0, min(share, LOW_MOST)) / LOW_MOST)


def _x(part: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * part, 1)


class _Canvas:
    """Goes down the page, row by row."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._y = PADDING
        self._grid: list[float] = []

    def key(self) -> None:
        y = self._y + 10
        self._text(PADDING, y + 1, "Graft against its peers, one process each", "head")
        for x, name, colour in ((LEFT, "goal met", "ok"), (LEFT + 95, "goal missed", "miss")):
            self._parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" rx="2" class="{colour}"/>')
            self._text(x + 15, y, name)
        self._parts.append(_line(LEFT + 210, y - 11, y + 3, "goal", 2))
        self._text(LEFT + 217, y, "the goal")
        self._y += 20

    def section(self, heading: str, ticks: list[float], scale: Scale) -> None:
        self._y += 18
        self._text(PADDING, self._y + 9, heading, "faint")
        self._grid = [scale(tick) for tick in ticks]
        for tick, x in zip(ticks, self._grid, strict=True):
            label = f"{tick:g}x" if scale is _multiple else f"{tick:.0%}"
            self._text(x, self._y + 9, label, "faint", "middle")
        self._y += 18

    def rows(self, rows: list[Row], scale: Scale, start: float, shown: Callable[[Goal], tuple[float, float]]) -> None:
        bottom = self._y + ROW * len(rows)
        self._parts += [_line(x, self._y - 2, bottom, "one" if x == scale(1) else "grid") for x in self._grid]
        for title, group in groupby(rows, key=lambda row: row[0].title):
            for number, (_, goal) in enumerate(group):
                self._row(title if number == 0 else "", goal, scale, start, *shown(goal))
        self._y = bottom

    def _row(self, title: str, goal: Goal, scale: Scale, start: float, value: float, limit: float) -> None:
        middle = self._y + ROW / 2
        begin, end = sorted((scale(start), scale(value)))
        self._text(PADDING, middle + 4, title)
        self._text(LEFT - 8, middle + 4, _against(goal), "faint", "end")
        width = max(round(end - begin, 1), 2)
        look = "ok" if goal.met else "miss"
        self._parts.append(f'<rect x="{begin}" y="{middle - BAR / 2}" width="{width}" height="{BAR}" class="{look}"/>')
        self._parts.append(_line(scale(limit), middle - ROW / 2 + 1, middle + ROW / 2 - 1, "goal", 2))
        self._text(max(begin + width, scale(limit)) + 6, middle + 4, goal.shown, "figure")
        self._y += ROW

    def caption(self, report: Report) -> None:
        told = report.machine
        self._y += 22
        first = f"{told['cpu']}, {told['cores']} cores, Python {told['python']}, {told['date']}"
        second = f"medians of {told['rounds']} alternating rounds; {told['pinned']}"
        self._text(PADDING, self._y, first, "faint")
        self._text(PADDING, self._y + 17, second, "faint")
        self._y += 17 + PADDING

    def svg(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self._y}"'
            f' width="{WIDTH}" height="{self._y}"'
            ' font-family="-apple-system,BlinkMacSystemFont,Segoe UI,Helvetica,Arial,sans-serif" font-size="12"'
            ' role="img" aria-label="Graft against its peers">'
        )
        card = f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{self._y - 1}" rx="6"/>'
        return "\n".join([head, f"<style>{STYLE}</style>", card, *self._parts, "</svg>", ""])

    def _text(self, x: float, y: float, text: str, look: str = "", anchor: str = "start") -> None:
        if text:
            look = f' class="{look}"' if look else ""
            self._parts.append(f'<text x="{x}" y="{y:g}"{look} text-anchor="{anchor}">{html.escape(text)}</text>')


def _against(goal: Goal) -> str:
    return goal.against if goal.what == "throughput" else goal.label


def _line(x: float, top: float, bottom: float, look: str, width: int = 1) -> str:
    return f'<line x1="{x}" x2="{x}" y1="{top:g}" y2="{bottom:g}" class="{look}" stroke-width="{width}"/>'
