"""Answers and uploads of some size, whole and in chunks."""

from __future__ import annotations

from benchmarks.harness import GRANIAN, GTHREAD, PLAIN, Load, Result, Settings, compare

NAME = "bodies"

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


def run(settings: Settings) -> list[Result]:
    return [
        compare("page", "8 KB Jinja page", Load("/page"), {GRANIAN: 0.85, GTHREAD: 1.3}, settings),
        compare("echo", "JSON echo", Load("/echo", script=ECHO), {GRANIAN: 0.95, GTHREAD: 2.8}, settings),
        compare("download", "1 MB download", Load("/download"), {GRANIAN: 0.95, GTHREAD: 2.0}, settings),
        compare("stream", "1 MB streamed in chunks", Load("/stream"), {GTHREAD: 1.1, PLAIN: 3.0}, settings),
        compare("upload", "20 MB upload", Load("/upload", 4, UPLOAD), {GTHREAD: 2.0, PLAIN: 1.25}, settings),
    ]
