"""Clients of other services: Elasticsearch, HTTP beside http.client, Redis, MongoDB, asynchronous SMTP."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote, urlsplit

from graft.mirroring.fence import Kind
from graft.mirroring.fences.elasticsearch_calls import described, reads
from graft.mirroring.fences.events import SAFE_METHODS
from graft.mirroring.fences.redis_commands import READS
from graft.mirroring.fences.words import words
from graft.mirroring.fences.wrapping import wrap

# Elasticsearch, and what has the same calls


def _transport(*names: str) -> Callable[[Any], None]:
    def install(module: Any) -> None:
        for name in names:
            # What it lets through is a request of an HTTP client below.
            wrap(getattr(module, name), Kind.ELASTICSEARCH, _searched, "perform_request", covers=True)

    return install


def _searched(transport: Any, method: str, target: str, *rest: Any, **keywords: Any) -> str | None:
    path = unquote(urlsplit(target).path)
    return None if reads(method, path) else described(method, path)


# HTTP


def _httpx(module: Any) -> None:
    for owner in (module.Client, module.AsyncClient):
        wrap(owner, Kind.HTTP, _sent, "send")


def _sent(client: Any, request: Any, *rest: Any, **keywords: Any) -> str | None:
    return _asked(request.method, request.url.host)


def _httpcore(*names: str) -> Callable[[Any], None]:
    def install(module: Any) -> None:
        for name in names:
            wrap(getattr(module, name), Kind.HTTP, _passed_on, "handle_request", "handle_async_request")

    return install


def _passed_on(pool: Any, request: Any, *rest: Any, **keywords: Any) -> str | None:
    return _asked(request.method, request.url.host)


def _aiohttp(module: Any) -> None:
    # All of get, post, request and ws_connect end in it. Read in aiohttp 3.8 to 3.14.
    wrap(module.ClientSession, Kind.HTTP, _requested, "_request")


def _requested(session: Any, method: str, url: Any, *rest: Any, **keywords: Any) -> str | None:
    return _asked(method, urlsplit(str(url)).hostname)


def _asked(method: Any, host: Any) -> str | None:
    method = method.decode("ascii") if isinstance(method, bytes) else str(method)
    host = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    return None if method.upper() in SAFE_METHODS else f"send {method.upper()} to {host or 'another service'}"


# Redis. What is packed is judged: so do pipelines, scripts, locks and queues over it come by.


def _redis(module: Any) -> None:
    wrap(module.AbstractConnection, Kind.REDIS, _packed, "send_packed_command")


def _packed(connection: Any, command: Any, *rest: Any, **keywords: Any) -> str | None:
    names = list(_command_names(command))
    writes = next((name for name in names if name not in READS), None)
    return None if writes is None else f"call {writes} in Redis"


def _command_names(command: Any) -> Iterable[str]:
    """The names of the commands in what goes to the server: ``*3\\r\\n$3\\r\\nSET\\r\\n...``, in pieces or whole."""
    packed = command.encode() if isinstance(command, str) else command
    data = packed if isinstance(packed, bytes) else b"".join(bytes(piece) for piece in packed)
    at = 0
    while data[at : at + 1] == b"*":
        at, words = data.index(b"\r\n", at) + 2, int(data[at + 1 : data.index(b"\r\n", at)])
        for number in range(words):
            end = data.index(b"\r\n", at)
            length = int(data[at + 1 : end])
            if not number:
                yield data[end + 2 : end + 2 + length].decode("ascii", "replace").upper()
            at = end + 2 + length + 2


# MongoDB


_MONGO_WRITES = words(
    """insert_one insert_many replace_one update_one update_many delete_one delete_many find_one_and_delete
find_one_and_replace find_one_and_update bulk_write drop rename create_index create_indexes drop_index drop_indexes
create_search_index create_search_indexes drop_search_index update_search_index"""
)


def _mongo(*names: str) -> Callable[[Any], None]:
    def install(module: Any) -> None:
        for owner in (getattr(module, name) for name in names if hasattr(module, name)):
            for method in _MONGO_WRITES:
                wrap(owner, Kind.MONGODB, _mongo_write(method), method)
            wrap(owner, Kind.MONGODB, _aggregated, "aggregate")
            for method in ("drop_collection", "create_collection", "drop_database"):
                wrap(owner, Kind.MONGODB, _mongo_write(method), method)
            wrap(owner, Kind.MONGODB, _commanded, "command")

    return install


def _mongo_write(method: str) -> Callable[..., str]:
    return lambda owner, *args, **keywords: f"call {method} of {getattr(owner, 'name', 'MongoDB')}"


def _aggregated(collection: Any, pipeline: Any = (), *rest: Any, **keywords: Any) -> str | None:
    stages = {name for stage in pipeline if isinstance(stage, dict) for name in stage}
    return f"aggregate into another collection from {collection.name}" if stages & {"$out", "$merge"} else None


def _commanded(database: Any, command: Any = "", *rest: Any, **keywords: Any) -> str | None:
    name = command if isinstance(command, str) else next(iter(command), "")
    return None if name.lower() in _MONGO_READS else f"call {name} of MongoDB"


_MONGO_READS = words(
    """ping hello ismaster find count distinct dbstats collstats serverstatus listcollections listdatabases listindexes
    buildinfo explain connectionstatus getparameter aggregate"""
)


# SMTP of asyncio


def _aiosmtplib(module: Any) -> None:
    wrap(module.SMTP, Kind.MAIL, _mailed, "connect", "sendmail", "send_message", "execute_command")


def _mailed(client: Any, *args: Any, **keywords: Any) -> str:
    host = keywords.get("hostname") or getattr(client, "hostname", None)
    return f"send mail through {host}" if host else "send mail"


LIBRARIES: dict[str, Callable[[Any], None]] = {
    "elastic_transport": _transport("Transport", "AsyncTransport"),
    "opensearchpy.transport": _transport("Transport"),
    "opensearchpy._async.transport": _transport("AsyncTransport"),
    "httpx": _httpx,
    "httpx2": _httpx,
    "httpcore": _httpcore("ConnectionPool", "AsyncConnectionPool"),
    "httpcore2": _httpcore("ConnectionPool", "AsyncConnectionPool"),
    "aiohttp.client": _aiohttp,
    "redis.connection": _redis,
    "redis.asyncio.connection": _redis,
    "pymongo.synchronous.collection": _mongo("Collection"),
    "pymongo.asynchronous.collection": _mongo("AsyncCollection"),
    "pymongo.synchronous.database": _mongo("Database"),
    "pymongo.asynchronous.database": _mongo("AsyncDatabase"),
    "pymongo.synchronous.mongo_client": _mongo("MongoClient"),
    "pymongo.asynchronous.mongo_client": _mongo("AsyncMongoClient"),
    "aiosmtplib.smtp": _aiosmtplib,
}
"""By the module that has to be imported."""
