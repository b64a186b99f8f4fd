from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch

from graft.errors import NativeRoutesError, SearchError
from graft.search.indexing import Document, Index, build, discover


def numbers(count: int) -> Index:
    mappings = {"properties": {"n": {"type": "integer"}}}
    return Index("numbers", mappings, lambda: [(str(n), {"n": n}) for n in range(count)])


async def physical(client: AsyncElasticsearch) -> list[str]:
    return sorted((await client.indices.get(index="*")).body)


async def test_an_index_that_is_up_to_date_is_left_alone(client: AsyncElasticsearch) -> None:
    first = await build(client, numbers(3))
    await client.index(index="numbers", id="extra", document={"n": 7})
    again = await build(client, numbers(3))
    assert (again.changed, again.index, again.documents) == (False, first.index, 4)


async def test_searches_see_the_old_documents_until_the_new_ones_are_all_there(client: AsyncElasticsearch) -> None:
    await build(client, numbers(3))
    seen: list[int] = []

    async def look() -> None:
        seen.append((await client.count(index="numbers"))["count"])

    tasks: list[asyncio.Task[None]] = []
    await build(client, numbers(1500), lambda done, total: tasks.append(asyncio.ensure_future(look())))
    await asyncio.gather(*tasks)
    assert set(seen) <= {3, 1500}
    assert (await client.count(index="numbers"))["count"] == 1500


async def test_a_build_that_was_cut_off_is_taken_up_again(client: AsyncElasticsearch) -> None:
    def cut_off(done: int, total: int | None) -> None:
        if done >= 700:
            raise KeyboardInterrupt

    declared = numbers(1500)
    with pytest.raises(KeyboardInterrupt):
        await build(client, declared, cut_off)
    assert not await client.indices.exists_alias(name="numbers")
    report = await build(client, declared)
    assert (report.documents, await physical(client)) == (1500, [report.index])


async def test_what_a_build_for_other_documents_left_is_removed(client: AsyncElasticsearch) -> None:
    def cut_off(done: int, total: int | None) -> None:
        if done >= 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await build(client, numbers(5), cut_off)
    await client.indices.create(index="numbers-of-mine")
    report = await build(client, numbers(6))
    assert await physical(client) == sorted(["numbers-of-mine", report.index])


async def test_two_builds_at_once_end_in_one_index(client: AsyncElasticsearch) -> None:
    await build(client, numbers(5))
    reports = await asyncio.gather(build(client, numbers(900)), build(client, numbers(900)))
    assert {report.documents for report in reports} == {900}
    assert await physical(client) == [reports[0].index]
    assert (await client.count(index="numbers"))["count"] == 900


async def test_a_build_whose_index_another_one_removed_makes_no_index_of_its_own(client: AsyncElasticsearch) -> None:
    def documents() -> Iterator[Document]:
        yield from ((str(n), {"n": n}) for n in range(1200))

    half_way = asyncio.Event()

    def remove(done: int, total: int | None) -> None:
        if done >= 500:
            half_way.set()

    async def remover() -> None:
        await half_way.wait()
        for name in await physical(client):
            await client.indices.delete(index=name)

    task = asyncio.create_task(remover())
    with pytest.raises(Exception, match=r"no such index|refused|in place of"):
        await build(client, Index("numbers", {}, documents), remove)
    await task
    assert await physical(client) == []


async def test_documents_that_are_refused_leave_the_old_ones_in_place(client: AsyncElasticsearch) -> None:
    await build(client, numbers(3))
    broken = Index(
        "numbers", numbers(0).mappings, lambda: [("1", {"n": 1}), ("2", {"n": "two"}), ("3", {"n": "three"})]
    )
    with pytest.raises(SearchError, match=r"2 of 3 documents were refused, '2' first: .*\[n\]"):
        await build(client, broken)
    assert (await client.count(index="numbers"))["count"] == 3


async def test_an_id_that_comes_twice_counts_once(client: AsyncElasticsearch) -> None:
    report = await build(client, Index("numbers", {}, lambda: [("1", {"n": 1}), ("1", {"n": 2})]))
    assert report.documents == 1


async def test_an_index_of_that_name_is_not_touched(client: AsyncElasticsearch) -> None:
    await client.index(index="numbers", id="1", document={"mine": True})
    with pytest.raises(SearchError, match="did not build"):
        await build(client, numbers(1))
    assert (await client.get(index="numbers", id="1"))["_source"] == {"mine": True}


async def test_a_cheap_fingerprint_saves_reading_the_documents(client: AsyncElasticsearch) -> None:
    read: list[str] = []

    def declared(version: str) -> Index:
        def documents() -> list[Document]:
            read.append(version)
            return [("1", {"version": version})]

        return Index("versions", {}, documents, fingerprint=lambda: version)

    totals: list[int | None] = []
    await build(client, declared("1"), lambda done, total: totals.append(total))
    await build(client, declared("1"))
    await build(client, declared("2"))
    assert read == ["1", "2"]
    assert set(totals) == {None}


async def test_no_documents_make_an_empty_index(client: AsyncElasticsearch) -> None:
    report = await build(client, numbers(0))
    assert (report.documents, (await client.count(index="numbers"))["count"]) == (0, 0)


async def test_a_mapping_that_is_wrong_is_an_error_of_the_client(client: AsyncElasticsearch) -> None:
    with pytest.raises(Exception, match="mapper_parsing_exception"):
        await build(client, Index("numbers", {"properties": {"n": {"type": "nope"}}}, list))


# Finding them


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes modules of a package ``native_x`` and forgets them afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**modules: str) -> str:
        folder = tmp_path / "native_x"
        folder.mkdir()
        (folder / "__init__.py").touch()
        for name, code in modules.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(code))
        return "native_x"

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "native_x"]:
        del sys.modules[name]


GOOD = "from graft.search.indexing import Index\nindexes = [Index('{}', {{}}, list)]\n"


def test_the_indices_of_all_modules_are_found_by_name(package: Any) -> None:
    name = package(a=GOOD.format("zebra"), b=GOOD.format("ant"), c="routes = []")
    assert [index.name for index in discover(name)] == ["ant", "zebra"]


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        ({"a": GOOD.format("x"), "b": GOOD.format("x")}, "native_x.a and native_x.b both declare the index 'x'"),
        ({"a": "1 / 0"}, "native_x.a can't be imported: ZeroDivisionError"),
        ({"a": "indexes = 5"}, "native_x.a.indexes is 5"),
        ({"a": "indexes = ['x']"}, "native_x.a.indexes has 'x'"),
    ],
)
def test_declarations_that_are_wrong_name_their_module(package: Any, modules: dict[str, str], told: str) -> None:
    with pytest.raises(NativeRoutesError) as caught:
        discover(package(**modules))
    assert told in str(caught.value)


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(NativeRoutesError, match="nowhere_at_all can't be imported"):
        discover("nowhere_at_all")
