"""The results as one SVG: a bar for each ratio, a line where the goal is."""

from __future__ import annotations

import html
import math
from pathlib import Path

from benchmarks.harness import Goal, Result

WIDTH, LEFT, RIGHT, ROW = 860, 430, 70, 22
SPAN = 5.0  # doublings that the bars have room for, around 1x


def draw(results: list[Result], path: Path) -> None:
    rows = [(result, goal) for result in results for goal in result.goals if goal.unit == "x" and goal.value > 0]
    height = ROW * len(rows) + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif"'
        ' font-size="12" role="img" aria-label="Graft against its peers, as ratios">',
        "<style>text{fill:#24292f}@media(prefers-color-scheme:dark){text{fill:#e6edf3}}</style>",
        f'<line x1="{_x(1)}" x2="{_x(1)}" y1="24" y2="{height - 20}" stroke="#8884"/>',
        f'<text x="{_x(1)}" y="16" text-anchor="middle">1x, as the peer</text>',
    ]
    parts += [_row(result, goal, 28 + ROW * number) for number, (result, goal) in enumerate(rows)]
    parts.append("</svg>")
    path.write_text("\n".join(parts) + "\n")


def _x(ratio: float) -> float:
    room = WIDTH - LEFT - RIGHT
    doublings = max(-1.0, min(math.log2(ratio), SPAN))
    return round(LEFT + room * (doublings + 1) / (SPAN + 1), 1)


def _row(result: Result, goal: Goal, y: int) -> str:
    start, end = sorted((_x(1), _x(goal.value)))
    colour = "#2da44e" if goal.met else "#bf8700"
    label = html.escape(f"{result.title}: {goal.label}")
    limit = _x(goal.limit)
    return (
        f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{label}</text>'
        f'<rect x="{start}" y="{y + 2}" width="{max(end - start, 1):.1f}" height="14" rx="2" fill="{colour}"/>'
        f'<line x1="{limit}" x2="{limit}" y1="{y}" y2="{y + 18}" stroke="#cf222e" stroke-dasharray="3 2"/>'
        f'<text x="{max(end, limit) + 6}" y="{y + 13}">{goal.value:.2f}x</text>'
    )
