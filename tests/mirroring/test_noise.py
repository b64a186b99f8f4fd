from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest

from graft.mirroring.compare import Change, Difference
from graft.mirroring.natures import nature_of
from graft.mirroring.noise import Noise, Settled
from graft.mirroring.noise_places import ENOUGH
from graft.mirroring.noise_route import PLACES, WINDOW, Observation
from graft.types import RouteKey

KEY = RouteKey("GET", "/thing")
NOW = 1_790_000_000.0


def differing(name: str, native: Any, legacy: Any) -> Difference:
    return Difference(("body", name), Change.CHANGED, str(native), str(legacy), nature_of(native, legacy))


class Route:
    """A route whose comparisons are taken in one by one."""

    def __init__(self) -> None:
        self.noise: Noise[int] = Noise()
        self.number = 0
        self.settled: list[Settled[int]] = []

    def take(
        self,
        between: Iterable[Difference] = (),
        legacy_itself: Iterable[Difference] | None = (),
        native_itself: Iterable[Difference] | None = (),
        times: int = 1,
    ) -> Route:
        for _ in range(times):
            self.number += 1
            itself = None if legacy_itself is None else tuple(legacy_itself)
            native = None if native_itself is None else tuple(native_itself)
            seen = Observation(tuple(between), itself, native)
            self.settled += self.noise.take(KEY, seen, self.number, NOW + self.number)
        return self

    def quiet(self) -> Route:
        self.settled += self.noise.settle_quiet(math.inf)
        return self

    @property
    def reported(self) -> int:
        return sum(bool(each.differences) for each in self.settled)

    @property
    def held(self) -> int:
        return self.number - len(self.settled)


def test_what_the_legacy_side_differs_in_from_itself_as_often_is_noise() -> None:
    moving = [differing("seen", 3, 4)]
    route = Route().take(moving, moving, moving, times=100)
    assert (route.reported, route.held) == (0, 0)
    assert route.noise.learned(KEY) == route.noise.newly_learned(KEY) == {"body.seen number"}
    assert route.noise.newly_learned(KEY) == frozenset(), "it was told"


def test_what_the_legacy_side_never_does_is_real_though_it_be_seldom() -> None:
    route = Route()
    for _ in range(20):
        route.take([differing("total", 3, 4)]).take(times=49)
    assert route.reported == 20


def test_the_same_rate_on_both_sides_is_noise_however_seldom() -> None:
    route, hint = Route(), [differing("cache", "hit", "miss")]
    for _ in range(100):
        route.take(hint, ()).take((), hint, hint).take(times=60)
    assert route.quiet().reported == 0


def test_jitter_hides_neither_a_null_nor_a_larger_change() -> None:
    jitter = [differing("score", 1.000000001, 1.0)]
    route = Route().take(jitter, jitter, jitter, times=200)
    assert route.reported == 0
    for wrong in (None, 2.5, "1.0"):
        before = route.reported
        route.take([differing("score", wrong, 1.0)], jitter, jitter, times=20)
        assert route.reported - before == 20, wrong


def test_a_value_that_is_always_one_too_high_is_no_noise_of_a_counter() -> None:
    route = Route()
    for number in range(200):
        moved = [differing("views", number + 10, number)] if number % 10 == 0 else []
        route.take([differing("views", number + 1, number)], moved, moved)
    assert route.quiet().reported > 150, "all but the first ones"


def test_fresh_times_and_tokens_of_one_shape_are_noise_at_first_sight() -> None:
    fresh = differing("at", NOW, NOW + 0.5)
    token = differing("token", "aZ38dKq0vX91LmQp", "Qw8eR7tYu1IoPa2s")
    assert Route().take([fresh, token], None, None).reported == 0


def test_a_time_in_another_zone_is_no_noise() -> None:
    fresh = [differing("at", NOW + 1, NOW)]
    assert Route().take([differing("at", NOW + 3600, NOW)], fresh, fresh, times=50).quiet().reported == 50


