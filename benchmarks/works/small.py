"""A small Flask view: what a request costs around the view. With everybody's access log, and without."""

from __future__ import annotations

from benchmarks.comparison import Comparison, Comparisons
from benchmarks.contenders import GRANIAN, GTHREAD, INLINE, PLAIN, graft, granian_wsgi, gthread
from benchmarks.load import Load

COMPARISONS = [
    Comparison(
        "small",
        "small Flask view",
        Load("/small"),
        {GTHREAD: 2.8, PLAIN: 3.5, GRANIAN: 1.0},
        limit=INLINE,
        p99_lowest=True,
    ),
    Comparison(
        "small quiet",
        "small Flask view, nobody writes an access log",
        Load("/small"),
        {gthread(quiet=True): 3.0, granian_wsgi(quiet=True): 1.0},
        graft(more={"LOG_LEVEL": "error"}),
    ),
]
WORK = Comparisons("small", COMPARISONS)
