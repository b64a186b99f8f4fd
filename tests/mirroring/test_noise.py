from __future__ import annotations

from graft.mirroring.compare import Change, Difference
from graft.mirroring.noise import ENOUGH, EVERY, FIRST, MOST, Noise
from graft.types import RouteKey

KEY = RouteKey("GET", "/thing")


def at(*names: str) -> tuple[Difference, ...]:
    return tuple(Difference(("body", name), Change.CHANGED, "a", "b") for name in names)


def test_the_first_requests_and_then_a_few_are_samples() -> None:
    noise = Noise()
    samples = [number for number in range(1, 2 * EVERY + 1) if noise.wants_sample(KEY, ())]
    assert samples == [*range(1, FIRST + 1), EVERY, 2 * EVERY]


def test_a_new_difference_is_looked_into_until_it_is_known_to_be_real() -> None:
    noise = Noise()
    for _ in range(FIRST):
        noise.wants_sample(KEY, ())
    for _ in range(ENOUGH):
        assert noise.wants_sample(KEY, at("title"))
        noise.learn(KEY, (), at("title"))
    assert not noise.wants_sample(KEY, at("title"))
    assert noise.wants_sample(KEY, at("title", "other"))


def test_only_what_differs_both_ways_is_noise() -> None:
    noise = Noise()
    assert noise.learn(KEY, at("took", "changed_meanwhile"), at("took", "real")) == {"body.took changed"}
    assert noise.learn(KEY, at("took"), at("took")) == frozenset(), "it is known"
    assert noise.without(KEY, at("took", "real")) == at("real")
    assert noise.learned(KEY) == {"body.took changed"}
    assert noise.learned(RouteKey("GET", "/other")) == frozenset()


def test_the_status_is_never_noise() -> None:
    status = (Difference(("status",), Change.CHANGED, "200", "500"),)
    assert Noise().learn(KEY, status, status) == frozenset()


def test_what_is_learned_is_bounded() -> None:
    noise = Noise()
    many = at(*(str(number) for number in range(MOST + 1)))
    assert noise.learn(KEY, many, many) == frozenset()
    assert noise.learned(KEY) == frozenset()
