"""One request to the engine, and its answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from embedded_elasticsearch.database import Database, Deadline
from embedded_elasticsearch.errors import EngineError, bad_request, kind_of, parsing, unsupported


@dataclass
class Request:
    """``parts`` are the variable pieces of the path, ``query`` the URL parameters, ``body`` what was sent."""

    database: Database
    method: str
    path: str
    parts: dict[str, str]
    query: dict[str, str]
    body: bytes
    deadline: Deadline = field(default_factory=Deadline)

    def json(self, required: bool = False) -> dict[str, Any]:
        """The body as an object; empty when none was sent. Raises a 400 for anything else."""
        if not self.body.strip():
            if required:
                raise EngineError(400, "parse_exception", "request body is required")
            return {}
        given = load(self.body)
        if not isinstance(given, dict):
            raise parsing(f"the request body must be an object, found {kind_of(given)}")
        return given

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.query.get(name)
        if value is None:
            return default
        if value not in ("", "true", "false"):
            raise bad_request(f"Failed to parse value [{value}] as only [true] or [false] are allowed for [{name}].")
        return value != "false"

    def number(self, name: str) -> int | None:
        value = self.query.get(name)
        if value is None:
            return None
        try:
            return int(value)
        except ValueError:
            raise bad_request(f"Failed to parse int parameter [{name}] with value [{value}]") from None

    def refreshed(self) -> bool:
        """Was a refresh forced? Everything written is visible at once, so this only shapes the answer."""
        value = self.query.get("refresh", "false")
        if value not in ("", "true", "false", "wait_for"):
            raise bad_request(f"Unknown value for refresh: [{value}].")
        if self.query.get("wait_for_active_shards", "1") not in ("0", "1", "all"):
            raise unsupported("[wait_for_active_shards] above 1")
        return value in ("", "true")


@dataclass(frozen=True)
class Response:
    """``body`` is JSON data."""

    status: int
    body: Any = None


def load(body: bytes | str) -> Any:
    """Strict JSON: no NaN, no duplicate names. Raises a 400 where Elasticsearch can't read it either."""
    try:
        return _DECODER.decode(body if isinstance(body, str) else body.decode())
    except RecursionError:
        raise _broken("JSON is nested too deeply") from None
    except ValueError as error:
        raise _broken(str(error)) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"Duplicate field '{twice}'")
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"Non-standard token '{name}'")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def _broken(reason: str) -> EngineError:
    cause = {"type": "json_parse_exception", "reason": reason}
    return EngineError(400, "x_content_parse_exception", reason, caused_by=cause)
