from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from elasticsearch import AsyncElasticsearch

from embedded_elasticsearch import connect


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncElasticsearch]:
    """A client of the embedded engine with a file of its own."""
    async with connect(tmp_path / "search.sqlite3", request_timeout=30) as client:
        yield client
