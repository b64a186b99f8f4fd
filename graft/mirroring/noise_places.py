"""Places of a route's answers: what was seen to differ there, of one kind. (see noise.py, which says what it is for)"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from enum import Enum

from graft.mirroring.compare import Difference
from graft.mirroring.natures import Kind
from graft.mirroring.samples import Samples

FEW = 16
"""So many different texts at a place are a vocabulary; of more, each may be a new one."""

ENOUGH = 5
"""Self comparisons without which nothing is known about a route's noise."""


class Verdict(Enum):
    NOISE = "noise"
    REAL = "real"
    UNKNOWN = "unknown"
    """not yet"""
    UNTOLD = "untold"
    """never, as long as users repeat no request"""


@dataclass(slots=True)
class Place:
    """What was seen at one place and of one kind. Differences are counted by magnitude (the logarithm to base 2)."""

    pairs: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    itself: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    native: float = 0.0
    youngest: float = math.inf
    oldest: float = -math.inf
    deltas: deque[tuple[str | None, str | None] | float] = field(default_factory=lambda: deque(maxlen=16))
    values: set[str | None] = field(default_factory=set)
    """texts that the legacy side gave where it moves, while they are few: ``hit`` and ``miss``"""
    strange: float = 0.0
    """comparisons in which the native side gave none of them"""
    samples: Samples = field(default_factory=Samples)
    meant: float = 0.0
    drawn: float = 0.0
    """comparisons in which an order is no chance, and in which it looks like chance"""
    untold: bool = False
    excused: float = 0.0
    """comparisons in which what differs here was taken for noise"""
    told: set[Verdict] = field(default_factory=set)
    """what somebody was told of it"""

    def is_strange(self, difference: Difference) -> bool:
        known = 0 < len(self.values) <= FEW and sum(self.itself.values()) >= 4 * ENOUGH
        return known and difference.nature.kind is Kind.TEXT and difference.native not in self.values

    def halve(self) -> None:
        for counts in (self.pairs, self.itself):
            for size in list(counts):
                counts[size] /= 2
                if counts[size] < 0.2:
                    del counts[size]
        self.native /= 2
        self.strange /= 2
        self.excused /= 2
        self.meant /= 2
        self.drawn /= 2


@dataclass(slots=True)
class Tokens:
    """What the tokens at a place are made of."""

    seen: int = 0
    shortest: int = 10**6
    longest: int = 0
    letters: set[str] = field(default_factory=set)

    def add(self, text: str) -> None:
        self.seen += 1
        self.shortest, self.longest = min(self.shortest, len(text)), max(self.longest, len(text))
        self.letters.update(text)

    def may_have(self, difference: Difference) -> bool:
        """Among many tokens there is one of letters, or of digits, alone."""
        return self.seen >= 2 * ENOUGH and all(
            text is not None and self.shortest <= len(text) <= self.longest and self.letters.issuperset(text)
            for text in (difference.native, difference.legacy)
        )


def size_of(difference: Difference) -> int:
    """The magnitude of a difference: the logarithm of how far numbers are apart; 0 for what has none."""
    if difference.nature.kind not in (Kind.NUMBER, Kind.TIME) or difference.nature.amount <= 0:
        return 0
    return 2000 if math.isinf(difference.nature.amount) else math.frexp(difference.nature.amount)[1]


def delta_of(difference: Difference) -> float | tuple[str | None, str | None]:
    if difference.nature.kind in (Kind.NUMBER, Kind.TIME):
        return round(difference.nature.amount, 9)
    return difference.native, difference.legacy


def vary(deltas: deque[tuple[str | None, str | None] | float]) -> bool:
    """Are the last ones not mostly the same? A value that is always one too high differs by one, always."""
    return len(deltas) >= 3 and Counter(deltas).most_common(1)[0][1] < 0.6 * len(deltas)


def tail(successes: int, trials: int, chance: float) -> float:
    """The chance of at least so many successes: a binomial's upper tail."""
    if successes <= trials * chance or trials == 0:
        return 1.0
    if trials > 2000:  # by its normal approximation
        deviation = math.sqrt(trials * chance * (1 - chance))
        return 0.5 * math.erfc((successes - 0.5 - trials * chance) / deviation / math.sqrt(2))
    logarithms = (
        math.lgamma(trials + 1)
        - math.lgamma(number + 1)
        - math.lgamma(trials - number + 1)
        + number * math.log(chance)
        + (trials - number) * math.log(1 - chance)
        for number in range(successes, trials + 1)
    )
    return min(1.0, sum(map(math.exp, logarithms)))
