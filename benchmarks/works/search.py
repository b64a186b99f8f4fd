"""A native search on a real Elasticsearch against Flask with the sync client."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import pytest
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk

from benchmarks.apps.search import passages
from benchmarks.comparison import Comparison, Comparisons
from benchmarks.contenders import graft, gthread
from benchmarks.load import Load, ask
from benchmarks.results import BenchmarkError
from benchmarks.settings import Settings, move
from tests.parts import elasticsearch

WARMING = 25  # seconds until Java has compiled what a search needs
PREPARING = 25.0 + WARMING  # to start Elasticsearch, fill it and warm it up, for the estimate

# Another question each time, to the contenders and, for the warm-up, to Elasticsearch itself.
ASKED = f"""
local asked = {{{", ".join(f'"{text}"' for text in passages.asked())}}}
local number = 0
local function another()
    number = number % #asked + 1
    return asked[number]
end
"""
SEARCHES = ASKED + 'request = function() return wrk.format("GET", "/search?q=" .. another():gsub(" ", "+")) end'
QUESTIONS = f"""{ASKED}
local headers = {{["Content-Type"] = "application/json"}}
local body = [==[{json.dumps(passages.body("TEXT"))}]==]
request = function()
    return wrk.format("POST", "/{passages.INDEX}/_search", headers, (body:gsub("TEXT", another())))
end
"""
PROBE = "/search?q=a"


@contextmanager
def _elasticsearch(settings: Settings) -> Iterator[Mapping[str, str]]:
    """A server that the tests know how to get and start: filled, warmed up, and then on the load's core."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(elasticsearch.running())
        except (pytest.skip.Exception, pytest.fail.Exception, AssertionError) as error:
            raise BenchmarkError(str(error)) from None
        _fill(server.url)
        ask(server.url, Load("", 16, QUESTIONS), WARMING)
        if server.process is not None:
            move(server.process.pid, settings.load_core)
        yield {"ELASTICSEARCH_URL": server.url}


def _fill(url: str) -> None:
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    with Elasticsearch(url, request_timeout=60) as client:
        client.indices.create(index=passages.INDEX, mappings=passages.MAPPINGS, settings=settings)
        bulk(client, ({"_index": passages.INDEX, **passage} for passage in passages.passages()))
        client.indices.forcemerge(index=passages.INDEX, max_num_segments=1)
        client.indices.refresh(index=passages.INDEX)


def _search(clients: int, least: float) -> Comparison:
    return Comparison(
        f"search {clients}",
        f"native search on Elasticsearch, {clients} clients",
        Load("/search", clients, SEARCHES),
        {gthread("benchmarks.apps.search.flask_app:app", PROBE): least},
        graft("benchmarks.apps.search.native", PROBE),
        warm_up=2,
    )


COMPARISONS = [_search(16, 1.7), _search(64, 2.3)]
WORK = Comparisons("search", COMPARISONS, _elasticsearch, PREPARING)
