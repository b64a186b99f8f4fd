"""The table of docs/promotion.md in small: ``python -m tests.operations.promotion_simulation`` makes it with 10,000."""

from __future__ import annotations

import random

import pytest

from tests.operations.promotion_simulation import TWINS, Twin, promote


@pytest.mark.parametrize("twin", [twin for twin in TWINS if not twin.sound], ids=lambda twin: twin.name)
def test_a_twin_that_is_worse_than_a_gate_does_not_come_through(twin: Twin) -> None:
    dice = random.Random(11)
    runs = [promote(twin, dice) for _ in range(4)]
    assert not any(run.came_through for run in runs)
    if not (twin.errors or "exactly" in twin.name):
        assert sum(run.share > 0 for run in runs) <= 1


@pytest.mark.parametrize("twin", [twin for twin in TWINS if twin.sound], ids=lambda twin: twin.name)
def test_a_sound_twin_comes_through_and_is_not_taken_back(twin: Twin) -> None:
    dice = random.Random(12)
    assert all(promote(twin, dice).came_through for _ in range(2))
