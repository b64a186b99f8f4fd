"""Noise: what answers differ in without anybody's fault. It is a rate, at a place, of a kind.

**Where the numbers come from.** Nobody is asked twice for it. Users ask the same thing again by themselves: then the
legacy side's answer is compared with its own last one to the same input (a *self comparison*), at most a minute later,
and so is the native side's. So for each place and kind of difference there are two rates: native against legacy, and
legacy against itself. (A route may set ``resample``; then the legacy side is asked once more for some requests.)

**What is decided from them** (docs/parity.md says it for readers):

- A difference is real when its rate between the sides is more than the legacy side's own: the chance of so many of the
  occurrences being between the sides, if both rates were equal, is a binomial's tail, and that is below a bound.
- Of numbers and times, only differences of the same magnitude and more count: jitter of 1e-9 says nothing about 1.
- Two fresh times, and two random tokens of one shape, are noise at first sight, until the legacy side turns out to give
  the same value again and again, or the native side alone does.
- A value that the other side gave to the same input the last time is a cache's, where that side has changed meanwhile.
- Whatever moves, the two sides' values are compared as distributions: another type, magnitude or alphabet, or a side
  that stands still, is real (``samples``).
- Until it can be told, a comparison is held and counts neither way. On a route that is quiet it is settled by what is
  known then: a difference that the legacy side never had with itself is reported.
- Where users never repeat a request, the legacy side was never compared with itself, which is no evidence that it never
  differs. What both sides may have drawn from one pot, and an order that may be chance, is not told then (``UNTOLD``):
  it counts neither way.

All counts are halved every WINDOW comparisons: noise that stops is unlearned. Belongs to one thread; not shared.
"""

from __future__ import annotations

import math
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from graft.mirroring.compare import Difference
from graft.mirroring.natures import HARD, Kind
from graft.mirroring.samples import Samples
from graft.mirroring.slices import checkpoint
from graft.types import RouteKey

WINDOW = 2000
"""Comparisons of a route after which what was counted before weighs half."""

FRESH = 30.0
"""Seconds: a time that is at most so old was made for this answer."""

QUIET = 1.0
"""Seconds without a comparison on a route after which what is held there is settled."""

HELD, HELD_BYTES = 200, 4 * 1024 * 1024
"""Comparisons of a route that are held at most, and for WINDOW further ones at most; the oldest is settled first."""

PLACES = 500
"""Places of a route that are remembered, the ones that were seen last."""

CHILDREN = 32
"""So many different keys in one object that differ are data, whatever they look like."""

FEW = 16
"""So many different texts at a place are a vocabulary; of more, each may be a new one."""

ENOUGH = 5
"""Self comparisons without which nothing is known about a route's noise."""

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

Mark = tuple[str, Kind, int, int]
"""A place in general, the kind, the part of a text, and how large the difference is."""

Item = TypeVar("Item")


UNTOLD = ": untold"
"""Behind a place, where something differs of which nobody can tell whether it is noise."""


class Verdict(Enum):
    NOISE = "noise"
    REAL = "real"
    UNKNOWN = "unknown"
    """not yet"""
    UNTOLD = "untold"
    """never, as long as users repeat no request"""


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
class Agreements:
    """How many comparisons of the sides found nothing, how many of them with the side's own last answer, and when the
    last one was."""

    pairs: int = 0
    legacy_itself: int = 0
    native_itself: int = 0
    last: float = 0.0

    def add(self, itself: bool, now: float) -> None:
        """One more; ``itself``: each side had an answer to compare with."""
        self.pairs += 1
        self.legacy_itself += itself
        self.native_itself += itself
        self.last = now


@dataclass(frozen=True, slots=True)
class Settled(Generic[Item]):
    """A comparison that has been decided; ``differences`` are those that count, ``marks`` what they are in general,
    with an example of each. Without any, it counts neither way where some are ``untold``."""

    item: Item
    differences: tuple[Difference, ...]
    marks: Mapping[Mark, Difference] = field(default_factory=dict)
    untold: tuple[Difference, ...] = ()


@dataclass(slots=True)
class _Place:
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
class _Tokens:
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


