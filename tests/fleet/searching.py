"""Searches of five gateways' clients, while an index is changed and a node of the cluster is killed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager

from elasticsearch import AsyncElasticsearch

from graft.search.client import open_client
from graft.search.indexing import Document, Index, build
from graft.search.metrics import failed_shards
from graft.settings import Settings

NAME = "numbers-of-the-proof"
PIECES = "pieces-of-the-proof"
CLIENTS = 5


def numbers(count: int) -> Index:
    def documents() -> list[Document]:
        return [(str(number), {"n": number}) for number in range(count)]

    return Index(NAME, {"properties": {"n": {"type": "integer"}}}, documents)


class Searches:
    """``totals`` are the numbers of documents that were found, ``failures`` what was no answer of all shards."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.totals: set[int] = set()
        self.failures: list[str] = []
        self.asked = 0
        self._urls = tuple(urls)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._search_all()))

    def change_index(self, count: int) -> None:
        """Another host fills another index with so many documents, and moves the alias to it."""

        async def change() -> None:
            async with self._client() as client:
                await build(client, numbers(count))

        asyncio.run(change())

    def scatter(self) -> None:
        """An index of which each node has a shard that no other has."""

        async def make() -> None:
            settings = {"number_of_shards": 3, "number_of_replicas": 0, "routing.allocation.total_shards_per_node": 1}
            async with self._client() as client:
                await client.indices.create(index=PIECES, settings=settings, wait_for_active_shards="all")
                await client.options(request_timeout=65).cluster.health(wait_for_status="green", timeout="60s")

        asyncio.run(make())

    def missing(self) -> str | None:
        """What a search of that index, answered with 200, says of its shards."""

        async def search() -> str | None:
            async with self._client() as client:
                return failed_shards((await client.search(index=PIECES)).body)

        return asyncio.run(search())

    def delete_pieces(self) -> bool:
        async def delete() -> bool:
            async with self._client() as client:
                await client.options(request_timeout=60).indices.delete(index=PIECES, ignore_unavailable=True)
                return True

        return asyncio.run(delete())

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ends.set()
        self._thread.join()

    def _client(self) -> AsyncElasticsearch:
        return open_client(Settings.load(elasticsearch_url=self._urls))

    async def _search_all(self) -> None:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(self._client()) for _ in range(CLIENTS)]
            await asyncio.gather(*(self._search(client) for client in clients))

    async def _search(self, client: AsyncElasticsearch) -> None:
        while not self._ends.is_set():
            self.asked += 1
            try:
                found = await client.search(index=NAME, size=1, track_total_hits=True)
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            else:
                self.totals.add(found["hits"]["total"]["value"])
                if (failed := failed_shards(found.body)) is not None:
                    self.failures.append(failed)
            await asyncio.sleep(0.05)


@contextmanager
def searches(urls: Sequence[str], count: int) -> Iterator[Searches]:
    """Under way, on an index of ``count`` documents."""
    made = Searches(urls)
    made.change_index(count)
    made.scatter()
    made.start()
    try:
        yield made
    finally:
        made.stop()
