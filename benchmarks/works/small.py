"""A small Flask view: what a request costs around the view."""

from __future__ import annotations

from benchmarks.comparison import Comparison, Comparisons
from benchmarks.contenders import GRANIAN, GTHREAD, INLINE, PLAIN
from benchmarks.load import Load

SMALL = Comparison(
    "small",
    "small Flask view",
    Load("/small"),
    {GTHREAD: 3.0, PLAIN: 3.0, GRANIAN: 0.8},
    limit=INLINE,
    p99_lowest=True,
)
WORK = Comparisons("small", [SMALL])
