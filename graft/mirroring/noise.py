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

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from graft.mirroring.compare import Difference
from graft.mirroring.natures import Kind
from graft.mirroring.noise_places import ENOUGH, Place, Verdict, size_of
from graft.mirroring.noise_route import WINDOW, Held, Observation, RouteNoise
from graft.mirroring.slices import checkpoint
from graft.types import RouteKey

QUIET = 1.0
"""Seconds without a comparison on a route after which what is held there is settled."""

HELD, HELD_BYTES = 200, 4 * 1024 * 1024
"""Comparisons of a route that are held at most, and for WINDOW further ones at most; the oldest is settled first."""

Mark = tuple[str, Kind, int, int]
"""A place in general, the kind, the part of a text, and how large the difference is."""

UNTOLD = ": untold"
"""Behind a place, where something differs of which nobody can tell whether it is noise."""

Item = TypeVar("Item")


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


class Noise(Generic[Item]):
    """What has been learned about each route, in this process."""

    def __init__(self, quiet: float = QUIET) -> None:
        self._quiet = quiet
        self._routes: defaultdict[RouteKey, RouteNoise[Item]] = defaultdict(RouteNoise)

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
            settled += self._settled(route, [Held(item, open_ones, route.number, now, size)])
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

    def _settled_meanwhile(self, route: RouteNoise[Item], *, look: bool) -> list[Settled[Item]]:
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

    def _is_noise(self, key: RouteKey, seen: Place, kind: Kind) -> bool:
        """Only where something was taken for it, and not where it might be."""
        route = self._routes[key]
        between, itself = sum(seen.pairs.values()), sum(seen.itself.values())
        if seen.excused < 1:
            return False
        if kind in (Kind.TOKEN, Kind.TIME, Kind.ORDER) and route.itself < ENOUGH:
            return True
        return itself > 0 and (kind in (Kind.TOKEN, Kind.TIME) or route.by_rate(between, itself, kind) is Verdict.NOISE)

    def _settled(self, route: RouteNoise[Item], held: Iterable[Held[Item]]) -> list[Settled[Item]]:
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

    def _late(self, route: RouteNoise[Item], held: Held[Item], *, late: bool) -> Settled[Item]:
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
    return {(each.place, nature.kind, nature.atom, size_of(each)): each for nature, each in natures}


def _one_by_one(differences: Iterable[Difference]) -> Iterable[Difference]:
    for each in differences:
        checkpoint()
        yield each
