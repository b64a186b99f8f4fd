from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.project import APP, ROUTES, Project, project_in


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    yield from project_in(tmp_path, monkeypatch)


@pytest.fixture
def project(empty: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A Flask app with one switched route."""
    empty.write("shop.py", APP)
    empty.write("async_routes/__init__.py", ROUTES)
    monkeypatch.setenv("GRAFT_LEGACY", "shop:app")
    return empty
