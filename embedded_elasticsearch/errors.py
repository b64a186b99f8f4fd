"""The engine's errors, in the shape in which Elasticsearch 8 sends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MEND = "a real Elasticsearch server has it"


class EngineError(Exception):
    """One error answer: ``status`` is the HTTP status, ``type`` and ``reason`` are Elasticsearch's own words.

    ``details`` goes beside them (``index``, ``caused_by`` ...). ``phase`` says that the error comes from running a
    search rather than from reading it: Elasticsearch then wraps it in ``search_phase_execution_exception``.
    """

    def __init__(self, status: int, type: str, reason: str, *, phase: str | None = None, **details: Any) -> None:
        super().__init__(reason)
        self.status = status
        self.type = type
        self.reason = reason
        self.phase = phase
        self.details = {key.replace("resource_", "resource."): value for key, value in details.items()}

    def cause(self) -> dict[str, Any]:
        """The inner error object, as it stands in a bulk item or in ``root_cause``."""
        return {"type": self.type, "reason": self.reason, **self.details}

    def body(self) -> dict[str, Any]:
        """The whole error answer."""
        cause = self.cause()
        root = {key: value for key, value in cause.items() if key != "caused_by"}
        if self.phase is None:
            return {"error": {"root_cause": [root], **cause}, "status": self.status}
        failed = {"shard": 0, "index": self.details.get("index", ""), "node": "embedded", "reason": cause}
        error = {
            "root_cause": [root],
            "type": "search_phase_execution_exception",
            "reason": "all shards failed",
            "phase": self.phase,
            "grouped": True,
            "failed_shards": [failed],
        }
        return {"error": error, "status": self.status}


def bad_request(reason: str, **details: Any) -> EngineError:
    """What Elasticsearch refuses as well."""
    return EngineError(400, "illegal_argument_exception", reason, **details)


def parsing(reason: str) -> EngineError:
    """A request body that Elasticsearch can't read either."""
    return EngineError(400, "parsing_exception", reason)


def invalid(reason: str) -> EngineError:
    """A request that can be read but lacks something."""
    return EngineError(400, "action_request_validation_exception", f"Validation Failed: 1: {reason};")


def unsupported(what: str) -> EngineError:
    """What only a real server can do: named, never ignored."""
    return bad_request(f"the embedded search engine does not support {what}; {MEND}")


def shard_error(index: str, reason: str, **details: Any) -> EngineError:
    """A query that can't run on the mapping of this index."""
    return EngineError(400, "query_shard_exception", reason, phase="query", index=index, **details)


def no_such_index(name: str) -> EngineError:
    return EngineError(
        404,
        "index_not_found_exception",
        f"no such index [{name}]",
        resource_type="index_or_alias",
        resource_id=name,
        index_uuid="_na_",
        index=name,
    )


def unreadable(reason: str) -> EngineError:
    """As ``parsing``, for those parts of a request that Elasticsearch reads with another parser."""
    return EngineError(400, "x_content_parse_exception", reason)


def only(
    given: Any, allowed: frozenset[str], where: str, error: Callable[[str], EngineError] = parsing
) -> dict[str, Any]:
    """``given``, an object all of whose keys are ``allowed``. Raises a 400 that names the first one that is not."""
    if not isinstance(given, dict):
        raise parsing(f"[{where}] must be an object, found {kind_of(given)}")
    for key in given:
        if key not in allowed:
            raise error(f"[{where}] does not support [{key}] in the embedded search engine; {MEND}")
    return given


def kind_of(value: Any) -> str:
    """How JSON calls what Python calls otherwise."""
    if value is None:
        return "null"
    kinds = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return kinds.get(type(value), type(value).__name__)
