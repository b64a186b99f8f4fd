"""One suite over both search engines: the one inside the process, and a real Elasticsearch.

The first part makes claims and checks them on each engine; the second asks both the same and compares the answers.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import (
    ApiError,
    AsyncElasticsearch,
    BadRequestError,
    ConflictError,
    helpers,
)

from graft.search import indexing
from graft.search.client import open_client, probe
from graft.settings import Settings
from tests.contract.engine_requests import BAD_SEARCHES, SEARCHES, STEPS
from tests.contract.engines import DOCUMENTS, MAPPINGS, agree, comparable, error_of
from tests.parts.elasticsearch import Elasticsearch

NAMES = (f"contract{number}" for number in itertools.count())


@dataclass(frozen=True)
class Engine:
    """An engine and what it can: the real server of the tests has the core modules only."""

    name: str
    client: AsyncElasticsearch
    has_delete_by_query: bool
    has_info: bool


def _embedded(folder: Path) -> AsyncElasticsearch:
    return open_client(Settings.load(elasticsearch_url=(), data=folder))


def _real(server: Elasticsearch) -> AsyncElasticsearch:
    return open_client(Settings.load(elasticsearch_url=(server.url,))).options(request_timeout=30)


@pytest.fixture(params=["embedded", "real"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    if request.param == "embedded":
        client = _embedded(tmp_path)
    else:
        client = _real(request.getfixturevalue("real_elasticsearch"))
    core_only = request.param == "real"
    try:
        yield Engine(request.param, client, not core_only, not core_only)
    finally:
        await client.close()


@pytest.fixture
def index(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return next(NAMES)


async def fill(client: AsyncElasticsearch, index: str, documents: dict[str, dict[str, Any]], **mappings: Any) -> None:
    await client.indices.create(index=index, mappings={"properties": mappings})
    actions = [{"_index": index, "_id": doc_id, "_source": source} for doc_id, source in documents.items()]
    await helpers.async_bulk(client, actions, refresh=True)


def ids(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


# Claims


async def test_a_document_that_was_written_is_read_back_as_it_was(engine: Engine, index: str) -> None:
    source = {
        "text": "größer 😀",
        "number": 2**53 + 1,
        "float": 1.0,
        "nothing": None,
        "list": [[1], []],
        "a.b": {"c": True},
    }
    written = await engine.client.index(index=index, id="ä/1", document=source)
    read = await engine.client.get(index=index, id="ä/1")
    assert (written["result"], written["_version"]) == ("created", 1)
    assert read["_source"] == source
    assert isinstance(read["_source"]["float"], float)


async def test_versions_go_on_after_a_deletion(engine: Engine, index: str) -> None:
    client = engine.client
    versions = [
        (await client.index(index=index, id="1", document={"a": 1}))["_version"],
        (await client.index(index=index, id="1", document={"a": 2}))["_version"],
        (await client.delete(index=index, id="1"))["_version"],
        (await client.index(index=index, id="1", document={"a": 3}))["_version"],
    ]
    assert versions == [1, 2, 3, 4]


async def test_a_write_over_a_state_that_is_gone_is_a_conflict(engine: Engine, index: str) -> None:
    client = engine.client
    seen = await client.index(index=index, id="1", document={"a": 1})
    guard = {"if_seq_no": seen["_seq_no"], "if_primary_term": seen["_primary_term"]}
    await client.index(index=index, id="1", document={"a": 2}, **guard)
    with pytest.raises(ConflictError) as refused:
        await client.index(index=index, id="1", document={"a": 3}, **guard)
    assert refused.value.body["error"]["type"] == "version_conflict_engine_exception"
    with pytest.raises(ConflictError):
        await client.create(index=index, id="1", document={"a": 4})


async def test_a_partial_update_merges_objects_and_replaces_the_rest(engine: Engine, index: str) -> None:
    client = engine.client
    await client.index(index=index, id="1", document={"a": {"b": 1, "c": [1, 2]}, "d": 1})
    changed = await client.update(index=index, id="1", doc={"a": {"c": [3]}, "e": None})
    again = await client.update(index=index, id="1", doc={"d": 1})
    assert (changed["result"], again["result"]) == ("updated", "noop")
    assert (await client.get(index=index, id="1"))["_source"] == {"a": {"b": 1, "c": [3]}, "d": 1, "e": None}


async def test_a_bulk_request_reports_each_operation_by_itself(engine: Engine, index: str) -> None:
    await engine.client.indices.create(index=index, mappings={"properties": {"n": {"type": "integer"}}})
    answer = await engine.client.bulk(
        index=index,
        refresh=True,
        operations=[
            {"index": {"_id": "1"}},
            {"n": 1},
            {"create": {"_id": "1"}},
            {"n": 2},
            {"index": {"_id": "2"}},
            {"n": "no number"},
            {"update": {"_id": "1"}},
            {"doc": {"n": 5}},
            {"update": {"_id": "3"}},
            {"doc": {"n": 5}},
            {"delete": {"_id": "4"}},
            {"update": {"_id": "5"}},
            {"doc": {"n": 7}, "doc_as_upsert": True},
        ],
    )
    outcome = [(kind, item["status"]) for entry in answer["items"] for kind, item in entry.items()]
    assert answer["errors"] is True
    assert outcome == [
        ("index", 201),
        ("create", 409),
        ("index", 400),
        ("update", 200),
        ("update", 404),
        ("delete", 404),
        ("update", 201),
    ]
    found = await engine.client.search(index=index, sort=["n"])
    assert [hit["_source"]["n"] for hit in found["hits"]["hits"]] == [5, 7]


async def test_a_rare_word_counts_more_than_a_common_one(engine: Engine, index: str) -> None:
    documents = {str(number): {"text": f"common word number {number}"} for number in range(10)}
    documents["rare"] = {"text": "rare word number"}
    await fill(engine.client, index, documents, text={"type": "text"})
    found = await engine.client.search(index=index, query={"match": {"text": "common rare"}})
    assert ids(found)[0] == "rare"
    assert found["hits"]["total"] == {"value": 11, "relation": "eq"}


async def test_more_hits_than_are_counted_are_said_to_be_at_least_so_many(engine: Engine, index: str) -> None:
    await fill(engine.client, index, {str(number): {"n": number} for number in range(30)})
    found = await engine.client.search(index=index, track_total_hits=20, size=1)
    assert found["hits"]["total"] == {"value": 20, "relation": "gte"}


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_search_after_walks_through_every_document_once(engine: Engine, index: str, order: str) -> None:
    """120 documents with many equal values, some with none, in pages of 25; new ones come in between."""
    documents = {
        f"{n:03}": {"kind": f"k{n % 7}", "id": f"{n:03}", **({"n": n % 5} if n % 4 else {})} for n in range(120)
    }
    await fill(engine.client, index, documents, kind={"type": "keyword"}, id={"type": "keyword"})
    sort: list[Any] = [{"n": {"order": order}}, {"kind": order}, {"id": "asc"}]
    seen: list[str] = []
    after: list[Any] | None = None
    while True:
        found = await engine.client.search(index=index, sort=sort, size=25, search_after=after)
        hits = found["hits"]["hits"]
        if not hits:
            break
        seen += ids(found)
        after = hits[-1]["sort"]
        before_all = {"n": -1 if order == "asc" else 99, "kind": "k0" if order == "asc" else "k9", "id": "000"}
        await engine.client.index(index=index, id=f"new{len(seen)}", document=before_all, refresh=True)
    whole = await engine.client.search(index=index, sort=sort, size=200)
    assert len(seen) == 120
    assert seen == [doc_id for doc_id in ids(whole) if not doc_id.startswith("new")]


async def test_facets_count_what_the_query_matched_and_post_filter_narrows_the_hits(engine: Engine, index: str) -> None:
    documents = {str(number): {"kind": "even" if number % 2 == 0 else "odd", "n": number} for number in range(7)}
    await fill(engine.client, index, documents, kind={"type": "keyword"})
    found = await engine.client.search(
        index=index,
        query={"range": {"n": {"gte": 1}}},
        post_filter={"term": {"kind": "odd"}},
        aggs={"kinds": {"terms": {"field": "kind", "size": 1}}},
        sort=["n"],
    )
    assert ids(found) == ["1", "3", "5"]
    assert found["aggregations"]["kinds"] == {
        "doc_count_error_upper_bound": 0,
        "sum_other_doc_count": 3,
        "buckets": [{"key": "even", "doc_count": 3}],
    }


async def test_highlighted_text_is_escaped_around_the_tags(engine: Engine, index: str) -> None:
    text = "<script>alert('x')</script> & a \"quick\" fox"
    await fill(engine.client, index, {"1": {"text": text}}, text={"type": "text"})
    found = await engine.client.search(
        index=index,
        query={"match": {"text": "quick alert"}},
        highlight={
            "encoder": "html",
            "pre_tags": ["<mark>"],
            "post_tags": ["</mark>"],
            "fields": {"text": {"number_of_fragments": 0}},
        },
    )
    assert found["hits"]["hits"][0]["highlight"]["text"] == [
        "&lt;script&gt;<mark>alert</mark>(&#x27;x&#x27;)&lt;&#x2F;script&gt; &amp; a &quot;<mark>quick</mark>&quot; fox"
    ]


async def test_fragments_are_short_and_each_has_a_match(engine: Engine, index: str) -> None:
    text = " ".join(f"Sentence number {number} says needle{number % 3}." for number in range(60))
    await fill(engine.client, index, {"1": {"text": text}}, text={"type": "text"})
    found = await engine.client.search(
        index=index,
        query={"match": {"text": "needle1"}},
        highlight={"fields": {"text": {"fragment_size": 60, "number_of_fragments": 3}}},
    )
    fragments = found["hits"]["hits"][0]["highlight"]["text"]
    assert len(fragments) == 3
    assert all("<em>needle1</em>" in fragment and len(fragment) < 120 for fragment in fragments)


async def test_an_alias_moves_in_one_step(engine: Engine, index: str) -> None:
    client, old, new, alias = engine.client, f"{index}-old", f"{index}-new", f"{index}-alias"
    await fill(client, old, {"1": {"a": 1}})
    await fill(client, new, {"1": {"a": 1}, "2": {"a": 2}})
    await client.indices.put_alias(index=old, name=alias)
    assert (await client.count(index=alias))["count"] == 1
    actions = [{"remove": {"index": old, "alias": alias}}, {"add": {"index": new, "alias": alias}}]
    await client.indices.update_aliases(actions=actions)
    assert (await client.count(index=alias))["count"] == 2
    assert list((await client.indices.get_alias(name=alias)).body) == [new]
    assert not await client.indices.exists_alias(name=f"{alias}-nope")


async def test_a_search_over_several_indices_ranks_them_together(engine: Engine, index: str) -> None:
    client = engine.client
    await fill(client, f"{index}-a", {"1": {"n": 1}, "2": {"n": 4}})
    await fill(client, f"{index}-b", {"3": {"n": 3}, "4": {"n": 2}})
    for expression in (f"{index}-a,{index}-b", f"{index}-*"):
        found = await client.search(index=expression, sort=[{"n": "desc"}], aggs={"n": {"sum": {"field": "n"}}})
        assert ids(found) == ["2", "3", "4", "1"]
        assert found["aggregations"]["n"]["value"] == 10


async def test_new_fields_are_mapped_by_their_first_value(engine: Engine, index: str) -> None:
    await engine.client.index(
        index=index,
        id="1",
        document={
            "t": "x",
            "n": 1,
            "f": 1.5,
            "b": True,
            "d": "2024-01-01",
            "s": "2024/01/01",
            "o": {"k": ["v"]},
            "e": [],
        },
    )
    mapping = (await engine.client.indices.get_mapping(index=index))[index]["mappings"]
    text = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
    slashes = {"type": "date", "format": "yyyy/MM/dd HH:mm:ss||yyyy/MM/dd||epoch_millis", "locale": ""}
    assert mapping == {
        "properties": {
            "b": {"type": "boolean"},
            "d": {"type": "date"},
            "f": {"type": "float"},
            "n": {"type": "long"},
            "o": {"properties": {"k": text}},
            "s": slashes,
            "t": text,
        }
    }


async def test_strict_mappings_refuse_and_closed_ones_ignore_new_fields(engine: Engine, index: str) -> None:
    client = engine.client
    await client.indices.create(
        index=index,
        mappings={
            "dynamic": "strict",
            "properties": {"open": {"type": "object", "dynamic": False}, "n": {"type": "long"}},
        },
    )
    await client.index(index=index, id="1", document={"open": {"new": 1}, "n": 1}, refresh=True)
    with pytest.raises(BadRequestError) as refused:
        await client.index(index=index, id="2", document={"new": 1})
    assert refused.value.body["error"]["type"] == "strict_dynamic_mapping_exception"
    assert ids(await client.search(index=index, query={"term": {"open.new": 1}})) == []
    assert (await client.get(index=index, id="1"))["_source"] == {"open": {"new": 1}, "n": 1}


async def test_a_field_that_is_not_searchable_is_still_in_the_source(engine: Engine, index: str) -> None:
    await fill(
        engine.client,
        index,
        {"1": {"raw": {"a": 1, "b": [{"c": "x"}]}, "long": "x" * 50}},
        raw={"type": "object", "enabled": False},
        long={"type": "keyword", "ignore_above": 10},
    )
    hit = (await engine.client.search(index=index))["hits"]["hits"][0]
    assert hit["_source"]["raw"] == {"a": 1, "b": [{"c": "x"}]}
    assert hit["_ignored"] == ["long"]
    assert ids(await engine.client.search(index=index, query={"exists": {"field": "long"}})) == []


async def test_deleting_by_query_takes_only_what_matches(engine: Engine, index: str) -> None:
    await fill(engine.client, index, {str(number): {"n": number} for number in range(10)})
    if not engine.has_delete_by_query:
        with pytest.raises(BadRequestError, match="no handler found"):
            await engine.client.delete_by_query(index=index, query={"range": {"n": {"lt": 4}}})
        return
    answer = await engine.client.delete_by_query(index=index, query={"range": {"n": {"lt": 4}}}, refresh=True)
    assert (answer["deleted"], answer["total"], answer["failures"]) == (4, 4, [])
    assert (await engine.client.count(index=index))["count"] == 6


async def test_an_engine_that_is_well_passes_the_probe(engine: Engine) -> None:
    assert await probe(engine.client) is None
    if engine.has_info:
        assert (await engine.client.info())["version"]["number"].startswith("8.")


async def test_documents_are_indexed_behind_an_alias_once(engine: Engine, index: str) -> None:
    declared = indexing.Index(
        index, {"properties": {"n": {"type": "integer"}}}, lambda: [(str(n), {"n": n}) for n in range(1200)]
    )
    seen: list[tuple[int, int | None]] = []
    first = await indexing.build(engine.client, declared, lambda done, total: seen.append((done, total)))
    again = await indexing.build(engine.client, declared)
    assert (first.changed, first.documents, again.changed, again.documents) == (True, 1200, False, 1200)
    assert (seen[0], seen[-1]) == ((0, 1200), (1200, 1200))
    fewer = indexing.Index(index, declared.mappings, lambda: [("1", {"n": 1})])
    rebuilt = await indexing.build(engine.client, fewer)
    assert (await engine.client.count(index=index))["count"] == 1
    assert list((await engine.client.indices.get(index=f"{index}*")).body) == [rebuilt.index]


async def test_a_forced_build_replaces_the_index(engine: Engine, index: str) -> None:
    declared = indexing.Index(index, {}, lambda: [("1", {"n": 1})])
    first = await indexing.build(engine.client, declared)
    second = await indexing.build(engine.client, declared, force=True)
    assert first.index != second.index
    assert list((await engine.client.indices.get_alias(name=index)).body) == [second.index]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/{index}/_doc/nope", 404), ("/{index}", 200), ("/{index}-nope", 404), ("/_alias/{index}-nope", 404)],
)
async def test_head_answers_without_a_body(engine: Engine, index: str, path: str, status: int) -> None:
    await engine.client.indices.create(index=index)
    answer = await engine.client.perform_request("HEAD", path.format(index=index))
    assert (answer.meta.status, answer.body) == (status, status == 200)


# Agreement


async def both(tmp_path: Path, server: Elasticsearch) -> tuple[AsyncElasticsearch, AsyncElasticsearch]:
    return _embedded(tmp_path).options(request_timeout=30), _real(server)


async def ask(client: AsyncElasticsearch, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and body of an answer, errors included."""
    headers = {"accept": "application/json", "content-type": "application/json"}
    if isinstance(body, str):
        headers["content-type"] = "application/x-ndjson"
    try:
        answer = await client.perform_request(method, path, headers=headers, body=body)
    except ApiError as error:
        return error.status_code, error.body
    return answer.meta.status, answer.body


