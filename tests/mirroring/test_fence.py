from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from elastic_transport import HttpHeaders
from elasticsearch import AsyncElasticsearch
from elasticsearch.helpers import async_bulk

from graft.mirroring.fence import MirroredWrite, Tried, current, guarded_state, read_only, reads


class Server:
    """Stands in for the transport: keeps what would have been sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def perform_request(self, method: str, target: str, **rest: Any) -> Any:
        self.sent.append(f"{method} {target}")

        class Meta:
            status = 200
            headers = HttpHeaders({"x-elastic-product": "Elasticsearch"})

        return Meta(), {"hits": {"hits": []}, "items": [], "errors": False}


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncElasticsearch]:
    client = AsyncElasticsearch("http://127.0.0.1:1", api_key="key")
    server = Server()
    monkeypatch.setattr(client.transport, "perform_request", server.perform_request)
    client.server = server  # type: ignore[attr-defined]
    async with client:
        yield client


Call = Callable[[AsyncElasticsearch], Awaitable[Any]]


async def bulk(client: AsyncElasticsearch) -> None:
    await async_bulk(client, [{"_index": "articles", "a": 1}])


@pytest.mark.parametrize(
    ("call", "note"),
    [
        (lambda c: c.index(index="articles", document={}), "index into articles"),
        (lambda c: c.create(index="articles", id="1", document={}), "index into articles"),
        (lambda c: c.update(index="articles", id="1", doc={}), "update a document of articles"),
        (lambda c: c.delete(index="articles", id="1"), "delete a document of articles"),
        (lambda c: c.bulk(index="articles", operations=[]), "write in bulk to articles"),
        (bulk, "call PUT /_bulk"),
        (lambda c: c.indices.create(index="a"), "create the index a"),
        (lambda c: c.indices.delete(index=["a", "b"]), "delete the index a,b"),
        (lambda c: c.delete_by_query(index="a", query={"match_all": {}}), "delete documents of a"),
        (lambda c: c.reindex(source={}, dest={}), "call POST /_reindex"),
        (lambda c: c.options(request_timeout=3).options(max_retries=1).index(index="x", document={}), "index into x"),
        (lambda c: c.perform_request("POST", "/a/_doc"), "call POST /a/_doc"),
        (lambda c: c.ingest.put_pipeline(id="p", processors=[]), "call PUT /_ingest/pipeline/p"),
    ],
)
async def test_what_writes_is_refused_and_noted(client: AsyncElasticsearch, call: Call, note: str) -> None:
    tried = Tried()
    current.set(tried)
    with pytest.raises(MirroredWrite, match=r"native tried to .* while it ran as a mirror"):
        await call(read_only(client))
    assert tried.note == f"not comparable: native tried to {note}"
    assert client.server.sent == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.search(index="a", query={"match_all": {}}),
        lambda c: c.msearch(searches=[{}, {}]),
        lambda c: c.get(index="a", id="1"),
        lambda c: c.exists(index="a", id="1"),
        lambda c: c.mget(index="a", ids=["1"]),
        lambda c: c.count(index="a"),
        lambda c: c.scroll(scroll_id="x"),
        lambda c: c.clear_scroll(scroll_id="x"),
        lambda c: c.open_point_in_time(index="a", keep_alive="1m"),
        lambda c: c.close_point_in_time(id="x"),
        lambda c: c.field_caps(index="a", fields="*"),
        lambda c: c.indices.analyze(text="x"),
        lambda c: c.indices.validate_query(index="a"),
        lambda c: c.cluster.health(),
        lambda c: c.options(request_timeout=3).search(index="a"),
    ],
)
async def test_what_reads_goes_through(client: AsyncElasticsearch, call: Call) -> None:
    await call(read_only(client))
    assert len(client.server.sent) == 1  # type: ignore[attr-defined]


async def test_the_users_own_client_is_not_touched(client: AsyncElasticsearch) -> None:
    read_only(client)
    await client.index(index="a", document={})
    assert client.server.sent == ["POST /a/_doc"]  # type: ignore[attr-defined]


def test_an_index_that_is_called_like_a_read_is_still_written_to() -> None:
    assert not reads("POST", "/_search_index/_doc")
    assert not reads("POST", "/a/_search_and_destroy")
    assert not reads("PUT", "/a/_search")
    assert not reads("DELETE", "/a")


async def test_the_state_of_a_mirrored_run_keeps_the_rest(client: AsyncElasticsearch) -> None:
    state = {"elasticsearch": client, "user": "ada"}
    guarded = guarded_state(state)
    assert guarded["user"] == "ada"
    assert guarded["elasticsearch"] is not client
    assert state["elasticsearch"] is client
    assert guarded_state(state)["elasticsearch"] is guarded["elasticsearch"], "it is made once"
    assert guarded_state({"elasticsearch": "a double of a test"}) == {"elasticsearch": "a double of a test"}
