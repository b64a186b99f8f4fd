"""The switch of one route: what may be set for it, with units, bounds and defaults. Immutable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from graft.mirroring.fence import Kind
from graft.types import ANY

READING_METHODS = frozenset({"GET", "HEAD"})
"""What may be mirrored without being asked for, and answered by the other side after a failure."""
READING_KEYS = READING_METHODS | {ANY}
"""The methods in the keys of routes that are mirrored without being asked for: of a subtree, what reads."""


def _two_decimals(percent: float) -> float:
    if abs(percent * 100 - round(percent * 100)) > 1e-6:
        raise ValueError("has more than two decimals")
    return round(percent, 2)


def _path(text: str) -> str:
    if not _COMPARED_PATH.fullmatch(text):
        raise ValueError("is no path")
    return text


def _sticky(text: str) -> str:
    if not _STICKY.fullmatch(text) or text == _FLASKS_SESSION:
        raise ValueError("is no key")
    return text


_COMPARED_PATH = re.compile(r"status|header\.[\w-]+|body(?:[.\[].*)?")
_STICKY = re.compile(r"auto|client|user(?::[\w.-]+)?|(?:cookie|header):[!#$%&'*+.^_`|~\w-]+")
_FLASKS_SESSION = "cookie:session"
"""It is signed anew with each change, and where it is permanent with each answer: nobody stays where he is by it."""


Percent = Annotated[float, Strict(), Field(ge=0, le=100, allow_inf_nan=False), AfterValidator(_two_decimals)]
Amount = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, Strict(), Field(gt=0, le=86_400, allow_inf_nan=False)]
Count = Annotated[int, Strict(), Field(ge=1, le=1_000_000)]
Names = tuple[Annotated[str, Field(min_length=1, max_length=200), AfterValidator(str.lower)], ...]
Paths = tuple[Annotated[str, Field(max_length=1000), AfterValidator(_path)], ...]


COMPARED_HEADERS = (
    "content-type",
    "location",
    "cache-control",
    "vary",
    "pragma",
    "clear-site-data",
    "refresh",
    "link",
    "x-total-count",
    "content-range",
    "x-robots-tag",
    "deprecation",
    "sunset",
    "content-language",
    "content-disposition",
    "allow",
    "set-cookie",
    "www-authenticate",
    "retry-after",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "access-control-max-age",
    "strict-transport-security",
    "content-security-policy",
    "content-security-policy-report-only",
    "x-frame-options",
    "x-content-type-options",
    "referrer-policy",
    "permissions-policy",
    "cross-origin-opener-policy",
    "cross-origin-embedder-policy",
    "cross-origin-resource-policy",
)
"""The headers that are compared where a route does not name its own: what a browser goes by."""


def _ascending(shares: tuple[float, ...]) -> tuple[float, ...]:
    if not shares or shares[-1] != 100 or shares[0] == 0 or any(a >= b for a, b in pairwise(shares)):
        raise ValueError("is no ladder")
    return shares


def _one_or_several(value: object) -> object:
    return (value,) if isinstance(value, (int, float)) else value


Wait = Annotated[float, Strict(), Field(ge=0, le=604_800, allow_inf_nan=False)]
Ladder = Annotated[tuple[Percent, ...], Field(max_length=20), AfterValidator(_ascending)]
Bake = Annotated[tuple[Wait, ...], Field(min_length=1, max_length=20), BeforeValidator(_one_or_several)]


@dataclass(frozen=True, slots=True)
class Trip:
    """When the native side of a route is taken out by itself: at ``least`` failures within ``window`` seconds that are
    more than ``percent`` of its answers in that time. The workers of a server count together."""

    percent: Percent = 10.0
    least: Count = 5
    window: Seconds = 60.0


@dataclass(frozen=True, slots=True)
class Gates:
    """What ``graft promote`` asks for at each step of the ladder."""

    compared: Count = 100
    """so many compared answers, or it is too early to say anything"""
    parity: Percent = 99.5
    """percent of them that matched, at least"""
    uncompared: Percent = 5.0
    """percent of requests for the mirror of which there was nothing to compare, at most"""
    errors: Percent = 1.0
    """percent of native answers that may fail more than of legacy ones"""
    status: Percent = 5.0
    """percent by which success, redirects and refusals may differ from the legacy side's, where nothing is mirrored"""
    slower: Annotated[float, Strict(), Field(gt=0, le=1000, allow_inf_nan=False)] = 1.2
    """native p95 over legacy p95, at most"""
    confidence: Annotated[float, Strict(), Field(ge=50, le=99.99, allow_inf_nan=False)] = 99.0
    """how sure each of them is, in percent, before it opens"""
    mirror: Annotated[bool, Strict()] = True
    """false: the route climbs without a mirror, on errors, status and latency alone"""


