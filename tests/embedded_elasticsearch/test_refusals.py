"""What the embedded engine does not know it refuses with a 400 that names it: it never ignores, and never guesses."""

from __future__ import annotations

from typing import Any

import pytest
from elasticsearch import ApiError, AsyncElasticsearch, BadRequestError

JSON = {"accept": "application/json", "content-type": "application/json"}


async def refused(client: AsyncElasticsearch, method: str, path: str, body: Any = None) -> str:
    """The reason of the 400 that this request gets."""
    with pytest.raises(BadRequestError) as caught:
        await client.perform_request(method, path, headers=JSON, body=body)
    error = caught.value.body["error"]
    assert caught.value.body["status"] == 400
    assert error["root_cause"][0]["type"]
    return str(error["root_cause"][0]["reason"])


@pytest.fixture
async def docs(client: AsyncElasticsearch) -> AsyncElasticsearch:
    properties = {"text": {"type": "text"}, "kind": {"type": "keyword"}, "n": {"type": "long"}, "day": {"type": "date"}}
    await client.indices.create(index="docs", mappings={"properties": properties})
    await client.index(index="docs", id="1", document={"text": "some words", "kind": "a", "n": 1, "day": "2024-01-01"})
    return client


@pytest.mark.parametrize(
    ("method", "path", "named"),
    [
        ("GET", "/_nodes/stats", "[GET /_nodes/stats]"),
        ("GET", "/_foo", "[GET /_foo]"),
        ("POST", "/_sql", "[POST /_sql]"),
        ("POST", "/docs/_update_by_query", "[POST /docs/_update_by_query]"),
        ("POST", "/docs/_search/template", "[POST /docs/_search/template]"),
        ("POST", "/_search/scroll", "[POST /_search/scroll]"),
        ("GET", "/docs/_search?q=x", "[q]"),
        ("GET", "/docs/_search?routing=x", "[routing]"),
        ("GET", "/docs/_search?scroll=1m", "[scroll]"),
        ("GET", "/docs/_search?filter_path=hits", "[filter_path]"),
        ("GET", "/docs/_search?size=1", "[size]"),
        ("GET", "/docs/_search?sort=n", "[sort]"),
        ("GET", "/docs/_count?q=x", "[q]"),
        ("GET", "/docs/_count?min_score=1", "[min_score]"),
        ("GET", "/docs/_doc/1?version=3", "[version]"),
        ("GET", "/docs/_doc/1?stored_fields=a", "[stored_fields]"),
        ("GET", "/docs?ignore_unavailable=maybe", "[maybe]"),
        ("GET", "/_cat/indices", "[GET /_cat/indices]"),
        ("GET", "/docs/_source/1", "[GET /docs/_source/1]"),
        ("GET", "/docs/_settings", "[GET /docs/_settings]"),
        ("POST", "/docs/_analyze", "[POST /docs/_analyze]"),
        ("POST", "/docs/_forcemerge", "[POST /docs/_forcemerge]"),
        ("GET", "/docs,-docs/_count", "[-docs]"),
        ("DELETE", "/docs/_doc/1?version=3", "[version]"),
    ],
)
async def test_an_unknown_endpoint_or_parameter_is_named(
    docs: AsyncElasticsearch, method: str, path: str, named: str
) -> None:
    assert named in await refused(docs, method, path)


