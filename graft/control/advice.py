"""What to move first: the Flask app's routes by what a native route would win, and which would win nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from graft.figures.route_metrics import REQUEST_SECONDS, REQUESTS, WORK, RouteMetrics
from graft.routing.table import RouteTable, Row
from graft.types import Side

ENOUGH = 0.05
"""Seconds of sampled views, at least, before anything is said about a route."""
MUCH_WAITING = 0.5
"""Of a view's time: from here on it waits, most of all."""
LONG = 0.005
"""Seconds: who waits for less gives its thread back before another one would miss it."""
SMALL = 0.003
"""Seconds: of a view that takes less, Flask's own work is a good part."""
OFTEN = 0.05
"""Of all requests: from here on a small view is asked often."""
RARE = 0.002
"""Of the time of all Flask views: below it nothing is to be won."""


class Verdict(StrEnum):
    WAITS = "waits"
    SMALL = "small"
    FILES = "files"
    BURNS = "burns"
    SHORT = "short"
    RARE = "rare"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Advice:
    """One route that the Flask app answers. ``*_ms`` are milliseconds a request, percentages are of all Flask views."""

    route: str
    verdict: Verdict
    why: str
    requests: int
    share_of_time: float
    """percent of the time of all Flask views"""
    saved: float
    """percent of that time in which a native route would hold no thread"""
    total_ms: float
    waiting_ms: float | None
    cpu_ms: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def advise(table: RouteTable, metrics: RouteMetrics) -> list[Advice]:
    """The best first. Routes that are native already, and those that were never asked for, are left out."""
    rows = [row for row in table if row.rules]
    counted = [(row, *_of_legacy(row, metrics)) for row in rows]
    seconds = sum(took for _, _, took in counted)
    requests = sum(number for _, number, _ in counted)
    advice = [
        _advice(row, metrics, number, took, requests, seconds) for row, number, took in counted if number and took
    ]
    return sorted(advice, key=lambda one: (-one.saved, _ORDER[one.verdict], -one.share_of_time, one.route))


def _of_legacy(row: Row, metrics: RouteMetrics) -> tuple[int, float]:
    """Requests that the Flask app answered, and their seconds."""
    number, seconds = 0.0, 0.0
    for name in _names(row):
        for labels, count in metrics.counters[REQUESTS].get(name, {}).items():
            if labels.startswith(f"{Side.LEGACY}\t"):
                number += count
        series = metrics.histograms[REQUEST_SECONDS].get(name, {}).get(Side.LEGACY)
        seconds += series[-1] if series else 0.0
    return int(number), seconds


def _advice(
    row: Row, metrics: RouteMetrics, requests: int, seconds: float, all_requests: int, all_seconds: float
) -> Advice:
    sampled = dict.fromkeys(("cpu", "waiting", "unclear"), 0.0)
    for name in _names(row):
        for state, took in metrics.counters.get(WORK, {}).get(name, {}).items():
            sampled[state] += took
    clear = sampled["cpu"] + sampled["waiting"]
    known = clear >= ENOUGH or (clear > 0 and not sampled["unclear"] and requests >= 100)
    waiting = sampled["waiting"] / clear if known else None
    each, share = seconds / requests, seconds / all_seconds
    if all(rule.endpoint == "static" or rule.endpoint.endswith(".static") for rule in row.rules):
        verdict = Verdict.FILES
    else:
        verdict = _verdict(waiting, each, share, requests / all_requests)
    saved = waiting * share if waiting is not None and verdict is Verdict.WAITS else 0.0
    return Advice(
        str(row.key),
        verdict,
        _WHY[verdict],
        requests,
        round(100 * share, 1),
        round(100 * saved, 1),
        round(1000 * each, 2),
        None if waiting is None else round(1000 * each * waiting, 2),
        None if waiting is None else round(1000 * each * (1 - waiting), 2),
    )


def _verdict(waiting: float | None, each: float, share_of_time: float, share_of_requests: float) -> Verdict:
    if share_of_time < RARE and share_of_requests < OFTEN:
        return Verdict.RARE
    if waiting is None:
        return Verdict.UNKNOWN
    if waiting >= MUCH_WAITING and each * waiting >= LONG:
        return Verdict.WAITS
    if each * (1 - waiting) <= SMALL:
        return Verdict.SMALL if share_of_requests >= OFTEN else Verdict.SHORT
    return Verdict.BURNS


def _names(row: Row) -> Iterable[str]:
    """Under which names its requests are counted: its own, and its rules'."""
    return dict.fromkeys([str(row.key), *(str(rule.key) for rule in row.rules)])


_ORDER = {verdict: number for number, verdict in enumerate(Verdict)}
_WHY = {
    Verdict.WAITS: "waits for others most of its time: as a coroutine it would hold no thread meanwhile",
    Verdict.SMALL: "small and often asked: Flask's own work is a good part of it, and a native route does without",
    Verdict.FILES: "files as they are on the disk: let the proxy in front answer these, as deploy/ has it",
    Verdict.BURNS: "busy with the processor: a native route would do the same work, on the loop of everybody. Leave it",
    Verdict.SHORT: "short and not asked often enough to matter: there is little to win",
    Verdict.RARE: "rarely asked: there is nothing to win",
    Verdict.UNKNOWN: "not told yet: too few samples, or the worker was busy with others all the time",
}
