from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from elasticsearch import AsyncElasticsearch

from graft.search.client import open_client
from graft.settings import Settings


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncElasticsearch]:
    """A client of the embedded engine with a file of its own."""
    async with open_client(Settings.load(elasticsearch_url=(), data=tmp_path)) as client:
        yield client.options(request_timeout=30)
