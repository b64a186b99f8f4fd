"""One difference as it is kept: redacted, long texts cut; or by its shape alone, without any value."""

from __future__ import annotations

import re
import socket
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from graft.mirroring.answers import Answer
from graft.mirroring.bodies import TooLarge, decoded
from graft.mirroring.compare import Difference, representative, signature
from graft.mirroring.mirrored import Mirrored
from graft.mirroring.neighbours import Neighbours
from graft.mirroring.paths import Path, pattern
from graft.mirroring.redact import CUT, GONE, LARGEST_JSON, PROCESS_KEY, SHOWN, ListeningRedactor, Redactor
from graft.mirroring.slices import checkpoint
from graft.types import RouteKey, Side


@dataclass(frozen=True, slots=True)
class KeptDifference:
    """``what`` differs names the group, ``at`` is ISO 8601 in UTC, ``detail`` is for people and plain JSON."""

    id: str
    route: RouteKey
    what: str
    at: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LearnedNoise:
    """One place on a route that differs from answer to answer of the same side."""

    route: RouteKey
    what: str
    at: str


@dataclass(frozen=True, slots=True)
class Redaction:
    """What may be kept. ``key`` is of the hashes in place of secrets; with ``shape`` no value is kept at all, only
    where something differs, of which types, how long."""

    key: bytes = PROCESS_KEY
    shape: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a difference was found: on which host, in which environment, by which build of the route's code."""

    host: str = field(default_factory=socket.gethostname)
    environment: str | None = None
    version: str | None = None


def document_of(mirrored: Mirrored, redaction: Redaction = Redaction(), origin: Origin | None = None) -> KeptDifference:
    """What is kept of it: no secrets, no text longer than 8 KB, and no character that UTF-8 does not have."""
    redactor = ListeningRedactor(mirrored.switch.redact, redaction.key)
    what = _utf8(redactor.name(mirrored.note or signature(mirrored.differences))[:1000])
    at = _now()
    detail = _Shape(mirrored, redactor).written() if redaction.shape else _Detail(mirrored, redactor).written()
    found = asdict(origin or Origin())
    return KeptDifference(uuid.uuid4().hex, mirrored.key, what, at, {"at": at, **found, **detail})


