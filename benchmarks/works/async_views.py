"""Flask's async views against stock Flask, which makes a loop for each request; in an app that holds an async client
their steps share one loop."""

from __future__ import annotations

from benchmarks.comparison import Comparison, Comparisons
from benchmarks.contenders import GTHREAD, graft, gthread
from benchmarks.load import Load

CLIENT = "benchmarks.apps.async_client:app"
OURS, PEER = graft(more={"GRAFT_LEGACY": CLIENT}), gthread(CLIENT)

COMPARISONS = [
    Comparison("async", "Flask async view", Load("/async"), {GTHREAD: 1.5}),
    Comparison("await", "Flask async view awaiting 10 ms, 64 clients", Load("/await", 64), {GTHREAD: 1.5}),
    Comparison("async_client", "Flask async view, app with an async client", Load("/async"), {PEER: 4.0}, OURS),
    Comparison(
        "await_client",
        "Flask async view awaiting 10 ms, app with an async client, 64 clients",
        Load("/await", 64),
        {PEER: 4.0},
        OURS,
    ),
]
WORK = Comparisons("async", COMPARISONS)
