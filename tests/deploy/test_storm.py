"""A small storm; ``python -m tests.deploy.storm`` is the whole one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.storm import storm


@pytest.mark.slow
def test_nothing_that_was_acknowledged_is_lost_when_workers_are_killed(tmp_path: Path) -> None:
    outcome = storm(tmp_path, kills=12, seconds=10, rate=60)
    assert outcome.good, str(outcome)
    assert outcome.kills >= 8
    assert min(outcome.acknowledged[kind] for kind in ("document", "bulk", "task", "count", "flip")) > 5
