"""The noise of one route: the rates at which its answers differ, and what a difference is by them. (see noise.py)"""

from __future__ import annotations

import re
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from graft.mirroring.compare import Difference
from graft.mirroring.natures import HARD, Kind
from graft.mirroring.noise_places import ENOUGH, FEW, Place, Tokens, Verdict, delta_of, size_of, tail, vary
from graft.mirroring.slices import checkpoint

WINDOW = 2000
"""Comparisons of a route after which what was counted before weighs half."""

FRESH = 30.0
"""Seconds: a time that is at most so old was made for this answer."""

PLACES = 500
"""Places of a route that are remembered, the ones that were seen last."""

CHILDREN = 32
"""So many different keys in one object that differ are data, whatever they look like."""

_SAMPLED = frozenset({Kind.TOKEN, Kind.NUMBER, Kind.TEXT, Kind.LENGTH})

_SURPRISE = {True: 2e-3, False: 5e-4}
"""Chance below which a difference that the legacy side never had is real, for hard kinds and for others."""

_SURPRISE_IF_NOISY = 1e-5
_SURPRISE_IF_SELDOM = 1e-9
_AS_OFTEN = 0.05
"""Chance above which two rates may be the same."""

_MORE = 1.5
"""Where the legacy side has it too, the sides may differ so many times as often."""

_TIMINGS = re.compile(
    r"(?:^|[._-])(?:took|elapsed|duration|latency|runtime|uptime|timing|ms|millis|msec)(?:_?ms|_?seconds)?$", re.I
)

