"""A search of which a part of the shards failed: Elasticsearch answers 200 with what the others have."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from graft.search.client import open_client
from graft.search.metrics import failed_shards
from graft.settings import Settings
from tests.search.servers import Answer, serving

FAILURE = {"shard": 1, "index": "docs", "reason": {"type": "no_shard_available_action_exception", "reason": None}}
FAILED = {"total": 2, "successful": 1, "skipped": 0, "failed": 1, "failures": [FAILURE]}


async def test_an_answer_of_a_part_of_the_shards_is_told(
    metric: Callable[..., float], caplog: pytest.LogCaptureFixture
) -> None:
    answer = Answer(body={"timed_out": False, "_shards": FAILED, "hits": {"hits": []}})
    before = metric("graft_elasticsearch_calls_total", method="POST", outcome="partial")
    async with (
        serving({"/docs/_search": answer}) as url,
        open_client(Settings.load(elasticsearch_url=(url,))) as client,
    ):
        with caplog.at_level(logging.WARNING, "graft.search"):
            for _ in range(3):
                assert (await client.search(index="docs", query={"match_all": {}}))["_shards"]["failed"] == 1
    assert metric("graft_elasticsearch_calls_total", method="POST", outcome="partial") == before + 3
    told = f"{url} answered /docs/_search for a part of the data only: 1 of 2 shards failed: no_shard_available_action"
    assert [record.getMessage() for record in caplog.records] == [f"Elasticsearch at {told}_exception"]


@pytest.mark.parametrize("body", [{}, [], "text", None, {"_shards": None}, {"_shards": {"total": 1, "failed": 0}}])
def test_other_answers_are_whole(body: object) -> None:
    assert failed_shards(body) is None


def test_shards_without_a_reason_are_counted() -> None:
    told = "1 of 2 shards failed: no copy of them is there"
    assert failed_shards({"_shards": {"total": 2, "failed": 1}}) == told
