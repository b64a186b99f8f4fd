from __future__ import annotations

import random

import pytest
from ddsketch import DDSketch

from graft.figures.latency import LONGEST, RELATIVE_ERROR, SHORTEST, Latency, added, counted, lower, middle, upper

DICE = random.Random(7)
SAMPLES = {
    "one": [0.0314],
    "constant": [0.02] * 300,
    "web": [DICE.lognormvariate(-3.5, 0.8) for _ in range(3000)],
    "fast": [DICE.uniform(0.0001, 0.0009) for _ in range(500)],
    "two kinds": [DICE.choice((0.004, 2.5)) * DICE.uniform(0.9, 1.1) for _ in range(999)],
}


@pytest.mark.parametrize("seconds", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("q", [0, 0.5, 0.95, 0.99, 1])
def test_a_quantile_is_at_most_the_relative_error_away_and_is_what_ddsketch_says(
    seconds: list[float], q: float
) -> None:
    sketch = DDSketch(RELATIVE_ERROR)
    for each in seconds:
        sketch.add(each)
    told = Latency.of(seconds).quantile_ms(q)
    exact = sorted(seconds)[int(q * (len(seconds) - 1))] * 1000
    assert told == pytest.approx(exact, rel=RELATIVE_ERROR * 1.01, abs=0.001)
    assert told == pytest.approx(sketch.get_quantile_value(q) * 1000, abs=0.001)


def test_workers_add_up_as_if_one_had_counted_all() -> None:
    one, other = SAMPLES["web"][:1000], SAMPLES["web"][1000:]
    both = Latency(added((Latency.of(one).bins, Latency.of(other).bins)))
    assert both == Latency.of(SAMPLES["web"])
    assert both.since(Latency.of(one)) == Latency.of(other)
    assert both.count == 3000


def test_nothing_has_no_quantile() -> None:
    assert Latency().quantile_ms(0.95) is None


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, SHORTEST, 0.001, 1, 29.9, LONGEST, 1e7, float("inf")])
def test_every_duration_has_a_bin(seconds: float) -> None:
    [number] = counted([seconds])
    assert lower(number) < upper(number)
    assert lower(number) * 0.99 < middle(number) < upper(number) * 1.01
    if SHORTEST < seconds < LONGEST:
        assert lower(number) < seconds <= upper(number)
