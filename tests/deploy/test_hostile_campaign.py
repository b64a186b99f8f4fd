"""Five thousand hostile inputs; ``python -m tests.deploy.hostile`` also says what they cost a bystander."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.hostile import KINDS, run


@pytest.mark.slow
def test_of_five_thousand_hostile_inputs_none_gets_through(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    outcome = run(tmp_path, 5_004)
    assert outcome.through == []
    assert outcome.sent.total() >= 5_000
    assert set(outcome.sent) == set(KINDS)
    record_property("hostile inputs, none through", outcome.sent.total())
