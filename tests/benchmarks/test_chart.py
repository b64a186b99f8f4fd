"""The chart of the benchmarks."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.chart import svg
from benchmarks.results import Goal, Report, Result

MACHINE = {"date": "2030-01-02", "cpu": "A <CPU>", "cores": 2, "python": "3.13.1", "pinned": "not pinned", "rounds": 15}
SVG = "{http://www.w3.org/2000/svg}"


def drawn(*goals: Goal) -> ElementTree.Element:
    return ElementTree.fromstring(svg(Report(MACHINE, [Result("small", "small & quick", list(goals), {})])))


def bars(picture: ElementTree.Element) -> list[ElementTree.Element]:
    """Without the two of the key."""
    return [rect for rect in picture.iter(f"{SVG}rect") if rect.get("class") in ("ok", "miss")][2:]


def ends(bar: ElementTree.Element) -> tuple[float, float]:
    start = float(bar.get("x", ""))
    return start, start + float(bar.get("width", ""))


def ticks(picture: ElementTree.Element) -> list[float]:
    return [float(line.get("x1", "")) for line in picture.iter(f"{SVG}line") if line.get("class") == "goal"][1:]


def test_a_bar_that_reaches_its_tick_is_green_and_one_that_misses_it_is_amber() -> None:
    picture = drawn(Goal("throughput", "gthread", 4, 3), Goal("throughput", "granian", 2, 3))
    (reaches, misses), (tick, same) = bars(picture), ticks(picture)
    assert tick == same
    assert reaches.get("class") == "ok"
    assert ends(reaches)[1] > tick
    assert misses.get("class") == "miss"
    assert ends(misses)[1] < tick


def test_below_the_peer_a_bar_goes_to_the_left() -> None:
    above, below = bars(drawn(Goal("throughput", "gthread", 2, 3), Goal("throughput", "granian", 0.8, 0.8)))
    assert ends(below)[1] == pytest.approx(ends(above)[0])


def test_what_is_to_be_low_is_drawn_as_a_share_of_its_limit() -> None:
    half = bars(drawn(Goal("p99", "", 5, 10, True, "ms")))[0]
    whole = bars(drawn(Goal("memory above", "gthread", 15, 15, True, "MiB")))[0]
    assert ends(half)[0] == ends(whole)[0]
    assert 2 * float(half.get("width", "")) == pytest.approx(float(whole.get("width", "")), abs=0.2)


@pytest.mark.parametrize("value", [0.0, 0.001, 1.0, 64.0, 1e6])
def test_no_value_leaves_the_picture(value: float) -> None:
    for bar in bars(drawn(Goal("throughput", "gthread", value, 3), Goal("p99", "gthread", value, 1, at_most=True))):
        start, end = ends(bar)
        assert 500 <= start <= end <= 800


def test_a_run_without_results_is_a_picture_too() -> None:
    assert bars(drawn()) == []
