"""What one server of the fleet has counted, as a document of its own: the workers of one start of one host.

A server only ever writes its own, so nothing is counted twice, and its document stays when it has ended: what it had
counted for a rung goes on to count. ``beat`` is another one with each writing: whoever sees it change knows that the
server lives, without a clock.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import orjson

from graft.figures.latency import Latency
from graft.figures.route_figures import RouteFigures
from graft.figures.shared import compact, of_compact
from graft.types import RouteKey

COARSE = 5
"""So many bins of one percent each are one in what people see: a latency is right to 2.5 %."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a server counted for a route since that stands on its rung. ``revision`` is the route's last change in the
    fleet, by which two hosts know that they speak of the same rung."""

    revision: int
    seconds: float
    figures: RouteFigures

    def as_data(self) -> dict[str, Any]:
        return {"revision": self.revision, "seconds": round(self.seconds, 1), "figures": compact(self.figures)}


@dataclass(frozen=True, slots=True)
class ServerDocument:
    """``evidence`` is of the routes that were asked for, ``shown`` of all routes, as people see it; each may be absent
    where it was not asked for."""

    server: str
    host: str
    beat: str
    at: str
    evidence: Mapping[RouteKey, Evidence] = field(default_factory=dict)
    shown: Mapping[str, RouteFigures] = field(default_factory=dict)

    @classmethod
    def of_source(cls, source: Mapping[str, Any], blob: str) -> ServerDocument:
        """``blob`` names what to read of it: ``climbing``, ``rungs`` or ``shown``. Raises ValueError, LookupError,
        TypeError or AttributeError."""
        about = str(source["server"]), str(source["host"]), str(source["beat"]), str(source["at"])
        text = source.get(blob)
        if not text:
            return cls(*about)
        return cls(*about, shown=_shown(text)) if blob == "shown" else cls(*about, evidence=_evidence(text))


def evidence_blob(evidence: Mapping[RouteKey, Evidence]) -> str:
    return _packed({str(key): each.as_data() for key, each in evidence.items()})


def shown_blob(figures: Mapping[str, RouteFigures]) -> str:
    """Coarser than the evidence: what people see needs no half percent, and there is much of it."""
    return _packed({route: compact(_coarse(each)) for route, each in figures.items()})


def _coarse(figures: RouteFigures) -> RouteFigures:
    return replace(figures, latency={side: _merged(latency) for side, latency in figures.latency.items()})


def _merged(latency: Latency) -> Latency:
    """``COARSE`` bins in the middle one of them."""
    bins: dict[int, int] = {}
    for number, count in latency.bins.items():
        middle = number - number % COARSE + COARSE // 2
        bins[middle] = bins.get(middle, 0) + count
    return Latency(bins)


def _packed(data: Mapping[str, Any]) -> str:
    """A tenth of its size, and no field of its own for Elasticsearch for each route."""
    return base64.b64encode(zlib.compress(orjson.dumps(data), 6)).decode()


def _unpacked(text: str) -> Any:
    try:
        return orjson.loads(zlib.decompress(base64.b64decode(text)))
    except zlib.error as error:
        raise ValueError(str(error)) from None


@lru_cache(maxsize=1024)
def _evidence(text: str) -> Mapping[RouteKey, Evidence]:
    """One that has not changed is not read again."""
    return {
        RouteKey.parse(route): Evidence(int(each["revision"]), float(each["seconds"]), of_compact(each["figures"]))
        for route, each in _unpacked(text).items()
    }


@lru_cache(maxsize=1024)
def _shown(text: str) -> Mapping[str, RouteFigures]:
    return {route: of_compact(each) for route, each in _unpacked(text).items()}
