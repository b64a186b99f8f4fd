"""A small endurance run; ``python -m tests.deploy.endurance`` is the whole one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.endurance import run


@pytest.mark.slow
def test_after_requests_of_every_kind_a_worker_is_what_it_was(tmp_path: Path) -> None:
    outcome = run(tmp_path, 2_500)
    assert outcome.level, str(outcome)
    assert outcome.answers["200"] > 1_000, str(outcome)
    assert outcome.answers["500"] >= 150, str(outcome)
    assert not {"ConnectionResetError", "IncompleteReadError", "ValueError"} & set(outcome.answers), str(outcome)
