"""One bad host among many is pointed out; chance is not."""

from __future__ import annotations

import random

import pytest

from graft.figures.route_figures import RouteFigures
from graft.fleet.outliers import outliers
from tests.operations.climbing import figures


def of(answers: int, failed: int) -> dict[str, RouteFigures]:
    return {"GET /a": figures(native=answers - failed, fallback=failed, native_failed=failed)}


def test_one_host_of_twenty_that_fails_three_percent_is_pointed_out() -> None:
    hosts = [(f"web-{number}", of(2000, 1)) for number in range(19)]
    [found] = outliers([*hosts, ("web-19", of(2000, 60))])
    assert (found.host, found.route, found.failed) == ("web-19", "GET /a", 60)
    assert (round(found.percent, 2), round(found.others, 2)) == (3.0, 0.05)
    assert "web-19: 3.0 % of its native answers of GET /a failed" in str(found)


def test_where_all_hosts_fail_alike_none_is_pointed_out() -> None:
    assert outliers([(f"web-{number}", of(1000, 30)) for number in range(20)]) == []


def test_a_single_host_has_nobody_to_be_compared_with() -> None:
    assert outliers([("web-1", of(100, 100))]) == []


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1])
def test_chance_points_out_hardly_anybody(rate: float) -> None:
    drawn = random.Random(20)
    found = 0
    for _ in range(100):
        hosts = [(f"web-{n}", of(1000, sum(drawn.random() < rate for _ in range(1000)))) for n in range(10)]
        found += bool(outliers(hosts))
    assert found <= 1
