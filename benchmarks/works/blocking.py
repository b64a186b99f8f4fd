"""A view that waits 10 ms: the threads are what counts."""

from __future__ import annotations

from benchmarks.comparison import Comparison, Comparisons
from benchmarks.contenders import GTHREAD
from benchmarks.load import Load

BLOCK = Comparison("block", "view that blocks 10 ms", Load("/block"), {GTHREAD: 0.95})
WORK = Comparisons("block", [BLOCK])