async def test_a_wrong_method_is_named(docs: AsyncElasticsearch) -> None:
    with pytest.raises(ApiError) as caught:
        await docs.perform_request("DELETE", "/docs/_search", headers=JSON)
    assert caught.value.status_code == 405
    assert "[DELETE], allowed: ['GET', 'POST']" in caught.value.body["error"]["reason"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"knn": {}}, "[knn]"),
        ({"timeout": "1s"}, "[timeout]"),
        ({"track_scores": True}, "[track_scores]"),
        ({"suggest": {}}, "[suggest]"),
        ({"collapse": {"field": "kind"}}, "[collapse]"),
        ({"query": {"function_score": {}}}, "[function_score]"),
        ({"query": {"query_string": {"query": "x"}}}, "[query_string]"),
        ({"query": {"fuzzy": {"text": "x"}}}, "[fuzzy]"),
        ({"query": {"match": {"text": {"query": "x", "fuzziness": "AUTO"}}}}, "[fuzziness]"),
        ({"query": {"match": {"text": {"query": "x", "analyzer": "simple"}}}}, "[analyzer]"),
        ({"query": {"match": {"text": {"query": "x", "zero_terms_query": "all"}}}}, "[zero_terms_query]"),
        ({"query": {"match": {"text": {"query": "x", "minimum_should_match": "2<-1"}}}}, "[2<-1]"),
        ({"query": {"dis_max": {}}}, "[dis_max]"),
        ({"query": {"constant_score": {}}}, "[constant_score]"),
        ({"query": {"simple_query_string": {"query": "x"}}}, "[simple_query_string]"),
        ({"query": {"match": {"text": {"query": "x", "operator": "xor"}}}}, "[xor]"),
        ({"query": {"match": {"n": {"query": "x", "lenient": "perhaps"}}}}, "[perhaps]"),
        ({"query": {"match_phrase": {"text": {"query": "x", "slop": 2}}}}, "[slop]"),
        ({"query": {"multi_match": {"query": "x", "fields": ["text"], "type": "cross_fields"}}}, "[cross_fields]"),
        ({"query": {"multi_match": {"query": "x", "fields": ["te*"]}}}, "[te*]"),
        ({"query": {"multi_match": {"query": "x"}}}, "[fields]"),
        ({"query": {"multi_match": {"query": "x", "fields": ["text^high"]}}}, "[high]"),
        ({"query": {"term": {"kind": {"value": "a", "case_insensitive": True}}}}, "[case_insensitive]"),
        ({"query": {"term": {"_index": "docs"}}}, "[_index]"),
        ({"query": {"terms": {"kind": {"index": "x", "id": "1", "path": "p"}}}}, "[terms] lookup"),
        ({"query": {"terms": {"kind": ["a"], "n": [1]}}}, "exactly one field"),
        ({"query": {"range": {"text": {"gte": "a"}}}}, "text field [text]"),
        ({"query": {"range": {"day": {"gte": "x", "format": "dd.MM.yyyy"}}}}, "[dd.MM.yyyy]"),
        ({"query": {"range": {"day": {"gte": "now/d"}}}}, "[now/d]"),
        ({"query": {"range": {"n": {"gte": 1, "time_zone": "CET"}}}}, "[time_zone]"),
        ({"query": {"range": {"n": {"gte": 1, "format": "epoch_millis"}}}}, "format is only for dates"),
        ({"query": {"range": {"n": 5}}}, "[n] must be an object"),
        ({"query": {"exists": {"field": "_source"}}}, "[_source]"),
        ({"query": {"ids": {"values": ["1"], "type": "x"}}}, "[type]"),
        ({"query": {"match_all": {"boost": "high"}}}, "[high]"),
        ({"query": {"match": {5: "x"}, "term": {}}}, "[term]"),
        ({"query": {"terms": {"n": list(range(65537))}}}, "65536"),
        ({"aggs": {"a": {"histogram": {"field": "n"}}}}, "[histogram]"),
        ({"aggs": {"a": {"terms": {"field": "kind", "include": "a.*"}}}}, "[include]"),
        ({"aggs": {"a": {"terms": {"field": "kind", "missing": "x"}}}}, "[missing]"),
        ({"aggs": {"a": {"terms": {"field": "kind", "order": {"m": "asc"}}}}}, "[m]"),
        ({"aggs": {"a": {"terms": {"field": "kind", "order": {"_key": "up"}}}}}, "[up]"),
        ({"aggs": {"a": {"terms": {"field": "kind", "order": "asc"}}}}, "[order]"),
        (
            {"aggs": {"a": {"terms": {"field": "kind", "show_term_doc_count_error": True}}}},
            "[show_term_doc_count_error]",
        ),
        ({"aggs": {"a": {"range": {"field": "day", "ranges": [{"to": 1}]}}}}, "[day]"),
        ({"aggs": {"a": {"range": {"field": "n", "ranges": [{"to": "x"}]}}}}, "[to]"),
        ({"aggs": {"a": {"range": {"field": "n", "keyed": True}}}}, "[keyed]"),
        ({"aggs": {"a": {"date_histogram": {"field": "day", "time_zone": "CET"}}}}, "[time_zone]"),
        ({"aggs": {"a": {"date_histogram": {"field": "day", "fixed_interval": "0d"}}}}, "[0d]"),
        ({"aggs": {"a": {"date_histogram": {"field": "day", "fixed_interval": "1d", "min_doc_count": -1}}}}, "[-1]"),
        ({"aggs": {"a": {"terms": {"field": "_id"}}}}, "[_id]"),
        ({"aggs": {"a": {"avg": {"field": "n", "script": "x"}}}}, "[script]"),
        ({"aggs": {"a": 5}}, "[a]"),
        ({"aggs": 5}, "[aggregations]"),
        ({"sort": [{"_script": {}}]}, "[_script]"),
        ({"sort": [{"n": {"mode": "avg"}}]}, "[mode]"),
        ({"sort": [{"n": {"missing": 5}}]}, "[missing] [5]"),
        ({"sort": ["n"], "search_after": [[]]}, "[n]"),
        ({"sort": ["_doc"], "search_after": ["x"]}, "[_doc]"),
        ({"sort": [5]}, "[sort]"),
        ({"highlight": {"fields": {"text": {"type": "fvh"}}}}, "[fvh]"),
        ({"highlight": {"fields": {"te*": {}}}}, "[te*]"),
        ({"highlight": {"order": "score", "fields": {"text": {}}}}, "[order]"),
        ({"min_score": 1}, "[min_score]"),
        ({"version": True}, "[version]"),
        ({"track_total_hits": "many"}, "many"),
        ([], "an array"),
    ],
)
async def test_an_unknown_part_of_a_search_is_named(docs: AsyncElasticsearch, body: Any, named: str) -> None:
    assert named in await refused(docs, "POST", "/docs/_search", body)


