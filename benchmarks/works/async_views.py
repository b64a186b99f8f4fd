"""Flask's async views against stock Flask, which makes a loop for each request."""

from __future__ import annotations

from benchmarks.comparison import Comparison, Comparisons
from benchmarks.contenders import GTHREAD
from benchmarks.load import Load

COMPARISONS = [
    Comparison("async", "Flask async view", Load("/async"), {GTHREAD: 4.0}),
    Comparison("await", "Flask async view awaiting 10 ms, 64 clients", Load("/await", 64), {GTHREAD: 4.0}),
]
WORK = Comparisons("async", COMPARISONS)
