"""A native search on a real Elasticsearch against Flask with the sync client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import pytest
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk

from benchmarks.apps.search import passages
from benchmarks.comparison import Comparison, Comparisons
from benchmarks.contenders import graft, gthread
from benchmarks.load import Load
from benchmarks.results import BenchmarkError
from benchmarks.settings import Settings, starting_on
from tests.parts import elasticsearch

PREPARING = 30.0  # seconds to start Elasticsearch and fill it, for the estimate
# Another question each time; %s is the list of them.
SCRIPT = """
local asked = {%s}
local number = 0
request = function()
    number = number %% #asked + 1
    return wrk.format("GET", "/search?q=" .. asked[number])
end
"""
SEARCHES = SCRIPT % ", ".join(f'"{text.replace(" ", "+")}"' for text in passages.asked())
PROBE = "/search?q=a"


@contextmanager
def _elasticsearch(settings: Settings) -> Iterator[Mapping[str, str]]:
    """A server that the tests know how to get and start, with the passages in it."""
    with ExitStack() as stack:
        try:
            with starting_on(settings.load_core):
                url = stack.enter_context(elasticsearch.running()).url
        except (pytest.skip.Exception, pytest.fail.Exception, AssertionError) as error:
            raise BenchmarkError(str(error)) from None
        _fill(url)
        yield {"ELASTICSEARCH_URL": url}


def _fill(url: str) -> None:
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    with Elasticsearch(url, request_timeout=60) as client:
        client.indices.create(index=passages.INDEX, mappings=passages.MAPPINGS, settings=settings)
        bulk(client, ({"_index": passages.INDEX, **passage} for passage in passages.passages()))
        client.indices.forcemerge(index=passages.INDEX, max_num_segments=1)
        client.indices.refresh(index=passages.INDEX)


def _search(clients: int, least: float, warm_up: int) -> Comparison:
    return Comparison(
        f"search {clients}",
        f"native search on Elasticsearch, {clients} clients",
        Load("/search", clients, SEARCHES),
        {gthread("benchmarks.apps.search.flask_app:app", PROBE): least},
        graft("benchmarks.apps.search.native", PROBE),
        warm_up=warm_up,
    )


# Elasticsearch gets quicker for many seconds, while Java compiles what is used most.
COMPARISONS = [_search(16, 1.7, warm_up=10), _search(64, 2.3, warm_up=2)]
WORK = Comparisons("search", COMPARISONS, _elasticsearch, PREPARING)