@pytest.mark.parametrize(
    ("mappings", "named"),
    [
        ({"properties": {"a": {"type": "dense_vector"}}}, "[dense_vector]"),
        ({"properties": {"a": {"type": "nested"}}}, "[nested]"),
        ({"properties": {"a": {"type": "text", "analyzer": "english"}}}, "[english]"),
        ({"properties": {"a": {"type": "text", "fielddata": True}}}, "[fielddata]"),
        ({"properties": {"a": {"type": "text", "search_analyzer": "standard"}}}, "[search_analyzer]"),
        ({"properties": {"a": {"type": "text", "analyzer": "simple"}}}, "[simple]"),
        ({"date_detection": False}, "[date_detection]"),
        ({"properties": {"a": {"type": "keyword", "normalizer": "lowercase"}}}, "[normalizer]"),
        ({"properties": {"a": {"type": "keyword", "doc_values": False}}}, "[doc_values]"),
        ({"properties": {"a": {"type": "keyword", "ignore_above": "x"}}}, "[ignore_above]"),
        ({"properties": {"a": {"type": "keyword", "index": "no"}}}, "[index]"),
        ({"properties": {"a": {"type": "date", "format": "dd.MM.yyyy"}}}, "[dd.MM.yyyy]"),
        ({"properties": {"a": {"type": "object", "enabled": "no"}}}, "[enabled]"),
        ({"properties": {"a": {"type": "object", "subobjects": False}}}, "[subobjects]"),
        ({"properties": {"a": {"type": "text", "fields": {"b": {"type": "keyword", "fields": {}}}}}}, "[a.b]"),
        ({"properties": {"a": 5}}, "[a]"),
        ({"properties": {"a.b": {"type": "text"}}}, "[a.b]"),
        ({"properties": 5}, "[properties]"),
        ({"dynamic": "runtime"}, "[runtime]"),
        ({"dynamic_templates": []}, "[dynamic_templates]"),
        ({"_source": {"enabled": False}}, "[_source]"),
        ({"properties": {f"f{number}": {"type": "long"} for number in range(1001)}}, "[1000]"),
        (5, "[mappings]"),
    ],
)
async def test_an_unknown_part_of_a_mapping_is_named(client: AsyncElasticsearch, mappings: Any, named: str) -> None:
    assert named in await refused(client, "PUT", "/docs", {"mappings": mappings})
    assert not await client.indices.exists(index="docs")


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"analysis": {}}, "[index.analysis]"), ({"index": {"sort": {}}}, "[index.sort]"), (5, "[settings]")],
)
async def test_an_unknown_setting_is_named(client: AsyncElasticsearch, settings: Any, named: str) -> None:
    assert named in await refused(client, "PUT", "/docs", {"settings": settings})


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/docs/_update/1", {"script": "x"}, "[script]"),
        ("/docs/_update/1?_source=true", {"doc": {}}, "[_source]"),
        ("/docs/_doc/1?pipeline=x", {}, "[pipeline]"),
        ("/docs/_doc/1?wait_for_active_shards=2", {}, "[wait_for_active_shards]"),
        ("/docs/_doc/1?if_seq_no=x&if_primary_term=1", {}, "[x]"),
        ("/_aliases", {"actions": [{"add": {"index": "docs", "alias": "a", "filter": {}}}]}, "[filter]"),
        ("/_aliases", {"actions": [{"swap": {}}]}, "[swap]"),
        ("/_aliases", {"actions": [5]}, "[aliases]"),
        ("/_aliases", {"actions": [{"add": {"index": "docs"}}]}, "[alias]"),
        ("/_mget", {"docs": [{"_index": "docs", "_id": "1", "routing": "x"}]}, "[routing]"),
        ("/_mget", {"docs": [{"_index": "docs"}]}, "id is missing"),
        ("/_mget", {"ids": ["1"]}, "index is missing"),
        ("/_mget", {}, "no documents"),
        ("/docs/_delete_by_query", {}, "query is missing"),
        ("/docs/_delete_by_query", {"query": {"match_all": {}}, "max_docs": 1}, "[max_docs]"),
        ("/docs/_delete_by_query?conflicts=x", {"query": {"match_all": {}}}, "[x]"),
        ("/docs/_delete_by_query?wait_for_completion=false", {"query": {"match_all": {}}}, "[wait_for_completion]"),
        ("/docs/_update/1", {"doc": {}, "detect_noop": False}, "[detect_noop]"),
        (
            "/_aliases",
            {"actions": [{"add": {"index": "docs", "alias": "a", "is_write_index": True}}]},
            "[is_write_index]",
        ),
        ("/docs/_mapping", {"properties": {"kind": {"type": "keyword", "index": False}}}, "[index]"),
    ],
)
async def test_an_unknown_part_of_a_write_is_named(docs: AsyncElasticsearch, path: str, body: Any, named: str) -> None:
    assert named in await refused(docs, "POST", path, body)
    assert (await docs.count(index="docs"))["count"] == 1


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ('{"index":{"_id":"1","routing":"x"}}\n{}\n', "[routing]"),
        ('{"index":5}\n{}\n', "a number"),
        ('{"index":{"_id":{}}}\n{}\n', "[_id]"),
        ("[]\n", "an array"),
        ("{nope}\n", "Expecting property name"),
    ],
)
async def test_a_bulk_request_that_can_not_be_read_is_refused_as_a_whole(
    docs: AsyncElasticsearch, lines: str, named: str
) -> None:
    headers = {"accept": "application/json", "content-type": "application/x-ndjson"}
    with pytest.raises(BadRequestError) as caught:
        await docs.perform_request("POST", "/docs/_bulk", headers=headers, body=lines)
    assert named in caught.value.body["error"]["reason"]