@dataclass(slots=True)
class _Held(Generic[Item]):
    item: Item
    differences: tuple[Difference, ...]
    number: int
    now: float
    size: int


class _Route(Generic[Item]):
    def __init__(self) -> None:
        self.pairs = self.itself = self.native = 0.0
        self.number = 0
        self.last = 0.0
        self.places: OrderedDict[tuple[str, Kind, int], _Place] = OrderedDict()
        self.children: defaultdict[str, set[str]] = defaultdict(set)
        self.tokens: dict[str, _Tokens] = {}
        self.held: deque[_Held[Item]] = deque()

    # Counting

    def count(self, seen: Observation, now: float) -> None:
        self.last = now
        for key, found in self._by_place(self.open(seen)):
            place = self._place(key)
            largest = max(found, key=_size)
            place.pairs[_size(largest)] += 1
            place.strange += any(map(place.is_strange, found))
            place.deltas.append(_delta(largest))
            place.meant += largest.nature.meant
            place.drawn += largest.nature.drawn
            if key[1] in _SAMPLED:
                place.samples.add(found[0])
            if key[1] is Kind.TOKEN:
                self._learn_tokens(key[0], found)
        if seen.legacy_itself is not None:
            for key, found in self._by_place(seen.legacy_itself):
                place = self._place(key)
                place.itself[max(map(_size, found))] += 1
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
            tokens = self.tokens[place] = _Tokens()
        for each in found:
            if tokens.seen < 1000 and each.nature.kind is Kind.TOKEN:
                tokens.add(each.native or "")
                tokens.add(each.legacy or "")

    def _place(self, key: tuple[str, Kind, int]) -> _Place:
        place = self.places.get(key)
        if place is None:
            if len(self.places) >= PLACES:
                self.places.popitem(last=False)
            place = self.places[key] = _Place()
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
        place = self.places.get(key) or _Place()
        size = _size(difference)
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
        verdict = self._by_rate(between, itself, kind)
        if verdict is Verdict.REAL and kind in (Kind.NUMBER, Kind.TIME) and itself >= 3 and _vary(place.deltas):
            return Verdict.NOISE  # two caches of one moving value, filled at different times
        return verdict

    def _could_be_chance(self, kind: Kind, place: _Place) -> bool:
        if kind is Kind.ORDER:
            return place.meant <= sum(place.pairs.values()) / 2
        share = sum(place.pairs.values()) / max(1.0, self.pairs)
        return kind in (Kind.NUMBER, Kind.TEXT, Kind.LENGTH) and place.samples.could_be_chance(kind, share)

    def _native_repeats_itself(self, place: _Place, anything: float) -> bool:
        """The legacy side gives another value nearly each time, and the native side does so less often: for somebody,
        or at some times, it gives one that is not new. (Numbers are left out: a faster side takes 0 ms each time.)"""
        if self.native < 20 or self.itself < 20 or anything < 0.5 * self.itself:
            return False
        chance, trials = min(0.99, anything / self.itself), round(self.native)
        return _tail(trials - round(place.native), trials, 1 - chance) < _SURPRISE_IF_SELDOM

    def _is_volatile_by_shape(
        self, difference: Difference, kind: Kind, place: _Place, anything: float, now: float
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

    def _by_rate(self, between: float, itself: float, kind: Kind) -> Verdict:
        if self.itself < ENOUGH:
            if itself >= 1:
                return Verdict.NOISE
            return Verdict.REAL if between >= 4 * ENOUGH else Verdict.UNKNOWN
        if itself < 0.5:
            share = self.pairs / (self.pairs + self.itself)
            return Verdict.REAL if share**between < _SURPRISE[kind in HARD] else Verdict.UNKNOWN
        share = _MORE * self.pairs / (_MORE * self.pairs + self.itself)
        if _tail(round(between), round(between + itself), share) < _SURPRISE_IF_NOISY:
            return Verdict.REAL
        return Verdict.NOISE

    def explains(self, difference: Difference, now: float) -> bool:
        """Is a difference that was counted one that the legacy side has with itself, too, and no less often? That is
        more than that it would not be counted now: the sides may differ somewhat more often then."""
        place = self.places.get(self.key(difference))
        if place is None or place.strange or self.verdict(difference, now) is not Verdict.NOISE:
            return False
        size = _size(difference)
        between = sum(count for other, count in place.pairs.items() if other >= size)
        itself = sum(count for other, count in place.itself.items() if other >= size - 2)
        share = self.pairs / (self.pairs + self.itself)
        return itself >= ENOUGH and _tail(round(between), round(between + itself), share) > _AS_OFTEN

    def settled_by_what_is_known(self, difference: Difference, now: float, *, late: bool) -> Verdict:
        """What becomes of a difference that could not be decided: it counts when the legacy side never had it with
        itself; and where there was traffic enough to tell and it did not (``late``), only if it is of a hard kind."""
        verdict = self.verdict(difference, now)
        if verdict is not Verdict.UNKNOWN:
            return verdict
        return Verdict.REAL if not late or difference.nature.kind in HARD else Verdict.NOISE


class Noise(Generic[Item]):
    """What has been learned about each route, in this process."""

    def __init__(self, quiet: float = QUIET) -> None:
        self._quiet = quiet
        self._routes: defaultdict[RouteKey, _Route[Item]] = defaultdict(_Route)

    @property
    def routes(self) -> Set[RouteKey]:
        """Those of which there is something to know. (any thread)"""
        return self._routes.keys()

    @property
    def holds(self) -> bool:
        """Is there a comparison that waits to be decided? (any thread)"""
        return any(route.held for route in list(self._routes.values()))

    def take(self, key: RouteKey, seen: Observation, item: Item, now: float, size: int = 0) -> list[Settled[Item]]:
        """Take in one comparison; what is decided by it: itself, earlier ones, or nothing yet. ``size`` in bytes."""
        route = self._routes[key]
        route.count(seen, now)
        open_ones = route.open(seen)
        settled: list[Settled[Item]] = []
        if open_ones:
            settled += self._settled(route, [_Held(item, open_ones, route.number, now, size)])
        else:
            settled.append(Settled(item, ()))
        often = 8 if len(route.held) <= HELD // 4 else 32  # many are held where hardly anything new can be told
        return settled + self._settled_meanwhile(route, look=route.number % often == 0)

    def agreed(self, key: RouteKey, agreements: Agreements) -> list[Settled[Item]]:
        """Take in comparisons without any difference, many at once; what is decided by them: earlier ones."""
        route = self._routes[key]
        route.last = agreements.last
        route.passed(agreements.pairs, agreements.legacy_itself, agreements.native_itself)
        return self._settled_meanwhile(route, look=True)

    def _settled_meanwhile(self, route: _Route[Item], *, look: bool) -> list[Settled[Item]]:
        settled: list[Settled[Item]] = []
        if route.held and (look or len(route.held) <= HELD // 10):  # each look costs
            held, route.held = route.held, deque()
            settled += self._settled(route, held)
        room = HELD_BYTES - sum(each.size for each in route.held)
        while route.held and (len(route.held) > HELD or room < 0 or route.number - route.held[0].number > WINDOW):
            room += route.held[0].size
            settled.append(self._late(route, route.held.popleft(), late=True))
        return settled

    def explains(self, key: RouteKey, counted: Iterable[tuple[Difference, float]]) -> bool:
        """Are these differences, each with its time, which were counted, all noise by what is known now?"""
        route = self._routes.get(key)
        return route is not None and all(route.explains(each, at) for each, at in counted)

    def settle_quiet(self, now: float) -> list[Settled[Item]]:
        """What is held on routes that have been quiet for a while, or on all (``now`` = infinity)."""
        settled: list[Settled[Item]] = []
        for route in list(self._routes.values()):
            if route.held and now - route.last >= self._quiet:
                held, route.held = route.held, deque()
                settled += [self._late(route, each, late=False) for each in held]
        return settled

    def newly_learned(self, key: RouteKey) -> frozenset[str]:
        """Places that are noise, as ``place kind``, or of which it can't be told, as ``place kind: untold``; each is
        told once."""
        new = set()
        for (place, kind, _), seen in self._routes[key].places.items():
            if seen.excused >= 1 and Verdict.NOISE not in seen.told and self._is_noise(key, seen, kind):
                seen.told.add(Verdict.NOISE)
                new.add(f"{place} {kind}")
            elif seen.untold and Verdict.UNTOLD not in seen.told and Verdict.NOISE not in seen.told:
                seen.told.add(Verdict.UNTOLD)
                new.add(f"{place} {kind}{UNTOLD}")
        return frozenset(new)

    def learned(self, key: RouteKey) -> frozenset[str]:
        """What is noise there now, each as ``place kind``."""
        places = self._routes[key].places.items()
        return frozenset(f"{place} {kind}" for (place, kind, _), seen in places if self._is_noise(key, seen, kind))

    def _is_noise(self, key: RouteKey, seen: _Place, kind: Kind) -> bool:
        """Only where something was taken for it, and not where it might be."""
        route = self._routes[key]
        between, itself = sum(seen.pairs.values()), sum(seen.itself.values())
        if seen.excused < 1:
            return False
        if kind in (Kind.TOKEN, Kind.TIME, Kind.ORDER) and route.itself < ENOUGH:
            return True
        return itself > 0 and (
            kind in (Kind.TOKEN, Kind.TIME) or route._by_rate(between, itself, kind) is Verdict.NOISE
        )

    def _settled(self, route: _Route[Item], held: Iterable[_Held[Item]]) -> list[Settled[Item]]:
        """Decide what can be decided; the rest goes back, in order."""
        settled: list[Settled[Item]] = []
        for each in held:
            verdicts = [
                (difference, route.verdict(difference, each.now)) for difference in _one_by_one(each.differences)
            ]
            real = _of(verdicts, Verdict.REAL)
            if real or all(verdict is Verdict.NOISE for _, verdict in verdicts):
                settled.append(Settled(each.item, real, _marks(real)))
                route.excuse(_of(verdicts, Verdict.NOISE))
            else:
                route.held.append(each)
        return settled

    def _late(self, route: _Route[Item], held: _Held[Item], *, late: bool) -> Settled[Item]:
        verdicts = [
            (each, route.settled_by_what_is_known(each, held.now, late=late)) for each in _one_by_one(held.differences)
        ]
        real, untold = _of(verdicts, Verdict.REAL), _of(verdicts, Verdict.UNTOLD)
        if not real and not untold:
            route.excuse(held.differences)
        if not real:
            route.note_untold(untold)
        return Settled(held.item, real, _marks(real), () if real else untold)


def _of(verdicts: Iterable[tuple[Difference, Verdict]], verdict: Verdict) -> tuple[Difference, ...]:
    return tuple(difference for difference, each in verdicts if each is verdict)


def _marks(differences: Iterable[Difference]) -> dict[Mark, Difference]:
    natures = ((each.nature, each) for each in _one_by_one(differences))
    return {(each.place, nature.kind, nature.atom, _size(each)): each for nature, each in natures}


def _one_by_one(differences: Iterable[Difference]) -> Iterable[Difference]:
    for each in differences:
        checkpoint()
        yield each


def _size(difference: Difference) -> int:
    """The magnitude of a difference: the logarithm of how far numbers are apart; 0 for what has none."""
    if difference.nature.kind not in (Kind.NUMBER, Kind.TIME) or difference.nature.amount <= 0:
        return 0
    return 2000 if math.isinf(difference.nature.amount) else math.frexp(difference.nature.amount)[1]


def _delta(difference: Difference) -> float | tuple[str | None, str | None]:
    if difference.nature.kind in (Kind.NUMBER, Kind.TIME):
        return round(difference.nature.amount, 9)
    return difference.native, difference.legacy


def _vary(deltas: deque[tuple[str | None, str | None] | float]) -> bool:
    """Are the last ones not mostly the same? A value that is always one too high differs by one, always."""
    return len(deltas) >= 3 and Counter(deltas).most_common(1)[0][1] < 0.6 * len(deltas)


def _tail(successes: int, trials: int, chance: float) -> float:
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