_ZONES, _QUARTER = 14 * 3600, 900
"""Seconds: how far zones are from UTC, and what they are apart."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Observation:
    """One comparison of the two sides, and of each with its own last answer to the same input, if there was one."""

    differences: tuple[Difference, ...]
    legacy_itself: tuple[Difference, ...] | None = None
    native_itself: tuple[Difference, ...] | None = None
    behind: frozenset[tuple[object, ...]] = frozenset()
    """paths at which the legacy side has changed and the native side gives what it gave the last time"""
    ahead: frozenset[tuple[object, ...]] = frozenset()
    """paths at which the native side has changed and the legacy side gives what that gave the last time"""


@dataclass(slots=True)
class Held(Generic[Item]):
    item: Item
    differences: tuple[Difference, ...]
    number: int
    now: float
    size: int


class RouteNoise(Generic[Item]):
    def __init__(self) -> None:
        self.pairs = self.itself = self.native = 0.0
        self.number = 0
        self.last = 0.0
        self.places: OrderedDict[tuple[str, Kind, int], Place] = OrderedDict()
        self.children: defaultdict[str, set[str]] = defaultdict(set)
        self.tokens: dict[str, Tokens] = {}
        self.held: deque[Held[Item]] = deque()

    # Counting

    def count(self, seen: Observation, now: float) -> None:
        self.last = now
        for key, found in self._by_place(self.open(seen)):
            place = self._place(key)
            largest = max(found, key=size_of)
            place.pairs[size_of(largest)] += 1
            place.strange += any(map(place.is_strange, found))
            place.deltas.append(delta_of(largest))
            place.meant += largest.nature.meant
            place.drawn += largest.nature.drawn
            if key[1] in _SAMPLED:
                place.samples.add(found[0])
            if key[1] is Kind.TOKEN:
                self._learn_tokens(key[0], found)
        if seen.legacy_itself is not None:
            for key, found in self._by_place(seen.legacy_itself):
                place = self._place(key)
                place.itself[max(map(size_of, found))] += 1
                for each in found:
                    if len(place.values) <= FEW:
                        place.values |= {each.native, each.legacy}
                    if each.nature.times is not None:
                        age = now - each.nature.times[0]
                        place.youngest, place.oldest = min(place.youngest, age), max(place.oldest, age)
        if seen.native_itself is not None:
            for key, _ in self._by_place(seen.native_itself):
                self._place(key).native += 1
        self.passed(1, int(seen.legacy_itself is not None), int(seen.native_itself is not None))

    def passed(self, pairs: int, itself: int, native: int) -> None:
        """So many comparisons were made; all counts are halved at the end of a window."""
        self.number += pairs
        self.pairs, self.itself, self.native = self.pairs + pairs, self.itself + itself, self.native + native
        if self.number // WINDOW != (self.number - pairs) // WINDOW:
            self.pairs, self.itself, self.native = self.pairs / 2, self.itself / 2, self.native / 2
            for place in self.places.values():
                place.halve()

    def open(self, seen: Observation) -> tuple[Difference, ...]:
        """The differences that are not two caches of one value, filled at different times.

        That the native side alone has changed, and the legacy side has not, is no cache's: unless the legacy side's
        value is known to move there, it is a bug that comes and goes.
        """
        return tuple(
            each
            for each in seen.differences
            if each.path not in seen.behind and not (each.path in seen.ahead and self._moves(each))
        )

    def _moves(self, difference: Difference) -> bool:
        place = self.places.get(self.key(difference))
        return place is not None and sum(place.itself.values()) >= 1

    def _by_place(self, differences: Iterable[Difference]) -> Iterable[tuple[tuple[str, Kind, int], list[Difference]]]:
        grouped: defaultdict[tuple[str, Kind, int], list[Difference]] = defaultdict(list)
        for each in differences:
            checkpoint()
            grouped[self.key(each)].append(each)
        return grouped.items()

    def key(self, difference: Difference) -> tuple[str, Kind, int]:
        """Its place in general, and its kind. Objects in which very many keys differ are tables."""
        place = difference.place
        parent, dot, name = place.rpartition(".")
        if dot and name != "*":
            children = self.children[parent] if len(self.children) < PLACES else self.children.get(parent, set())
            if len(children) >= CHILDREN:
                place = f"{parent}.*"
            else:
                children.add(name)
        kind, tokens = difference.nature.kind, self.tokens.get(place)
        if tokens is not None and kind in (Kind.TEXT, Kind.NUMBER) and tokens.may_have(difference):
            kind = Kind.TOKEN
        return place, kind, difference.nature.atom

    def _learn_tokens(self, place: str, found: Iterable[Difference]) -> None:
        tokens = self.tokens.get(place)
        if tokens is None:
            if len(self.tokens) >= PLACES:
                return
            tokens = self.tokens[place] = Tokens()
        for each in found:
            if tokens.seen < 1000 and each.nature.kind is Kind.TOKEN:
                tokens.add(each.native or "")
                tokens.add(each.legacy or "")

    def _place(self, key: tuple[str, Kind, int]) -> Place:
        place = self.places.get(key)
        if place is None:
            if len(self.places) >= PLACES:
                self.places.popitem(last=False)
            place = self.places[key] = Place()
        self.places.move_to_end(key)
        return place

    def excuse(self, differences: Iterable[Difference]) -> None:
        """These were taken for noise."""
        for key in set(map(self.key, differences)):
            if key in self.places:
                self.places[key].excused += 1

    def note_untold(self, differences: Iterable[Difference]) -> None:
        for key in set(map(self.key, differences)):
            if key in self.places:
                self.places[key].untold = True

    # Judging

    def verdict(self, difference: Difference, now: float) -> Verdict:
        if difference.nature.kind is Kind.STATUS:
            return Verdict.REAL
        key = self.key(difference)
        _, kind, _ = key
        place = self.places.get(key) or Place()
        size = size_of(difference)
        between = sum(count for other, count in place.pairs.items() if other >= size)
        itself = sum(count for other, count in place.itself.items() if other >= size - 2)
        anything = sum(place.itself.values())
        if place.samples.is_faulty(difference):
            return Verdict.REAL
        if kind in (Kind.TOKEN, Kind.TIME) and self._native_repeats_itself(place, anything):
            return Verdict.REAL
        if self._is_volatile_by_shape(difference, kind, place, anything, now):
            return Verdict.NOISE
        if kind is Kind.NUMBER and self.itself < ENOUGH and _TIMINGS.search(key[0]):
            return Verdict.NOISE
        if place.is_strange(difference):
            share = self.pairs / (self.pairs + self.itself)
            return Verdict.REAL if share**place.strange < _SURPRISE[True] else Verdict.UNKNOWN
        if self.itself < ENOUGH and itself < 1 and self._could_be_chance(kind, place):
            return Verdict.UNTOLD
        verdict = self.by_rate(between, itself, kind)
        if verdict is Verdict.REAL and kind in (Kind.NUMBER, Kind.TIME) and itself >= 3 and vary(place.deltas):
            return Verdict.NOISE  # two caches of one moving value, filled at different times
        return verdict

    def _could_be_chance(self, kind: Kind, place: Place) -> bool:
        if kind is Kind.ORDER:
            return place.meant <= sum(place.pairs.values()) / 2
        share = sum(place.pairs.values()) / max(1.0, self.pairs)
        return kind in (Kind.NUMBER, Kind.TEXT, Kind.LENGTH) and place.samples.could_be_chance(kind, share)

    def _native_repeats_itself(self, place: Place, anything: float) -> bool:
        """The legacy side gives another value nearly each time, and the native side does so less often: for somebody,
        or at some times, it gives one that is not new. (Numbers are left out: a faster side takes 0 ms each time.)"""
        if self.native < 20 or self.itself < 20 or anything < 0.5 * self.itself:
            return False
        chance, trials = min(0.99, anything / self.itself), round(self.native)
        return tail(trials - round(place.native), trials, 1 - chance) < _SURPRISE_IF_SELDOM

    def _is_volatile_by_shape(
        self, difference: Difference, kind: Kind, place: Place, anything: float, now: float
    ) -> bool:
        nature = difference.nature
        if nature.times is not None:
            ages = [now - time for time in nature.times]
            if nature.local and abs(ages[1]) <= _ZONES:  # both in the same zone, or neither is right
                zone = _QUARTER * round((ages[1] - 1) / _QUARTER)
                ages = [age - zone for age in ages]
            if all(-5 <= age <= FRESH for age in ages):
                return True
            slack = 2 + (place.oldest - place.youngest) / 2 if anything else 0.0
            return bool(anything) and place.youngest - slack <= ages[0] <= place.oldest + slack
        if kind is Kind.ORDER:
            often = sum(place.pairs.values()) / 2
            return self.itself < ENOUGH and place.meant <= often and (nature.drawn or place.drawn > often)
        if kind is not Kind.TOKEN or (self.itself >= ENOUGH and anything == 0):
            return False
        return anything > 0 or not place.samples.legacy_repeats

    def by_rate(self, between: float, itself: float, kind: Kind) -> Verdict:
        if self.itself < ENOUGH:
            if itself >= 1:
                return Verdict.NOISE
            return Verdict.REAL if between >= 4 * ENOUGH else Verdict.UNKNOWN
        if itself < 0.5:
            share = self.pairs / (self.pairs + self.itself)
            return Verdict.REAL if share**between < _SURPRISE[kind in HARD] else Verdict.UNKNOWN
        share = _MORE * self.pairs / (_MORE * self.pairs + self.itself)
        if tail(round(between), round(between + itself), share) < _SURPRISE_IF_NOISY:
            return Verdict.REAL
        return Verdict.NOISE

    def explains(self, difference: Difference, now: float) -> bool:
        """Is a difference that was counted one that the legacy side has with itself, too, and no less often? That is
        more than that it would not be counted now: the sides may differ somewhat more often then."""
        place = self.places.get(self.key(difference))
        if place is None or place.strange or self.verdict(difference, now) is not Verdict.NOISE:
            return False
        size = size_of(difference)
        between = sum(count for other, count in place.pairs.items() if other >= size)
        itself = sum(count for other, count in place.itself.items() if other >= size - 2)
        share = self.pairs / (self.pairs + self.itself)
        return itself >= ENOUGH and tail(round(between), round(between + itself), share) > _AS_OFTEN

    def settled_by_what_is_known(self, difference: Difference, now: float, *, late: bool) -> Verdict:
        """What becomes of a difference that could not be decided: it counts when the legacy side never had it with
        itself; and where there was traffic enough to tell and it did not (``late``), only if it is of a hard kind."""
        verdict = self.verdict(difference, now)
        if verdict is not Verdict.UNKNOWN:
            return verdict
        return Verdict.REAL if not late or difference.nature.kind in HARD else Verdict.NOISE
