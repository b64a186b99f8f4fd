"""Answers and uploads of some size, whole and in chunks."""

from __future__ import annotations

from benchmarks.comparison import Comparison, Comparisons
from benchmarks.contenders import GRANIAN, GTHREAD, PLAIN
from benchmarks.load import Load

ECHO = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"name": "graft", "numbers": [1, 2, 3, 4, 5, 6, 7, 8], "nested": {"a": "b", "c": null}}'
"""
UPLOAD = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"
wrk.body = string.rep("x", 20 * 1024 * 1024)
"""
COMPARISONS = [
    Comparison("page", "8 KB Jinja page", Load("/page"), {GRANIAN: 0.85, GTHREAD: 1.3}),
    Comparison("echo", "JSON echo", Load("/echo", script=ECHO), {GRANIAN: 0.95, GTHREAD: 2.8}),
    Comparison("download", "1 MB download", Load("/download"), {GRANIAN: 0.95, GTHREAD: 2.0}),
    Comparison("stream", "1 MB streamed in chunks", Load("/stream"), {GTHREAD: 1.1, PLAIN: 3.0}),
    # Some of the few uploads are cut off at the end of a round.
    Comparison("upload", "20 MB upload, 4 clients", Load("/upload", 4, UPLOAD), {GTHREAD: 2.0, PLAIN: 1.25}, seconds=2),
]
WORK = Comparisons("bodies", COMPARISONS)