def learned_noise(route: RouteKey, what: str) -> LearnedNoise:
    return LearnedNoise(route, _utf8(what[:1000]), _now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _utf8(text: str) -> str:
    """Half a surrogate pair, which JSON can spell (``"\\ud800"``) and UTF-8 can't, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _small(answer: Answer) -> bytes:
    """The body, if it is not too long to be taken apart."""
    try:
        body = decoded(answer)
    except TooLarge:
        return b""
    return body if len(body) <= LARGEST_JSON else b""


class _Detail:
    """The part of a document that is for people."""

    def __init__(self, mirrored: Mirrored, redactor: ListeningRedactor) -> None:
        self._mirrored = mirrored
        self._redactor = redactor
        query = mirrored.scope["query_string"].decode("latin-1")
        secrets = redactor.secrets(tuple(mirrored.scope["headers"]), query, mirrored.body)
        for answer in (mirrored.native, mirrored.legacy):
            secrets |= redactor.secrets(answer.headers, "", answer.body)
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._neighbours = Neighbours.of(*map(_small, (mirrored.native, mirrored.legacy)))

    def written(self) -> dict[str, Any]:
        mirrored = self._mirrored
        request, native, legacy = self._request(), self._answer(mirrored.native), self._answer(mirrored.legacy)
        struck = _Struck(self._redactor)  # by then: a value of a difference stands in the answers, too
        written = {
            "failure": self._failure(),
            "note": mirrored.note,
            "request_id": mirrored.scope.get("state", {}).get("request_id"),
            "answered_by": mirrored.answered_by,
            "differences": [
                {
                    "where": self._redactor.name(each.where),
                    "change": each.change,
                    "native": struck(self._redactor.at(each.path, each.native, self._neighbours), each.path),
                    "legacy": struck(self._redactor.at(each.path, each.legacy, self._neighbours), each.path),
                }
                for each in representative(mirrored.differences)
            ],
            "request": request,
            "native": native,
            "legacy": legacy,
        }
        scrubbed: dict[str, Any] = self._scrubbed(written)
        return scrubbed

    def _failure(self) -> str | None:
        failed = failures(self._mirrored)
        return "; ".join(f"{side} failed: {self._redactor.text(line)}" for side, line in failed) or None

    def _request(self) -> dict[str, Any]:
        scope = self._mirrored.scope
        query = scope["query_string"].decode("latin-1")
        headers = tuple(scope["headers"])
        return {
            "method": scope["method"],
            "url": self._redactor.url(scope["path"] + (f"?{query}" if query else "")),
            "headers": self._redactor.headers(headers),
            "body": self._body(self._mirrored.body, dict(headers).get(b"content-type", b"")),
        }

    def _answer(self, answer: Answer) -> dict[str, Any]:
        return {
            "status": answer.status,
            "headers": self._redactor.headers(answer.headers),
            "body": self._answered(answer),
            "latency_ms": round(answer.latency_ms, 3),
            "error": None if answer.error is None else self._redactor.text(answer.error),
        }

    def _answered(self, answer: Answer) -> str:
        try:
            content_type = (answer.header(b"content-type") or b"").decode("latin-1")
            return self._redactor.body(decoded(answer), content_type, self._neighbours)
        except TooLarge:
            return f"{len(answer.body)} bytes, compressed"

    def _body(self, body: bytes, content_type: bytes) -> str:
        return self._redactor.body(body, content_type.decode("latin-1"))

    def _scrubbed(self, value: Any) -> Any:
        """Without the values that are known to be secret, wherever they are; then long texts are cut."""
        if isinstance(value, str):
            checkpoint()
            for secret in self._secrets:
                value = value.replace(secret, self._redactor.strike(secret))
            value = _utf8(value)
            return value if len(value) <= SHOWN + len(CUT) else value[:SHOWN] + CUT
        if isinstance(value, dict):
            return {name: self._scrubbed(item) for name, item in value.items()}
        return [self._scrubbed(item) for item in value] if isinstance(value, list) else value


class _Struck:
    """What was struck out of the answers is so in the list of differences: whatever told there what it is, a label or
    a neighbour, does not stand beside it here."""

    def __init__(self, redactor: ListeningRedactor) -> None:
        self._redactor = redactor
        self._texts = {" ".join(text.split()) for text in redactor.struck}
        telling = sorted((text for text in self._texts if len(text) >= _TELLING), key=len, reverse=True)[:_MOST_STRUCK]
        self._inside = re.compile("|".join(rf"(?<!\w){re.escape(text)}(?!\w)" for text in telling)) if telling else None

    def __call__(self, shown: str | None, path: Path) -> str | None:
        if shown is None or shown.startswith(GONE):
            return shown
        in_page = path[-1] == "#text" or str(path[-1]).startswith("@")
        if (in_page or len(shown) >= _TELLING) and " ".join(shown.split()) in self._texts:
            return self._redactor.strike(shown)
        return self._inside.sub(lambda found: self._redactor.strike(found[0]), shown) if self._inside else shown


_TELLING = 4
"""Characters from which a text that was struck out is looked for inside of others, and in JSON: shorter ones are in
everything."""

_MOST_STRUCK = 200


class _Shape:
    """The part of a document that is for people, without a value of the request or of an answer."""

    def __init__(self, mirrored: Mirrored, redactor: Redactor) -> None:
        self._mirrored = mirrored
        self._redactor = redactor

    def written(self) -> dict[str, Any]:
        mirrored = self._mirrored
        headers = tuple(mirrored.scope["headers"])
        failed = failures(mirrored)
        return {
            "failure": "; ".join(f"{side} failed: {_without_message(line)}" for side, line in failed) or None,
            "note": mirrored.note,
            "request_id": mirrored.scope.get("state", {}).get("request_id"),
            "answered_by": mirrored.answered_by,
            "differences": [self._difference(each) for each in representative(mirrored.differences)],
            "request": {
                "method": mirrored.scope["method"],
                "url": mirrored.key.path,
                "headers": [[name.decode("latin-1"), f"{len(value)} bytes"] for name, value in headers],
                "body": f"{len(mirrored.body)} bytes",
            },
            "native": self._answer(mirrored.native),
            "legacy": self._answer(mirrored.legacy),
        }

    def _difference(self, difference: Difference) -> dict[str, Any]:
        return {
            "where": _utf8(self._redactor.name(pattern(difference.path))),
            "change": difference.change,
            "native": _described(difference.native),
            "legacy": _described(difference.legacy),
        }

    def _answer(self, answer: Answer) -> dict[str, Any]:
        return {
            "status": answer.status,
            "headers": [[name.decode("latin-1"), f"{len(value)} bytes"] for name, value in answer.headers],
            "body": f"{len(answer.body)} bytes",
            "latency_ms": round(answer.latency_ms, 3),
            "error": None if answer.error is None else _error_type(answer.error),
        }


def failures(mirrored: Mirrored) -> list[tuple[Side, str]]:
    """The sides that failed, and with what, in one line each."""
    return [(each.side, each.failure) for each in (mirrored.native, mirrored.legacy) if each.failure is not None]


def _without_message(failure: str) -> str:
    """The type of the exception, and the place: the message may hold values."""
    kind, _, rest = failure.partition(":")
    _, bracket, place = rest.rpartition(" (")
    return _utf8(f"{kind[:200]}{bracket}{place}")


def _described(value: str | None) -> str | None:
    """``3 digits``, ``12 letters``, ``20 characters``."""
    if value is None or value in ("true", "false", "null"):
        return value if value in (None, "null") else "a boolean"
    kind = "digits" if value.isdigit() else "letters" if value.isalpha() else "characters"
    return f"{len(value)} {kind}"


def _error_type(error: str) -> str:
    """The type of the exception whose traceback it is: the message may hold values."""
    return _utf8(error.strip().rpartition("\n")[2].partition(":")[0][:200])
