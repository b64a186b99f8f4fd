"""Requests that are broken in every place, one at a time: the engine answers or refuses, and never fails."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from elasticsearch import AsyncElasticsearch

from tests.contract.engine_requests import SEARCHES, STEPS
from tests.contract.engines import DOCUMENTS, MAPPINGS

JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2.5,
    10**20,
    "",
    "junk",
    [],
    ["junk"],
    [[]],
    {},
    {"junk": {"junk": 1}},
    [{}],
)
HEADERS = {"accept": "application/json", "content-type": "application/json"}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def mutated(body: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    changed = copy.deepcopy(body)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = junk
    return changed


def every_mutation(body: Any, offset: int) -> Iterator[Any]:
    """Each place with three of the junk values; which three, goes round."""
    for number, path in enumerate(places(body)):
        for step in range(3):
            yield mutated(body, path, JUNK[(offset + number * 3 + step) % len(JUNK)])


async def outcome(client: AsyncElasticsearch, method: str, path: str, body: Any) -> int:
    answer = client.options(ignore_status=range(400, 600)).perform_request(method, path, headers=HEADERS, body=body)
    return (await answer).meta.status


async def test_a_broken_search_is_refused_and_nothing_fails(client: AsyncElasticsearch) -> None:
    await client.indices.create(index="corpus", mappings=MAPPINGS)
    for doc_id, source in DOCUMENTS.items():
        await client.index(index="corpus", id=doc_id, document=source)
    for offset, body in enumerate(SEARCHES.values()):
        for broken in every_mutation(body, offset):
            status = await outcome(client, "POST", "/corpus/_search", broken)
            assert status in (200, 400), broken


async def test_a_broken_write_is_refused_and_nothing_fails(client: AsyncElasticsearch) -> None:
    await client.index(index="steps", id="1", document={"n": 1, "t": "one"})
    for offset, (method, path, body) in enumerate(STEPS):
        if isinstance(body, dict):
            for broken in every_mutation(body, offset):
                assert await outcome(client, method, path, broken) < 500, (method, path, broken)


async def test_a_broken_mapping_is_refused_and_nothing_fails(client: AsyncElasticsearch) -> None:
    for offset in range(0, len(JUNK), 3):
        for broken in every_mutation(MAPPINGS, offset):
            assert await outcome(client, "PUT", "/mapped", {"mappings": broken}) < 500, broken
            await client.options(ignore_status=404).indices.delete(index="mapped")
