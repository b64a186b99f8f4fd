"""Third-party apps answer through the gateway as they do under Gunicorn's gthread."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.visits import APPS, App, compare


@pytest.mark.slow
@pytest.mark.parametrize("app", APPS, ids=[app.module for app in APPS])
def test_nobody_can_tell_the_gateway_from_gunicorn_alone(app: App, tmp_path: Path) -> None:
    outcome = compare(app, tmp_path)
    assert not outcome.differences, "\n".join(outcome.differences)
    assert outcome.answers > 5