@dataclass(frozen=True, slots=True)
class Switch:
    """What is set for one switched route. Percentages are 0 to 100, times are in seconds."""

    share: Percent = 0.0
    """percent of requests that the native side answers"""
    mirror: Percent = 0.0
    """percent of requests that also run on the other side"""
    ignore: Paths = ()
    """what does not count as a difference: ``status``, ``header.etag``, ``body.took``, ``body.items[*].score``"""
    headers: Names = COMPARED_HEADERS
    """the headers that are compared"""
    resample: Percent = 0.0
    """percent of mirrored requests for which the side that answered is asked once more, to learn noise from"""
    allow: tuple[Kind, ...] = ()
    """what mirrored runs may change all the same: ``redis``, or another kind of ``graft.mirroring.fence.Kind``"""
    tolerance: Amount = 0.0
    """numbers in JSON that are at most so far apart are the same"""
    unordered: Paths = ()
    """arrays in JSON whose order does not matter: ``body.tags``"""
    redact: Names = ()
    """more names of headers, parameters and fields whose values are never stored"""
    sticky: Annotated[str, Field(max_length=200), AfterValidator(_sticky)] = "auto"
    """what a client is known by: ``user`` (who is logged in, by the session's ``_user_id`` or another key, as in
    ``user:KEY``; else as ``client``), ``client`` (address and user agent), ``cookie:NAME``, ``header:NAME``; ``auto``
    is ``user`` where the Flask app has a login, else ``client``"""
    hooks: Annotated[bool, Strict()] | None = None
    """run the legacy app's before_request and after_request around the native side; None: as the gateway does"""
    errors: Literal["native", "legacy"] = "native"
    """who answers a FastAPI operation's HTTPExceptions, and what does not validate: FastAPI, or the Flask app"""
    deadline: Seconds | None = None
    """a native answer that has not begun by then has failed; None: 30 for GET and HEAD, none for methods that write"""
    trip: Trip = Trip()
    gates: Gates = Gates()
    ladder: Ladder = (1.0, 10.0, 50.0, 100.0)
    """the shares that a promotion sets, one after the other"""
    bake: Bake = (60.0,)
    """seconds that a climb stays on each share of the ladder below 100, at least; the last is that of all others"""
    watch: Wait = 300.0
    """seconds that a climb watches the route at share 100 before it ends"""
    tripped: Annotated[str, Field(max_length=2000)] | None = None
    """why the share went to 0 by itself, until somebody sets it again"""
    tripped_at: Annotated[datetime, Strict()] | None = None
    hold: Annotated[str, Field(max_length=2000)] | None = None
    """why a person stopped the route: its share does not go up until it is released"""
    held_by: Annotated[str, Field(max_length=200)] | None = None
    held_at: Annotated[datetime, Strict()] | None = None
    climb: Annotated[str, Field(max_length=200)] | None = None
    """who wants the gateway to promote the route, rung by rung, until it is native or somebody else sets it"""
    climb_at: Annotated[datetime, Strict()] | None = None
    climb_share: Percent | None = None
    """where the climb has put the share: another share was set by hand, and ends the climb"""


NO_CLIMB: Mapping[str, None] = {"climb": None, "climb_at": None, "climb_share": None}
"""The settings that end a climb: they are part of each change that a person, or a trip, makes to a share."""
