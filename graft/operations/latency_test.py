"""The latency test: whether the native p95 is within a limit that goes by the legacy p95, from the sketches of both.

What a p95 is is not known but tested: that it is beyond some time means that more than a twentieth of the answers takes
longer, which is counted. The legacy p95 is not known either. For each bin that it might be in there is evidence of both
sides, which multiplies; what holds is the least of them. Within bins the worse bound counts, on both sides.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate

from graft.figures.latency import Latency, lower, upper
from graft.operations.sequential import above, below, hedged

FREE_SECONDS = 0.005
"""So much slower the native p95 may be anyway: below that, a ratio of two small numbers says nothing."""

_LEAST = 15.0
"""More than any evidence that is wrong takes away."""


class Quantiles:
    """The p95 of two sides. ``slower`` is the gate's."""

    Q = 0.95

    def __init__(self, native: Latency, legacy: Latency, slower: float) -> None:
        self._slower = slower
        self._native = _Counts(native)
        self._legacy = _Counts(legacy)
        rank = bisect_left(self._legacy.within, self.Q * self._legacy.total)
        self._start = min(rank, len(self._legacy.bins) - 1)

    def limit(self, legacy: float) -> float:
        """What the native side may take where the legacy one takes so long; in seconds."""
        return max(legacy * self._slower, legacy + FREE_SECONDS)

    def within(self, enough: float, scale: float = 1.0) -> float:
        """The evidence that the native p95 is within the limit, if ``scale`` times as much had been counted; what is
        more than ``enough`` may be told as less."""
        native, legacy, tail = self._native, self._legacy, 1 - self.Q

        def rising(number: int) -> float:
            slow = native.longer_than(self.limit(lower(legacy.bins[number])), upper)
            return below(slow * scale, native.total * scale, tail)

        def falling(number: int) -> float:
            return hedged(above(legacy.beyond(number) * scale, legacy.total * scale, tail))

        before_all = below(native.longer_than(self.limit(0.0), upper) * scale, native.total * scale, tail)
        first = before_all + hedged(above(legacy.total * scale, legacy.total * scale, tail))
        return min(first, self._least(rising, falling, enough))

    def beyond(self, enough: float) -> float:
        """The evidence that it is beyond the limit."""
        native, legacy, tail = self._native, self._legacy, 1 - self.Q

        def rising(number: int) -> float:
            return hedged(below(legacy.beyond(number - 1), legacy.total, tail))

        def falling(number: int) -> float:
            slow = native.longer_than(self.limit(upper(legacy.bins[number])), lower)
            return above(slow, native.total, tail)

        # Behind the last bin the legacy p95 may be anywhere; there the legacy side alone decides.
        last = rising(len(legacy.bins)) + above(0, native.total, tail)
        return min(last, self._least(rising, falling, enough))

    def _least(self, rising: Callable[[int], float], falling: Callable[[int], float], enough: float) -> float:
        """The least sum over the legacy bins: from where the p95 seems to be, up and down until one side is beyond what
        the other could take away."""
        least = math.inf
        for number in range(self._start, len(self._legacy.bins)):
            up = rising(number)
            least = min(least, up + falling(number))
            if up >= enough + _LEAST:
                break
        for number in range(self._start - 1, -1, -1):
            down = falling(number)
            least = min(least, rising(number) + down)
            if down >= enough + _LEAST:
                break
        return least


class _Counts:
    """A sketch with its bins in order."""

    def __init__(self, latency: Latency) -> None:
        self.bins = sorted(latency.bins)
        self.within = list(accumulate(latency.bins[number] for number in self.bins))
        self.total = self.within[-1]

    def beyond(self, position: int) -> int:
        """How many are in bins after the one at ``position``, which may be one before the first."""
        return self.total - (self.within[position] if position >= 0 else 0)

    def longer_than(self, seconds: float, bound: Callable[[int], float]) -> int:
        """How many are in bins whose ``bound`` is above ``seconds``."""
        return self.beyond(bisect_left(self.bins, True, key=lambda number: bound(number) > seconds) - 1)
