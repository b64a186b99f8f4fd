"""Samples: the last values of both sides at a place where they differ, laid beside each other as two distributions.

A place that is noise still has a type, a magnitude, an alphabet, and moves. Where one side always has another one than
the other, or stands still, what differs there is no noise, however much it moves. And where no request was ever
repeated they say whether the two sides could be told apart at all: if the values of both were drawn from one pot,
independently, nobody can. Belongs to one thread; not shared.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from enum import Enum
from statistics import median

from graft.mirroring.compare import Difference
from graft.mirroring.natures import Kind

KEPT = 48
"""Pairs of values of a place."""

SHORT = 48
"""Characters of a value that are kept."""

TELLING = 20
"""Pairs from which something is said of a distribution."""

STILL = 32
"""Pairs from which a side that gave one value alone stands still."""

AGAIN = 3
"""Times that one side gives the same token, where the other one never does."""

FEW = 8
"""Pairs from which it can be said that two sides draw from one pot."""

UNITS = 300
"""So many times as large is no slower side, but another unit: milliseconds and seconds."""

_CHANCE = 1e-4
_TOGETHER = 0.8
"""A rank correlation that 20 pairs of independent numbers have once in 100,000 times. (Of few values, whose equal pairs
are not here, it is negative.)"""


class Fault(Enum):
    """What the native side always does otherwise."""

    TYPE = "integers where the legacy side has floats, or the other way round"
    UNIT = "another magnitude"
    SIGN = "below zero where the legacy side is above, or the other way round"
    LETTERS = "another alphabet"
    LENGTH = "another length"
    STILL = "one value again and again"


Pair = tuple[str, str, float, float]
"""The native and the legacy text, and what they say as numbers, or how far they lie apart."""


class Samples:
    __slots__ = ("_added", "_chance", "_fault", "_pairs", "_still")

    def __init__(self) -> None:
        self._pairs: deque[Pair] = deque(maxlen=KEPT)
        self._added = 0
        self._fault: Fault | None = None
        self._still: frozenset[str] = frozenset()
        """the values that the native side gives again and again"""
        self._chance: tuple[int, bool] = (-1, False)  # after how many pairs it was looked at, and what was seen

    def add(self, difference: Difference) -> None:
        native, legacy = difference.native, difference.legacy
        if native is None or legacy is None:
            return
        here, there = difference.nature.values or (math.nan, math.nan)
        self._pairs.append((native[:SHORT], legacy[:SHORT], here, there))
        self._added += 1
        if len(self._pairs) >= TELLING and self._added % 4 == 0:
            self._fault = self._found(difference.nature.kind)

    def is_faulty(self, difference: Difference) -> bool:
        """Is the native value one that betrays another distribution?"""
        native, legacy = difference.native or "", difference.legacy or ""
        match self._fault:
            case None:
                return False
            case Fault.TYPE:
                return _is_float(native) is not _is_float(legacy)
            case Fault.SIGN:
                return native.startswith("-") is not legacy.startswith("-")
            case Fault.STILL:
                return native[:SHORT] in self._still
            case Fault.LENGTH:
                return len(native) != len(legacy)
            case _:
                return True

    @property
    def legacy_repeats(self) -> bool:
        """Has the legacy side given a value more than once? What is drawn anew each time never is the same."""
        texts = [pair[1] for pair in self._pairs]
        return len(texts) >= 3 and len(set(texts)) < len(texts)

    def could_be_chance(self, kind: Kind, share: float) -> bool:
        """Could the values of both sides have been drawn from one pot, independently? ``share`` of the comparisons
        differ here. Not where one side is mostly the larger one, goes with the other, or has values of its own."""
        if len(self._pairs) < FEW or share < 0.2:
            return False
        if kind is Kind.TEXT and not self._may_be_even(share):
            return False
        at, seen = self._chance
        if at < 0 or self._added >= at + (1 if at < TELLING else 8):
            self._chance = self._added, (seen := self._is_of_one_pot(kind))
        return seen

    def _is_of_one_pot(self, kind: Kind) -> bool:
        if kind is Kind.TEXT:
            return self._is_vocabulary()
        if any(math.isnan(pair[2]) for pair in self._pairs):
            return False
        larger = sum(pair[2] > pair[3] for pair in self._pairs)
        if not _is_even(larger, len(self._pairs)):
            return False
        return self._is_jitter() or self._correlation() < _TOGETHER

    def _found(self, kind: Kind) -> Fault | None:
        here, there = [pair[0] for pair in self._pairs], [pair[1] for pair in self._pairs]
        if kind is Kind.NUMBER:
            return self._of_numbers(here, there)
        if kind is not Kind.TOKEN:
            return None
        for has in (str.isupper, str.islower, str.isdigit, _is_other):
            if _are_apart([any(map(has, text)) for text in here], [any(map(has, text)) for text in there]):
                return Fault.LETTERS
        lengths = set(map(len, here)), set(map(len, there))
        if len(lengths[0]) == len(lengths[1]) == 1 and lengths[0] != lengths[1]:
            return Fault.LENGTH
        self._still = frozenset(text for text, number in Counter(here).items() if number >= AGAIN)
        return Fault.STILL if self._still and len(set(there)) == len(there) else None

    def _of_numbers(self, here: list[str], there: list[str]) -> Fault | None:
        if _are_apart(list(map(_is_float, here)), list(map(_is_float, there))):
            return Fault.TYPE
        if _are_apart([pair[2] < 0 for pair in self._pairs], [pair[3] < 0 for pair in self._pairs]):
            return Fault.SIGN
        ours, theirs = [abs(pair[2]) for pair in self._pairs], [abs(pair[3]) for pair in self._pairs]
        if any(map(math.isnan, ours)):
            return None
        low, high = sorted((median(ours), median(theirs)))
        if low > 0 and high / low >= UNITS:
            return Fault.UNIT
        # A fast side takes 0 or 1 ms each time: the least that the other one has ever had.
        self._still = frozenset(here[-1:])
        still = _stands_still(here, there) and ours[-1] > max(1.0, min(theirs))
        return Fault.STILL if still else None

    def _may_be_even(self, share: float) -> bool:
        """Of two or three values, chance gives both sides the same one now and then."""
        number = len({text for pair in list(self._pairs)[-FEW:] for text in pair[:2]})
        return number > 3 or share <= 1 - 1 / (number + 1) + 0.05

    def _is_vocabulary(self) -> bool:
        here, there = Counter(pair[0] for pair in self._pairs), Counter(pair[1] for pair in self._pairs)
        known = here.keys() & there.keys()
        if {"true", "false"} & known or sum(here[text] + there[text] for text in known) < len(self._pairs):
            return False
        if len(known) <= 2:
            return True
        answers: defaultdict[str, list[str]] = defaultdict(list)
        for native, legacy, *_ in self._pairs:
            answers[legacy].append(native)
        repeated = [natives for natives in answers.values() if len(natives) > 1]
        return bool(repeated) and sum(len(set(natives)) > 1 for natives in repeated) * 2 > len(repeated)

    def _is_jitter(self) -> bool:
        return all(abs(pair[2] - pair[3]) <= 1e-6 * max(abs(pair[2]), abs(pair[3])) for pair in self._pairs)

    def _correlation(self) -> float:
        """Spearman's, of the two sides' numbers."""
        here, there = _ranks([pair[2] for pair in self._pairs]), _ranks([pair[3] for pair in self._pairs])
        middle = (len(here) - 1) / 2
        spread = math.sqrt(sum((rank - middle) ** 2 for rank in here) * sum((rank - middle) ** 2 for rank in there))
        together = sum((one - middle) * (other - middle) for one, other in zip(here, there, strict=True))
        return together / spread if spread else 1.0


def _ranks(values: Sequence[float]) -> list[float]:
    """Equal values share a rank."""
    places: defaultdict[float, list[int]] = defaultdict(list)
    for place, value in enumerate(sorted(values)):
        places[value].append(place)
    return [sum(places[value]) / len(places[value]) for value in values]


def _is_float(text: str) -> bool:
    return "." in text or "e" in text


def _is_other(letter: str) -> bool:
    return not letter.isalnum()


def _are_apart(here: list[bool], there: list[bool]) -> bool:
    """Has nearly all of one side what hardly any of the other has?"""
    low, high = sorted((sum(here), sum(there)))
    return low <= 0.05 * len(here) and high >= 0.9 * len(here)


def _stands_still(here: list[str], there: list[str]) -> bool:
    if len(here) < STILL or len(set(here[-STILL:])) > 1:
        return False
    theirs = Counter(there[-STILL:])
    return len(theirs) >= FEW and theirs.most_common(1)[0][1] <= 0.3 * STILL


def _is_even(larger: int, number: int) -> bool:
    """Is about every other one the larger one?"""
    few = min(larger, number - larger)
    if few < 2:
        return False
    return 2 * sum(math.comb(number, count) for count in range(few + 1)) >= _CHANCE * float(2**number)
