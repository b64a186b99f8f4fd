from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, BadRequestError, NotFoundError, helpers

JSON = {"accept": "application/json", "content-type": "application/json"}


async def test_the_cluster_is_green_and_says_what_it_is(client: AsyncElasticsearch) -> None:
    await client.indices.create(index="docs")
    assert (await client.info())["version"]["build_flavor"] == "embedded"
    health = await client.cluster.health(wait_for_status="yellow", timeout="1s")
    assert (health["status"], health["active_shards"]) == ("green", 1)
    assert await client.ping()
    with pytest.raises(NotFoundError):
        await client.cluster.health(index="nope")


async def test_settings_are_kept_and_shown(client: AsyncElasticsearch) -> None:
    await client.indices.create(index="docs", settings={"index": {"number_of_replicas": 2}, "refresh_interval": None})
    shown = (await client.indices.get(index="docs"))["docs"]["settings"]["index"]
    assert (shown["number_of_replicas"], shown.get("refresh_interval")) == ("2", None)


async def test_a_mapping_grows_and_keeps_what_it_has(client: AsyncElasticsearch) -> None:
    await client.indices.create(index="docs", mappings={"properties": {"a": {"properties": {"b": {"type": "text"}}}}})
    await client.index(index="docs", id="1", document={"a": {"b": "old words"}})
    added: Any = {
        "a": {"properties": {"b": {"type": "text", "fields": {"k": {"type": "keyword"}}}, "c": {"type": "long"}}}
    }
    await client.indices.put_mapping(index="docs", properties=added)
    mapping = (await client.indices.get_mapping(index="docs"))["docs"]["mappings"]
    assert mapping["properties"] == added
    await client.index(index="docs", id="2", document={"a": {"b": "new words", "c": 1}})
    assert (await client.count(index="docs", query={"match": {"a.b": "words"}}))["count"] == 2
    assert (await client.count(index="docs", query={"term": {"a.b.k": "new words"}}))["count"] == 1
    await client.indices.put_mapping(index="docs", meta={"version": 2})
    assert (await client.indices.get_mapping(index="docs"))["docs"]["mappings"]["_meta"] == {"version": 2}


async def test_expressions_name_indices_by_pattern_and_alias(client: AsyncElasticsearch) -> None:
    for name in ("log-1", "log-2", "docs"):
        await client.index(index=name, document={"from": name})
    await client.indices.put_alias(index="docs", name="log-alias")

    async def found(expression: str) -> int:
        return int((await client.count(index=expression))["count"])

    counts = {text: await found(text) for text in ("log-*", "log-1,docs", "_all", "docs,docs")}
    assert counts == {"log-*": 3, "log-1,docs": 2, "_all": 3, "docs,docs": 1}
    assert (await client.search(index="none-*"))["hits"]["max_score"] == 0.0
    assert (await client.search(index="none-*"))["hits"]["hits"] == []
    with pytest.raises(BadRequestError, match="_x"):
        await client.count(index="docs,_x")
    with pytest.raises(BadRequestError, match="Wildcard expressions"):
        await client.indices.delete(index="_all")


@pytest.mark.parametrize("name", ["UPPER", "-a", "+a", "a b", "a#b", "a,b", "..", "x" * 256, 'a"b', "a:b"])
async def test_names_that_elasticsearch_refuses_are_refused(client: AsyncElasticsearch, name: str) -> None:
    with pytest.raises(BadRequestError, match="invalid_index_name_exception"):
        await client.indices.create(index=name)


async def test_an_alias_of_several_indices_can_be_searched_and_not_written(client: AsyncElasticsearch) -> None:
    await client.indices.create(index="a", aliases={"both": {}})
    await client.indices.create(index="b", aliases={"both": {}})
    with pytest.raises(BadRequestError, match="no write index"):
        await client.index(index="both", document={})
    with pytest.raises(BadRequestError, match="more than one index"):
        await client.get(index="both", id="1")
    assert sorted((await client.indices.get_alias(name="bo*")).body) == ["a", "b"]
    await client.indices.delete_alias(index="a,b", name="both")
    with pytest.raises(NotFoundError):
        await client.indices.get_alias(name="both")


