"""Names of indices: which are allowed, and which indices an expression like ``a,b*`` means."""

from __future__ import annotations

import sqlite3
from fnmatch import fnmatchcase

from embedded_elasticsearch import store
from embedded_elasticsearch.errors import EngineError, bad_request, no_such_index, unsupported
from embedded_elasticsearch.store import Index

_FORBIDDEN = frozenset(' "*\\<|,>/?#:')


def check(name: str, kind: str = "index") -> None:
    """Raises a 400 with Elasticsearch's own reason for a name that it refuses."""
    reason = _wrong(name)
    if reason:
        details = {"index_uuid": "_na_", "index": name} if kind == "index" else {}
        raise EngineError(400, f"invalid_{kind}_name_exception", f"Invalid {kind} name [{name}], {reason}", **details)


def _wrong(name: str) -> str | None:
    if not name or name in (".", ".."):
        return "must not be '.' or '..' or empty"
    if name != name.lower():
        return "must be lowercase"
    if name[0] in "_-+":
        return "must not start with '_', '-', or '+'"
    bad = sorted(_FORBIDDEN & set(name))
    if bad:
        return f"must not contain the following characters {bad}"
    if len(name.encode()) > 255:
        return "index name is too long"
    return None


def resolve(connection: sqlite3.Connection, expression: str | None, ignore_unavailable: bool = False) -> list[Index]:
    """The indices of an expression, each once. Raises 404 for a plain name that does not exist."""
    aliases = store.aliases(connection)
    known = dict.fromkeys(store.names(connection))
    chosen: dict[str, None] = {}
    for part in _parts(expression):
        if part.startswith("-") and chosen:
            raise unsupported(f"[{part}], an exclusion from index names")
        found = _matching(part, known, aliases)
        if not found and "*" not in part and not ignore_unavailable:
            raise no_such_index(part)
        chosen.update(dict.fromkeys(found))
    indices = (store.find(connection, name) for name in chosen)
    return [index for index in indices if index is not None]


def _parts(expression: str | None) -> list[str]:
    if expression is None or expression in ("_all", "*", ""):
        return ["*"]
    for part in expression.split(","):
        if part.startswith("_"):
            check(part)
    return expression.split(",")


def _matching(part: str, known: dict[str, None], aliases: list[tuple[str, str]]) -> list[str]:
    if "*" not in part:
        return [part] if part in known else [index for alias, index in aliases if alias == part]
    matching = [name for name in known if fnmatchcase(name, part)]
    return matching + [index for alias, index in aliases if fnmatchcase(alias, part) and index not in matching]


def concrete(connection: sqlite3.Connection, expression: str, ignore_unavailable: bool = False) -> list[Index]:
    """The indices that a destructive request names: no wildcards, no aliases."""
    if "*" in expression or expression == "_all":
        raise bad_request("Wildcard expressions or all indices are not allowed")
    found = []
    for name in expression.split(","):
        index = store.find(connection, name)
        if index is not None:
            found.append(index)
        elif store.targets(connection, name):
            raise bad_request(
                f"The provided expression [{name}] matches an alias, "
                "specify the corresponding concrete indices instead."
            )
        elif not ignore_unavailable:
            raise no_such_index(name)
    return found


def matches(name: str, pattern: str) -> bool:
    return pattern == "_all" or fnmatchcase(name, pattern)
