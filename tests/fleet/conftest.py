from __future__ import annotations

from pathlib import Path

import pytest

from graft.fleet import connection
from tests.fleet.hosts import Clock, Fleet
from tests.parts.elasticsearch import Elasticsearch


@pytest.fixture
def fleet(real_elasticsearch: Elasticsearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 30.0)  # a test machine may be busy
    return Fleet(real_elasticsearch.url, tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()
