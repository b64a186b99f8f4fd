"""From method and path to the code that answers.

The table says which endpoints there are and which URL parameters each of them takes. Anything else is a 400 that
names it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from embedded_elasticsearch import alias_api, bulk_api, document_api, index_api, index_names, search_api
from embedded_elasticsearch.database import Database, Deadline
from embedded_elasticsearch.errors import EngineError, bad_request, unsupported
from embedded_elasticsearch.request import Request, Response

Handler = Callable[[Request], Response]

# Parameters that change nothing in what is answered: there is one node, and all it does is done at once.
_EVERYWHERE = frozenset({"pretty", "human", "error_trace", "timeout", "master_timeout"})
_SOURCE = frozenset({"_source", "_source_includes", "_source_excludes"})
_INDICES = frozenset({"ignore_unavailable", "allow_no_indices", "expand_wildcards", "local"})
_WRITE = frozenset({"refresh", "wait_for_active_shards", "if_seq_no", "if_primary_term", "require_alias"})
_SEARCH = frozenset({"preference", "request_cache"}) | _INDICES
_GET = _SOURCE | {"preference", "realtime", "refresh"}
_NONE: frozenset[str] = frozenset()
# Parameters that may only say what the engine does anyway.
_ONLY = {"allow_no_indices": ("", "true"), "expand_wildcards": ("open", "all", "open,hidden", "open,closed")}


@dataclass(frozen=True)
class Endpoint:
    """``writes`` says that the request needs the file's write lock."""

    handler: Handler
    parameters: frozenset[str]
    writes: bool = False


def _table() -> dict[str, dict[str, Endpoint]]:
    search = Endpoint(search_api.search, _SEARCH | _SOURCE)
    count = Endpoint(search_api.count, _SEARCH)
    bulk_writes = Endpoint(bulk_api.bulk, _WRITE - {"if_seq_no", "if_primary_term"}, True)
    mget = Endpoint(document_api.mget, _GET)
    refresh = Endpoint(index_api.refresh, _INDICES)
    health = Endpoint(
        index_api.health, _INDICES | {"wait_for_status", "wait_for_no_relocating_shards", "wait_for_nodes"}
    )
    mapping = Endpoint(index_api.get_mapping, _INDICES)
    put_mapping = Endpoint(index_api.put_mapping, _INDICES, True)
    get_aliases = Endpoint(alias_api.get, _INDICES)
    put_alias = Endpoint(alias_api.put, _NONE, True)
    delete_alias = Endpoint(alias_api.delete, _NONE, True)
    put = Endpoint(document_api.put, _WRITE | {"op_type"}, True)
    create = Endpoint(document_api.create, _WRITE, True)
    get = Endpoint(document_api.get, _GET)
    return {
        "/": {"GET": Endpoint(index_api.info, _NONE)},
        "/_cluster/health": {"GET": health},
        "/_cluster/health/{index}": {"GET": health},
        "/_search": {"GET": search, "POST": search},
        "/_count": {"GET": count, "POST": count},
        "/_bulk": {"POST": bulk_writes, "PUT": bulk_writes},
        "/_mget": {"GET": mget, "POST": mget},
        "/_refresh": {"GET": refresh, "POST": refresh},
        "/_mapping": {"GET": mapping},
        "/_aliases": {"POST": Endpoint(alias_api.update, _NONE, True)},
        "/_alias": {"GET": get_aliases},
        "/_alias/{name}": {"GET": get_aliases},
        "/{index}": {
            "PUT": Endpoint(index_api.create_index, frozenset({"wait_for_active_shards"}), True),
            "DELETE": Endpoint(index_api.delete_index, _INDICES, True),
            "GET": Endpoint(index_api.get_index, _INDICES),
        },
        "/{index}/_search": {"GET": search, "POST": search},
        "/{index}/_count": {"GET": count, "POST": count},
        "/{index}/_bulk": {"POST": bulk_writes, "PUT": bulk_writes},
        "/{index}/_mget": {"GET": mget, "POST": mget},
        "/{index}/_refresh": {"GET": refresh, "POST": refresh},
        "/{index}/_mapping": {"GET": mapping, "PUT": put_mapping, "POST": put_mapping},
        "/{index}/_alias": {"GET": get_aliases},
        "/{index}/_alias/{name}": {"GET": get_aliases, "PUT": put_alias, "POST": put_alias, "DELETE": delete_alias},
        "/{index}/_delete_by_query": {
            "POST": Endpoint(
                search_api.delete_by_query,
                _INDICES | {"refresh", "conflicts", "wait_for_completion", "wait_for_active_shards", "scroll_size"},
                True,
            )
        },
        "/{index}/_doc": {"POST": put},
        "/{index}/_doc/{id}": {
            "PUT": put,
            "POST": put,
            "GET": get,
            "DELETE": Endpoint(document_api.delete, _WRITE - {"require_alias"}, True),
        },
        "/{index}/_create/{id}": {"PUT": create, "POST": create},
        "/{index}/_update/{id}": {"POST": Endpoint(document_api.update, _WRITE | {"retry_on_conflict"}, True)},
    }


class _Routes:
    """The table by number of path segments, fixed ones before variable ones."""

    def __init__(self, table: dict[str, dict[str, Endpoint]]) -> None:
        self._by_length: dict[int, list[tuple[tuple[str, ...], dict[str, Endpoint]]]] = {}
        for path in sorted(table, key=lambda path: path.count("{")):
            segments = tuple(path.strip("/").split("/")) if path != "/" else ()
            self._by_length.setdefault(len(segments), []).append((segments, table[path]))

    def find(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
        segments = [unquote(segment) for segment in path.strip("/").split("/")] if path.strip("/") else []
        allowed: set[str] = set()
        for pattern, methods in self._by_length.get(len(segments), []):
            parts = _match(pattern, segments)
            if parts is None:
                continue
            endpoint = methods.get("GET" if method == "HEAD" else method)
            if endpoint is not None:
                return endpoint, parts
            allowed.update(methods)
        raise self._unknown(method, path, allowed)

    @staticmethod
    def _unknown(method: str, path: str, allowed: set[str]) -> EngineError:
        if allowed:
            reason = f"Incorrect HTTP method for uri [{path}] and method [{method}], allowed: {sorted(allowed)}"
            return EngineError(405, "illegal_argument_exception", reason)
        if method == "PUT" and path.count("/") == 1:  # somebody makes an index of a name that is none
            index_names.check(unquote(path[1:]))
        return unsupported(f"[{method} {path}]")


def _match(pattern: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    parts: dict[str, str] = {}
    for expected, found in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            # An unknown endpoint must not pass for an index of that name.
            if expected == "{index}" and found.startswith("_") and found != "_all":
                return None
            parts[expected[1:-1]] = found
        elif expected != found:
            return None
    return parts


_ROUTES = _Routes(_table())


def prepare(
    database: Database, method: str, target: str, body: bytes | None, deadline: Deadline
) -> tuple[Endpoint, Request]:
    """Find the endpoint and check the parameters. Raises EngineError for what does not exist."""
    url = urlsplit(target)
    endpoint, parts = _ROUTES.find(method, url.path)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    for name, value in query.items():
        if name not in endpoint.parameters and name not in _EVERYWHERE:
            raise bad_request(f"request [{url.path}] contains unrecognized parameter: [{name}]")
        if value not in _ONLY.get(name, (value,)):
            raise unsupported(f"[{name}={value}]")
    return endpoint, Request(database, method, url.path, parts, query, body or b"", deadline)
