"""Latency: how long answers took, as a sketch with a relative error that adds up over workers.

The bins are those of DDSketch (Masson, Rim, Lee 2019, "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees"): each is so much wider than the one before that its middle is at most ``RELATIVE_ERROR``
away from what is in it. What was counted until an earlier moment can be taken away again, bin by bin. A test holds it
to the package ddsketch, which itself would bring six, and with it an importer of its own, into the app's process.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

RELATIVE_ERROR = 0.005
"""Half a percent: a test that compares two bins keeps within one."""

SHORTEST, LONGEST = 1e-5, 1e4
"""Seconds. What took less or more counts as so long."""

Name = TypeVar("Name")

_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_FIRST = math.ceil(math.log(SHORTEST, _GAMMA))
_UPPER_BOUNDS = [_GAMMA**key for key in range(_FIRST, math.ceil(math.log(LONGEST, _GAMMA)))]
_bin_of = partial(bisect_left, _UPPER_BOUNDS)


class NotFigures(ValueError):
    """Numbers that don't belong together, or with which there would be fewer than none. No person meets it."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How many answers took how long: counts by bin. Immutable."""

    bins: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Latency:
        return cls(counted(seconds))

    @property
    def count(self) -> int:
        return sum(self.bins.values())

    def quantile_ms(self, q: float) -> float | None:
        """The latency in milliseconds that a share ``q`` (0 to 1) of answers kept; None when there were none."""
        rank, below = q * (self.count - 1), 0
        for number, count in sorted(self.bins.items()):
            below += count
            if below > rank:
                return round(middle(number) * 1000, 3)
        return None

    def since(self, earlier: Latency) -> Latency:
        """Raises NotFigures where the other has more in a bin."""
        return Latency(less(self.bins, earlier.bins))


def counted(seconds: Iterable[float]) -> Counter[int]:
    """So many in each bin."""
    return Counter(map(_bin_of, seconds))


def added(counts: Iterable[Mapping[Name, int]]) -> dict[Name, int]:
    """The sums of counts by name."""
    sums: dict[Name, int] = {}
    get = sums.get
    for each in counts:
        for name, count in each.items():
            sums[name] = get(name, 0) + count
    return sums


def less(now: Mapping[Name, int], before: Mapping[Name, int]) -> dict[Name, int]:
    """What came on top of ``before``. Raises NotFigures where there was more of something then."""
    if any(count > now.get(name, 0) for name, count in before.items()):
        raise NotFigures
    return {name: count - before.get(name, 0) for name, count in now.items() if count != before.get(name, 0)}


def lower(number: int) -> float:
    """The lower bound in seconds of a bin, which is not in it."""
    return _UPPER_BOUNDS[number - 1] if number else 0.0


def upper(number: int) -> float:
    """The upper bound in seconds of a bin."""
    return _UPPER_BOUNDS[number] if number < len(_UPPER_BOUNDS) else math.inf


def middle(number: int) -> float:
    """What stands for all that is in a bin, in seconds."""
    return _GAMMA ** (number + _FIRST) * 2 / (1 + _GAMMA)
