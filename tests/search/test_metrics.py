from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from elasticsearch import ConnectionError, NotFoundError

from graft.search.client import open_client
from graft.settings import Settings
from tests.parts import free_port


async def test_calls_are_counted_by_how_they_ended(tmp_path: Path, metric: Callable[..., float]) -> None:
    def calls(method: str, outcome: str) -> float:
        return metric("graft_elasticsearch_calls_total", method=method, outcome=outcome)

    before = calls("GET", "2xx"), calls("GET", "4xx"), metric("graft_elasticsearch_seconds_count", method="GET")
    async with open_client(Settings.load(data=tmp_path, elasticsearch_url=())) as client:
        await client.cluster.health()
        with pytest.raises(NotFoundError):
            await client.options(request_timeout=5).get(index="none", id="1")
    assert (calls("GET", "2xx"), calls("GET", "4xx")) == (before[0] + 1, before[1] + 1)
    assert metric("graft_elasticsearch_seconds_count", method="GET") == before[2] + 2


async def test_a_server_that_is_not_there_is_told_as_unreachable(tmp_path: Path, metric: Callable[..., float]) -> None:
    before = metric("graft_elasticsearch_calls_total", method="GET", outcome="unreachable")
    settings = Settings.load(data=tmp_path, elasticsearch_url=(f"http://127.0.0.1:{free_port()}",))
    async with open_client(settings) as client:
        with pytest.raises(ConnectionError):
            await client.cluster.health()
    assert metric("graft_elasticsearch_calls_total", method="GET", outcome="unreachable") == before + 1