async def test_what_one_bulk_item_lacks_is_told_in_its_item(docs: AsyncElasticsearch) -> None:
    lines = '{"update":{}}\n{"doc":{}}\n{"index":{"_id":"2","require_alias":true}}\n{}\n'
    lines += '{"index":{"_id":"9","if_seq_no":1}}\n{}\n'
    headers = {"accept": "application/json", "content-type": "application/x-ndjson"}
    answer = (await docs.perform_request("POST", "/docs/_bulk", headers=headers, body=lines)).body
    reasons = [item["error"]["reason"] for entry in answer["items"] for item in entry.values()]
    assert "id is missing" in reasons[0]
    assert "[require_alias]" in reasons[1]
    assert "together" in reasons[2]


@pytest.mark.parametrize("body", [b"{", b'{"query": NaN}', b'{"a": 1, "a": 2}', b"\xff\xfe", b"[" * 100_000, b'"text"'])
async def test_a_body_that_is_no_json_object_is_refused(docs: AsyncElasticsearch, body: bytes) -> None:
    with pytest.raises(BadRequestError) as caught:
        await docs.perform_request("POST", "/docs/_search", headers=JSON, body=body)
    assert caught.value.body["status"] == 400


def nested(depth: int) -> dict[str, Any]:
    query: dict[str, Any] = {"match": {"text": "words"}}
    for _ in range(depth):
        query = {"bool": {"must": [query]}}
    return query