def test_a_token_that_the_legacy_side_gives_each_time_is_a_value() -> None:
    token = [differing("hash", "aZ38dKq0vX91LmQp", "Qw8eR7tYu1IoPa2s")]
    route = Route().take(token, (), (), times=50)
    assert route.reported > 50 - 2 * ENOUGH


def test_a_native_side_that_always_gives_the_same_is_no_twin_of_one_that_never_does() -> None:
    token = [differing("token", "aZ38dKq0vX91LmQp", "Qw8eR7tYu1IoPa2s")]
    assert Route().take(token, token, (), times=60).reported >= 30


def test_noise_that_stops_is_unlearned() -> None:
    moving = [differing("seen", 3, 4)]
    route = Route().take(moving, moving, moving, times=500)
    assert route.take((), (), (), times=8 * WINDOW).take(moving, (), (), times=60).reported > 0
    assert route.noise.learned(KEY) == frozenset()


def test_what_can_not_be_told_is_held_and_settled_when_the_route_is_quiet() -> None:
    route = Route().take([differing("total", 3, 4)], None, None)
    assert (route.reported, route.held) == (0, 1)
    assert route.noise.settle_quiet(NOW) == []
    assert route.quiet().reported == 1


def test_a_status_is_never_noise() -> None:
    status = [Difference(("status",), Change.CHANGED, "500", "200", nature_of("a", None))]
    assert Route().take(status, (), (), times=20).reported > 0


@pytest.mark.parametrize("data", [True, False])
def test_what_is_remembered_is_bounded(data: bool) -> None:
    route = Route()
    for number in range(30 * PLACES):
        path = ("body", "prices", f"sku{number}", "ts") if data else ("body", f"n{number}")
        one = Difference(path, Change.CHANGED, "1", "2", nature_of(1, 2))
        route.take([one], [one], [one])
    assert len(route.noise._routes[KEY].places) <= PLACES
    assert len(route.noise._routes[KEY].children) <= PLACES
    assert route.held <= 200


# What was counted before its noise was known

UNIQUE: dict[str, Any] = {"legacy_itself": None, "native_itself": None}
"""A request that nobody has sent before: there is no answer to compare with."""


def explains(route: Route, difference: Difference) -> bool:
    return route.noise.explains(KEY, [(difference, NOW + route.number)])


def test_what_was_reported_before_its_noise_was_known_is_explained_by_it() -> None:
    moving = differing("seats", 3, 40)
    route = Route().take([moving], **UNIQUE, times=45)
    assert route.reported > 20
    assert not explains(route, moving)
    route.take([moving], [moving], [moving], times=4)
    assert not explains(route, moving)
    route.take([moving], [moving], [moving], times=20)
    assert explains(route, moving)
    assert not explains(route, differing("total", 3, 40))


@pytest.mark.parametrize(
    ("often", "explained"),
    [(40, True), (10, False), (1, False)],
)
def test_a_bug_that_is_more_frequent_than_the_noise_beside_it_is_not_explained(often: int, explained: bool) -> None:
    """The native side is wrong in every answer; the legacy side moves in so many of 40."""
    wrong = differing("seats", 3, 40)
    route = Route().take([wrong], **UNIQUE, times=45)
    for number in range(120):
        route.take([wrong], [wrong] if number % 40 < often else [], [])
    assert explains(route, wrong) is explained


def test_of_numbers_only_noise_that_is_as_large_explains() -> None:
    wrong, jitter = differing("seats", 1.0, 1000.0), differing("seats", 1.0, 1.0001)
    route = Route().take([wrong], **UNIQUE, times=45).take([wrong], [jitter], [jitter], times=60)
    assert not explains(route, wrong)


def test_a_text_that_the_legacy_side_never_gives_is_not_explained() -> None:
    route = Route().take([differing("cache", "hit", "miss")], [differing("cache", "hit", "miss")], times=60)
    never = differing("cache", "broken", "miss")
    route.take([never], [differing("cache", "hit", "miss")], times=20)
    assert not explains(route, never)
