"""Several processes, threads and requests at once on one file, and an event loop that never waits for it."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from elasticsearch import AsyncElasticsearch, ConnectionTimeout, helpers

from embedded_elasticsearch import EmbeddedNode, connect

WRITER = """
import asyncio, sys
from pathlib import Path
from elasticsearch import helpers
from embedded_elasticsearch import EmbeddedNode, connect

async def main(folder, who):
    async with connect(Path(folder, "search.sqlite3"), request_timeout=60) as client:
        for step in range(20):
            actions = [{"_index": "docs", "_id": f"{who}-{step}-{n}", "by": who, f"field{step}": n} for n in range(10)]
            await helpers.async_bulk(client, actions)
            await client.search(index="docs", query={"match": {"by": who}})
            await client.update(index="docs", id="shared", doc={f"{who}-{step}": True}, doc_as_upsert=True)

asyncio.run(main(*sys.argv[1:]))
"""


def node_of(folder: Path) -> EmbeddedNode:
    (node,) = connect(folder / "search.sqlite3").transport.node_pool.all()
    assert isinstance(node, EmbeddedNode)
    return node


def test_processes_that_start_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    running = [subprocess.Popen([*command, f"p{number}"], stderr=subprocess.PIPE) for number in range(4)]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()

    async def check() -> None:
        async with connect(tmp_path / "search.sqlite3") as client:
            found = await client.search(index="docs", size=0, aggs={"by": {"terms": {"field": "by.keyword"}}})
            assert [bucket["doc_count"] for bucket in found["aggregations"]["by"]["buckets"]] == [200] * 4
            shared = await client.get(index="docs", id="shared")
            assert (len(shared["_source"]), shared["_version"]) == (80, 80)

    asyncio.run(check())


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_client_that_was_used_before_a_fork_works_on_both_sides(tmp_path: Path) -> None:
    node = node_of(tmp_path)

    async def write(doc_id: str) -> int:
        body = json.dumps({"by": doc_id}).encode()
        return (await node.perform_request("PUT", f"/docs/_doc/{doc_id}", body)).meta.status

    async def count() -> int:
        return int(json.loads((await node.perform_request("GET", "/docs/_count")).body)["count"])

    async def close() -> None:
        await node.close()

    assert asyncio.run(write("before")) == 201
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if (asyncio.run(write("child")), asyncio.run(count())) == (201, 2) else 2
            asyncio.run(close())
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert asyncio.run(write("parent")) == 201
    assert asyncio.run(count()) == 3
    asyncio.run(close())


async def fill(client: AsyncElasticsearch, count: int) -> None:
    actions = ({"_index": "docs", "_id": str(n), "text": f"common word{n}", "n": n} for n in range(count))
    await helpers.async_bulk(client, actions)


async def test_reads_go_on_while_a_bulk_request_writes(client: AsyncElasticsearch) -> None:
    await fill(client, 100)
    operations = [part for n in range(3000) for part in ({"index": {"_id": f"b{n}"}}, {"text": "some text " * 20})]
    writing = asyncio.create_task(client.bulk(index="docs", operations=operations))
    await asyncio.sleep(0)
    counted = []
    while not writing.done():
        counted.append((await client.count(index="docs"))["count"])
    assert len(counted) > 1
    # A reader sees all of a bulk request or nothing of it.
    assert set(counted) <= {100, 3100}
    assert (await client.count(index="docs"))["count"] == 3100


async def test_the_event_loop_goes_on_while_a_write_waits_for_the_disk(
    client: AsyncElasticsearch, tmp_path: Path
) -> None:
    await client.indices.create(index="docs")
    holder = sqlite3.connect(tmp_path / "search.sqlite3", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(client.index(index="docs", document={"text": "words"}))
    for _ in range(100):
        await asyncio.sleep(0.001)
    assert (await client.count(index="docs"))["count"] == 0
    assert not writing.done()
    holder.execute("COMMIT")
    holder.close()
    assert (await writing)["result"] == "created"


async def test_a_search_that_takes_too_long_is_stopped(client: AsyncElasticsearch) -> None:
    await fill(client, 3000)
    words = " ".join(["common"] * 400)
    slow = {"bool": {"should": [{"match": {"text": words}} for _ in range(4)]}}
    with pytest.raises(ConnectionTimeout):
        await client.options(request_timeout=0.05).search(index="docs", query=slow)
    started = time.monotonic()
    await asyncio.gather(*(client.count(index="docs") for _ in range(6)))
    # All threads are free again: none of them is still at the abandoned search.
    assert time.monotonic() - started < 1


async def test_a_cancelled_search_gives_its_thread_back(client: AsyncElasticsearch) -> None:
    await fill(client, 2000)
    words = " ".join(["common"] * 400)
    slow = [asyncio.create_task(client.search(index="docs", query={"match": {"text": words}})) for _ in range(8)]
    await asyncio.sleep(0.02)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    started = time.monotonic()
    await client.count(index="docs")
    assert time.monotonic() - started < 1


async def test_a_write_whose_caller_left_is_done_all_the_same(client: AsyncElasticsearch) -> None:
    await fill(client, 1)
    operations = [part for n in range(1000) for part in ({"index": {"_id": f"b{n}"}}, {"text": "some text " * 20})]
    writing = asyncio.create_task(client.bulk(index="docs", operations=operations))
    await asyncio.sleep(0.05)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await client.index(index="docs", id="after", document={})
    assert (await client.count(index="docs"))["count"] in (2, 1002)


async def test_a_closed_client_refuses_and_leaves_no_thread(tmp_path: Path) -> None:
    import threading

    node = node_of(tmp_path)
    await node.perform_request("PUT", "/docs")
    await node.perform_request("GET", "/docs/_count")
    threads = node._threads
    assert threads is not None
    assert [thread for thread in threading.enumerate() if thread.name.startswith("search-")]
    await node.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("search-")]
    node._threads = threads
    with pytest.raises(Exception, match="Connection error"):
        await node.perform_request("GET", "/docs/_count")
    node._threads = None
    await node.close()
