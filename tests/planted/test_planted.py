"""Planted bugs are reported, and an unchanged twin is not: a sample of what ``python -m tests.planted.stream`` runs."""

from __future__ import annotations

import pytest

from tests.planted.mutants import CONDITIONS, mutants
from tests.planted.shapes import SHAPES
from tests.planted.stream import run, table

KINDS = {
    *("value", "type", "null", "missing", "extra", "order", "off by one", "encoding", "precision", "time zone"),
    *("page size", "header", "cookie", "status"),
}


def test_there_are_four_hundred_bugs_of_every_kind_on_every_shape_under_every_condition() -> None:
    planted = mutants(seed=1, count=440)
    assert len(planted) >= 400
    assert {mutant.kind for mutant in planted} >= KINDS
    assert {mutant.shape for mutant in planted} == set(SHAPES)
    assert {mutant.condition for mutant in planted} == set(CONDITIONS)


def test_a_sample_of_planted_bugs_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    always = [mutant for mutant in mutants(seed=1, count=440) if mutant.condition in ("always", "some users")]
    shown, wrong = table(always[:60], most=400, twin=0, shapes=[])
    with capsys.disabled():
        print(f"\n{shown}")
    assert wrong == []


@pytest.mark.parametrize("shape", SHAPES)
def test_an_unchanged_twin_has_no_unexplained_difference(shape: str) -> None:
    report = run(shape, None, 300, "suite")
    assert (report.reported, report.what) == (0, "")