async def test_deep_and_wide_queries_work_up_to_a_limit(docs: AsyncElasticsearch) -> None:
    assert (await docs.count(index="docs", query=nested(29)))["count"] == 1
    assert "[30]" in await refused(docs, "POST", "/docs/_search", {"query": nested(31)})
    wide = " ".join(f"word{number}" for number in range(900)) + " words"
    assert (await docs.count(index="docs", query={"match": {"text": wide}}))["count"] == 1
    too_wide = " ".join(f"word{number}" for number in range(5000))
    assert "maxClauseCount" in await refused(docs, "POST", "/docs/_search", {"query": {"match": {"text": too_wide}}})
    assert (await docs.count(index="docs", query={"terms": {"n": list(range(60_000))}}))["count"] == 1


@pytest.mark.parametrize(
    "source",
    [
        {"n": 10**30},
        {"n": "10" * 200},
        {"n": "1_000"},
        {"n": "\u0661"},
        {"n": "nan"},
        {"day": "10000-01-01"},
        {"kind": "x" * 40_000},
        {"a": {"": 1}},
        {"a.": 1},
        {" ": 1},
        {"kind": 10**5000},
    ],
)
async def test_a_value_that_does_not_fit_its_field_is_refused(docs: AsyncElasticsearch, source: Any) -> None:
    with pytest.raises((BadRequestError, ValueError)):
        await docs.index(index="docs", id="2", document=source)
    assert (await docs.count(index="docs"))["count"] == 1


async def test_hostile_text_is_only_text(docs: AsyncElasticsearch) -> None:
    evil = ['" OR 1', "') --", "a* NEAR(b)", "\x00", '"', "text:words", "\ud800", "\ue0ff", "%_"]
    for number, text in enumerate(evil):
        body = {"text": text, "kind": text}
        await docs.perform_request("PUT", f"/docs/_doc/e{number}", headers=JSON, body=_escaped(body))
    for text in evil:
        for query in ({"match": {"text": text}}, {"match_phrase": {"text": text}}, {"prefix": {"text": text}}):
            answer = await docs.perform_request("POST", "/docs/_count", headers=JSON, body=_escaped({"query": query}))
            assert answer.body["count"] <= len(evil)
        query = {"query": {"term": {"kind": text}}}
        answer = await docs.perform_request("POST", "/docs/_count", headers=JSON, body=_escaped(query))
        assert answer.body["count"] == 1, text


def _escaped(body: Any) -> bytes:
    """As JSON in ASCII: the client's own serializer can't write half a surrogate pair."""
    import json

    return json.dumps(body).encode()


async def test_a_histogram_of_too_many_intervals_is_refused(docs: AsyncElasticsearch) -> None:
    await docs.index(index="docs", id="2", document={"day": "1999-01-01"})
    body = {"aggs": {"a": {"date_histogram": {"field": "day", "fixed_interval": "1s"}}}}
    assert "[65536]" in await refused(docs, "POST", "/docs/_search", body)
