"""Metrics in the Prometheus text format, all workers together.

Gunicorn's workers share one folder of memory-mapped files (PROMETHEUS_MULTIPROC_DIR, set by gunicorn.conf.py before
anything here is imported); without it the figures are those of this one process. Labels are route templates, sides
and status classes: nothing that a client can make up.
"""

from __future__ import annotations

import os
from functools import cache

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

REGISTRY = CollectorRegistry()

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Upper bounds in seconds."""

_seconds = Histogram(
    "graft_request_seconds",
    "Time from a request's arrival to the end of its response.",
    ("route", "side"),
    buckets=BUCKETS,
    registry=REGISTRY,
)
_requests = Counter(
    "graft_requests",
    "Requests answered, by route template, side and status class.",
    ("route", "side", "status"),
    registry=REGISTRY,
)


@cache
def _observe(route: str, side: str) -> Histogram:
    return _seconds.labels(route, side)


@cache
def _count(route: str, side: str, status: int) -> Counter:
    return _requests.labels(route, side, f"{status}xx")


def record(route: str, side: str, status: int, seconds: float) -> None:
    """Count one answered request. ``route`` is a template: the caches here grow with the routes, never with clients."""
    _observe(route, side).observe(seconds)
    _count(route, side, status // 100).inc()


def exposition() -> tuple[bytes, str]:
    """The text of ``/_graft/metrics`` and its content type."""
    return generate_latest(registry()), CONTENT_TYPE_LATEST


def registry() -> CollectorRegistry:
    """What to collect from: the files of all workers where they share a folder, else this process."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together
