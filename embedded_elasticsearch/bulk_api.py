"""``_bulk``: many writes in one request, each with an outcome of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from embedded_elasticsearch.errors import EngineError, bad_request, invalid, kind_of, unsupported
from embedded_elasticsearch.request import Request, Response, load
from embedded_elasticsearch.writer import Guard, Writer, document

_META = frozenset({"_index", "_id", "if_seq_no", "if_primary_term", "require_alias", "retry_on_conflict"})
_KINDS = ("create", "delete", "index", "update")
Action = tuple[str, dict[str, Any], bytes]


def bulk(request: Request) -> Response:
    started = time.monotonic()
    actions = list(_actions(request))
    if not actions:
        raise invalid("no requests added")
    refreshed = request.refreshed()
    with request.database.write() as connection:
        writer = Writer(connection, refreshed, request.flag("require_alias"))
        items = [_item(writer, *action) for action in actions]
    errors = any("error" in answer for item in items for answer in item.values())
    return Response(200, {"errors": errors, "took": int((time.monotonic() - started) * 1000), "items": items})


def _actions(request: Request) -> Iterator[Action]:
    if not request.body:
        raise EngineError(400, "parse_exception", "request body is required")
    if not request.body.endswith(b"\n"):
        raise bad_request("The bulk request must be terminated by a newline [\\n]")
    lines = iter(enumerate(request.body.split(b"\n")[:-1], start=1))
    for number, line in lines:
        if not line.strip():
            continue
        kind, meta = _meta(line, number)
        meta.setdefault("_index", request.parts.get("index"))
        if not isinstance(meta["_index"], str):
            raise invalid("index is missing")
        source = b"" if kind == "delete" else next(lines, (0, b""))[1]
        yield kind, meta, source


def _meta(line: bytes, number: int) -> tuple[str, dict[str, Any]]:
    given = load(line)
    if not isinstance(given, dict) or len(given) != 1:
        raise bad_request(
            f"Malformed action/metadata line [{number}], expected START_OBJECT with one field "
            f"but found {kind_of(given)}"
        )
    ((kind, meta),) = given.items()
    if kind not in _KINDS:
        listed = "[create], [delete], [index] or [update]"
        raise bad_request(f"Malformed action/metadata line [{number}], expected field {listed} but found [{kind}]")
    if not isinstance(meta, dict):
        raise bad_request(f"Malformed action/metadata line [{number}], expected START_OBJECT but found {kind_of(meta)}")
    for key, value in meta.items():
        if key not in _META:
            raise bad_request(f"Action/metadata line [{number}] contains an unknown parameter [{key}]")
        if key in ("_id", "_index") and value is not None and not isinstance(value, (str, int)):
            raise bad_request(f"Malformed action/metadata line [{number}], [{key}] must be a string")
    return kind, dict(meta)


def _item(writer: Writer, kind: str, meta: dict[str, Any], line: bytes) -> dict[str, Any]:
    name = meta["_index"]
    doc_id = None if meta.get("_id") is None else str(meta["_id"])
    try:
        if meta.get("require_alias"):
            raise unsupported("[require_alias] per bulk item")
        guard = Guard(meta.get("if_seq_no"), meta.get("if_primary_term"))
        status, answer = _OPERATIONS[kind](writer, name, doc_id, line, guard)
        return {kind: {**answer, "status": status}}
    except EngineError as error:
        if error.status >= 500:
            raise
        return {kind: {"_index": name, "_id": doc_id, "status": error.status, "error": error.cause()}}


def _required_id(doc_id: str | None) -> str:
    if doc_id is None:
        raise invalid("id is missing")
    return doc_id


_Operation = Callable[[Writer, str, str | None, bytes, Guard], tuple[int, dict[str, Any]]]
_OPERATIONS: dict[str, _Operation] = {
    "index": lambda writer, name, doc_id, line, guard: writer.put(name, doc_id, document(line), False, guard),
    "create": lambda writer, name, doc_id, line, guard: writer.put(name, doc_id, document(line), True, guard),
    "update": lambda writer, name, doc_id, line, guard: writer.update(
        name, _required_id(doc_id), document(line), guard
    ),
    "delete": lambda writer, name, doc_id, line, guard: writer.delete(name, _required_id(doc_id), guard),
}
