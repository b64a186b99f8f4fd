"""Noise: what an answer differs in from itself.

Times, tokens and random order differ each time that anyone asks. So the side that answered is asked twice for a sample
of requests: for the first ones of a route, when there is a difference that has not been looked into yet, and now and
then. What differs between its own two answers is the route's noise, and does not count against the other side.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from graft.mirroring.compare import Difference
from graft.types import RouteKey

FIRST = 5
"""So many comparisons of each route are a sample anyway."""

EVERY = 100
"""And then one in so many."""

ENOUGH = 5
"""A difference that the answering side did not have with itself so many times is a real one: no need to ask again."""

MOST = 200
"""Places of one route that are learned or looked into. More is no noise, it is another page each time."""


class Noise:
    """What has been learned about each route, in this process."""

    def __init__(self) -> None:
        self._compared: Counter[RouteKey] = Counter()
        self._learned: defaultdict[RouteKey, set[str]] = defaultdict(set)
        self._looked: defaultdict[RouteKey, Counter[str]] = defaultdict(Counter)

    def learned(self, key: RouteKey) -> frozenset[str]:
        """What is noise there, each as ``Difference.what``."""
        return frozenset(self._learned.get(key, ()))

    def without(self, key: RouteKey, differences: tuple[Difference, ...]) -> tuple[Difference, ...]:
        """The differences that count."""
        learned = self._learned.get(key)
        return tuple(each for each in differences if each.what not in learned) if learned else differences

    def wants_sample(self, key: RouteKey, differences: tuple[Difference, ...]) -> bool:
        """Should the answering side be asked twice for this request? ``differences`` are those that count."""
        self._compared[key] += 1
        seen = self._compared[key]
        if seen <= FIRST or seen % EVERY == 0:
            return True
        looked = self._looked[key]
        return len(looked) < MOST and any(looked[each.what] < ENOUGH for each in differences)

    def learn(
        self, key: RouteKey, with_itself: tuple[Difference, ...], with_other: tuple[Difference, ...]
    ) -> frozenset[str]:
        """Take in a sample: where the answering side's second answer differs from its first, and from the other side's.

        What differs from both is noise; new places of it come back. Where the second answer agrees with the other side,
        something was changed between the two, and nothing is learned.
        """
        itself = {each.what for each in with_itself}
        other = {each.what for each in with_other if each.path != ("status",)}
        self._looked[key].update(other - itself)
        new = (other & itself) - self._learned[key]
        if len(self._learned[key]) + len(new) > MOST:
            return frozenset()
        self._learned[key] |= new
        return frozenset(new)