async def _load_corpus(client: AsyncElasticsearch) -> None:
    await client.options(ignore_status=404).indices.delete(index="corpus")
    await client.indices.create(index="corpus", mappings=MAPPINGS)
    for doc_id, source in DOCUMENTS.items():
        await client.index(index="corpus", id=doc_id, document=source)
    await client.indices.refresh(index="corpus")


async def test_both_engines_find_rank_sort_count_and_highlight_alike(
    tmp_path: Path, real_elasticsearch: Elasticsearch
) -> None:
    embedded, real = await both(tmp_path, real_elasticsearch)
    async with embedded, real:
        await _load_corpus(embedded)
        await _load_corpus(real)
        differences = {}
        for name, body in SEARCHES.items():
            ours = await ask(embedded, "POST", "/corpus/_search", body)
            theirs = await ask(real, "POST", "/corpus/_search", body)
            found = list(agree(comparable(ours), comparable(theirs)))
            if found:
                differences[name] = found
    assert not differences, "\n".join(f"{asked}: {found}" for asked, found in differences.items())


async def test_both_engines_refuse_the_same_searches_in_the_same_shape(
    tmp_path: Path, real_elasticsearch: Elasticsearch
) -> None:
    embedded, real = await both(tmp_path, real_elasticsearch)
    async with embedded, real:
        await _load_corpus(embedded)
        await _load_corpus(real)
        differences = {}
        for name, body in BAD_SEARCHES.items():
            _, ours = await ask(embedded, "POST", "/corpus/_search", body)
            _, theirs = await ask(real, "POST", "/corpus/_search", body)
            if error_of(ours) != error_of(theirs):
                differences[name] = error_of(ours), error_of(theirs)
    assert not differences, "\n".join(f"{name}: {told}" for name, told in differences.items())


async def test_both_engines_keep_documents_indices_and_aliases_alike(
    tmp_path: Path, real_elasticsearch: Elasticsearch
) -> None:
    embedded, real = await both(tmp_path, real_elasticsearch)
    async with embedded, real:
        await real.options(ignore_status=404).indices.delete(index="steps,moved", ignore_unavailable=True)
        differences = {}
        for number, (method, path, body) in enumerate(STEPS):
            ours = await ask(embedded, method, path, body)
            theirs = await ask(real, method, path, body)
            found = list(agree(comparable(ours), comparable(theirs), reasons=False))
            if found:
                differences[number, method, path, str(body)] = found
    assert not differences, "\n".join(f"{asked}: {found}" for asked, found in differences.items())