async def test_an_action_on_an_alias_that_need_not_exist(client: AsyncElasticsearch) -> None:
    await client.indices.create(index="a")
    await client.indices.update_aliases(actions=[{"remove": {"index": "a", "alias": "x", "must_exist": False}}])
    with pytest.raises(BadRequestError, match="invalid_alias_name"):
        await client.indices.put_alias(index="a", name="UPPER")


async def test_a_write_that_needs_an_alias_makes_no_index(client: AsyncElasticsearch) -> None:
    with pytest.raises(NotFoundError):
        await client.index(index="docs", document={}, require_alias=True)
    actions = [{"_index": "docs", "_id": "1", "_source": {}}]
    with pytest.raises(helpers.BulkIndexError):
        await helpers.async_bulk(client, actions, require_alias=True)
    assert not await client.indices.exists(index="docs")


async def test_an_answer_can_be_pretty(client: AsyncElasticsearch) -> None:
    plain = await client.transport.perform_request("GET", "/_cluster/health", headers=JSON)
    pretty = await client.transport.perform_request("GET", "/_cluster/health?pretty=true", headers=JSON)
    assert pretty.body == plain.body
    assert int(pretty.meta.headers["content-length"]) > int(plain.meta.headers["content-length"])


@pytest.mark.parametrize("parameter", ["allow_no_indices=false", "expand_wildcards=none"])
async def test_a_parameter_may_only_say_what_is_done_anyway(client: AsyncElasticsearch, parameter: str) -> None:
    with pytest.raises(BadRequestError, match="does not support"):
        await client.perform_request("GET", f"/_search?{parameter}", headers=JSON)


async def test_ids_are_made_where_none_is_given_and_checked_where_one_is(client: AsyncElasticsearch) -> None:
    made = {(await client.index(index="docs", document={}))["_id"] for _ in range(20)}
    assert len(made) == 20
    headers = {"accept": "application/json", "content-type": "application/x-ndjson"}
    answer = await client.perform_request("POST", "/docs/_bulk", headers=headers, body='{"index":{"_id":""}}\n{}\n\n')
    assert "must not be empty" in answer.body["items"][0]["index"]["error"]["reason"]


async def test_numbers_are_found_exactly_however_they_are_written(client: AsyncElasticsearch) -> None:
    properties = {
        "big": {"type": "long"},
        "small": {"type": "byte"},
        "price": {"type": "float"},
        "yes": {"type": "boolean"},
    }
    await client.indices.create(index="docs", mappings={"properties": properties})
    big = 2**62 + 1
    await client.index(index="docs", id="1", document={"big": big, "small": "7.9", "price": "0.1", "yes": ""})
    queries: list[tuple[dict[str, Any], int]] = [
        ({"term": {"big": big}}, 1),
        ({"term": {"big": big - 1}}, 0),
        ({"range": {"big": {"gte": str(big), "lte": big}}}, 1),
        ({"range": {"big": {"gt": 1e300}}}, 0),
        ({"range": {"big": {"lt": 10**30}}}, 1),
        ({"term": {"big": 1e300}}, 0),
        ({"term": {"small": 7}}, 1),
        ({"term": {"small": 1000}}, 0),
        ({"term": {"price": 0.1}}, 1),
        ({"range": {"price": {"gte": 0.1, "lte": "0.1"}}}, 1),
        ({"term": {"yes": False}}, 1),
        ({"range": {"yes": {"lt": True}}}, 1),
        ({"prefix": {"nope": "a"}}, 0),
        ({"terms": {"_id": ["1"]}}, 1),
        ({"term": {"_id": "1"}}, 1),
        ({"terms": {"nope": ["1"]}}, 0),
    ]
    for query, expected in queries:
        assert (await client.count(index="docs", query=query))["count"] == expected, query


async def test_the_file_lies_in_the_data_folder(client: AsyncElasticsearch, tmp_path: Path) -> None:
    await client.info()
    await client.indices.create(index="docs")
    assert (tmp_path / "search.sqlite3").exists()
