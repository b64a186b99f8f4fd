"""The node that the client talks to in place of a server.

``connect("search.sqlite3")`` is a client over it: the client builds a request and reads an answer as
ever; only the socket in between is gone. SQLite runs in threads of its own, so the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from elastic_transport import (
    ApiResponseMeta,
    BaseAsyncNode,
    ConnectionError,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
)
from elastic_transport.client_utils import DEFAULT, DefaultType
from elasticsearch import AsyncElasticsearch

from embedded_elasticsearch import endpoints
from embedded_elasticsearch.database import Database, Deadline, Interrupted
from embedded_elasticsearch.errors import EngineError
from embedded_elasticsearch.request import Request, Response

_log = logging.getLogger(__name__)
READERS = 3  # threads that search; SQLite lets go of the GIL, so they do run side by side
PATH_KEY = "_sqlite_path"  # where NodeConfig._extras has the file's path
_ONE_NODE = {"randomize_nodes_in_pool": False}  # it would draw from Python's generator, which an app may have seeded
_JSON = "application/vnd.elasticsearch+json;compatible-with=8"


def connect(path: str | Path, **options: Any) -> AsyncElasticsearch:
    """A client of an engine that keeps its indices in the file ``path``; ``options`` are the client's own.

    Nothing is opened before the first request.
    """
    config = NodeConfig(scheme="http", host="embedded", port=9200, _extras={PATH_KEY: Path(path)})
    # Nothing of what can fail here is mended by asking again at once.
    return AsyncElasticsearch([config], node_class=EmbeddedNode, **{"max_retries": 0, **_ONE_NODE, **options})


class NodeResponse(NamedTuple):
    """What the transport takes from a node; its own class for it is private."""

    meta: ApiResponseMeta
    body: bytes


class EmbeddedNode(BaseAsyncNode):
    """An Elasticsearch of one file. Nothing is opened before the first request."""

    _CLIENT_META_HTTP_CLIENT = ("sq", "1")

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self._database = Database(Path(config._extras[PATH_KEY]))
        self._threads: _Threads | None = None

    @property
    def location(self) -> str:
        """The file, for messages."""
        return str(self._database.path)

    async def perform_request(  # type: ignore[override]  # as in every node class of elastic_transport
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> NodeResponse:
        """Answer as a server would. Raises ConnectionTimeout when the work takes longer than ``request_timeout``."""
        started = time.monotonic()
        timeout = self.config.request_timeout if isinstance(request_timeout, DefaultType) else request_timeout
        deadline = Deadline(timeout or None)
        try:
            endpoint, request = endpoints.prepare(self._database, method, target, body, deadline)
            work = self._running().run(_answer, endpoint, request, writes=endpoint.writes)
            status, mimetype, raw = await _within(work, timeout, deadline)
        except EngineError as error:
            status, mimetype, raw = _encoded(Response(error.status, error.body()))
        answer_headers = {
            "content-type": mimetype,
            "x-elastic-product": "Elasticsearch",
            "content-length": str(len(raw)),
        }
        meta = ApiResponseMeta(
            status=status,
            http_version="1.1",
            headers=HttpHeaders(answer_headers),
            duration=time.monotonic() - started,
            node=self.config,
        )
        return NodeResponse(meta, b"" if method == "HEAD" else raw)

    def _running(self) -> _Threads:
        if self._threads is None or self._threads.pid != os.getpid():
            self._threads = _Threads()
        return self._threads

    async def close(self) -> None:  # type: ignore[override]
        threads, self._threads = self._threads, None
        if threads is not None and threads.pid == os.getpid():
            await asyncio.to_thread(threads.stop)
        self._database.close()


class _Threads:
    """One thread that writes, a few that read, of one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="search-write")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="search-read")

    def run(self, function: Any, *args: Any, writes: bool) -> asyncio.Future[Any]:
        pool = self._writer if writes else self._readers
        try:
            return asyncio.get_running_loop().run_in_executor(pool, function, *args)
        except RuntimeError as error:  # another task has just closed the client
            raise ConnectionError(str(error), errors=(error,)) from None

    def stop(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()


async def _within(work: asyncio.Future[Any], timeout: float | None, deadline: Deadline) -> Any:
    """The result of ``work``. Whoever leaves early stops a search; a write goes on to its end, as on a server."""
    try:
        # Without the shield a write that still waits for its turn would silently not happen.
        return await asyncio.wait_for(asyncio.shield(work), timeout or None)
    except TimeoutError as error:
        _abandon(work)
        deadline.cancel()
        raise ConnectionTimeout("Connection timed out during request", errors=(error,)) from None
    except asyncio.CancelledError:
        _abandon(work)
        deadline.cancel()
        raise
    except Interrupted as error:
        raise ConnectionTimeout("Connection timed out during request", errors=(error,)) from None


def _abandon(work: asyncio.Future[Any]) -> None:
    """Nobody will look at the outcome, and asyncio shall not complain about that."""
    work.add_done_callback(lambda done: done.cancelled() or done.exception())


def _answer(endpoint: endpoints.Endpoint, request: Request) -> tuple[int, str, bytes]:
    """Runs in a thread: all of the work, reading and writing JSON included."""
    try:
        return _encoded(endpoint.handler(request), "pretty" in request.query)
    except EngineError as error:
        return _encoded(Response(error.status, error.body()))
    except Interrupted:
        raise
    except RecursionError:
        deep = EngineError(400, "x_content_parse_exception", "the request is nested too deeply")
        return _encoded(Response(deep.status, deep.body()))
    except Exception as error:
        _log.exception("The embedded search engine failed on %s %s", request.method, request.path)
        fault = EngineError(500, "embedded_engine_exception", f"{type(error).__name__}: {error}")
        return _encoded(Response(fault.status, fault.body()))


def _encoded(response: Response, pretty: bool = False) -> tuple[int, str, bytes]:
    raw = json.dumps(response.body, indent=2 if pretty else None, separators=None if pretty else (",", ":")).encode()
    return response.status, _JSON, raw
