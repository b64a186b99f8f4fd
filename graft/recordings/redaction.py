"""What was said, without its secrets: the mirror's redactor, over one exchange. Pure; for the thread of ``slices``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from graft.mirroring.answers import Answer, Headers
from graft.mirroring.bodies import TooLarge, decoded
from graft.mirroring.redact import CUT, LARGEST_JSON, Redactor
from graft.operations.switches import Switches
from graft.recordings.exchange import Exchange
from graft.routing.table import Row
from graft.types import RouteKey, Side


@dataclass(frozen=True, slots=True)
class Said:
    """One request and its answer as they went over the wire."""

    method: str
    url: str
    headers: Headers
    body: bytes
    status: int
    answer_headers: Headers
    answer: bytes
    at: str
    milliseconds: float
    route: str | None = None


class RouteRedactors:
    """The redactor of each route, by the name of its rule: with what the route's switch has under ``redact``.

    ``rows`` tell by which key a rule is switched; without one it is the rule's own."""

    def __init__(self, rows: Iterable[Row], switches: Switches, key: bytes) -> None:
        self._keys = {str(rule.key): row.key for row in rows for rule in row.rules}
        self._switches = switches
        self._key = key

    def __call__(self, route: str | None) -> Redactor:
        if route is None:
            return Redactor.of(self._switches.defaults.redact, self._key)
        key = self._keys.get(route) or RouteKey.parse(route)
        return Redactor.of(self._switches.for_route(key).redact, self._key)


def redacted(said: Said, redactor: Redactor) -> Exchange:
    """``said`` as it may be kept. Cookies keep their names; of JSON all fields stay, so that it can be read again."""
    parts = urlsplit(said.url)
    answer = _decoded(said)
    secrets = redactor.secrets(said.headers, parts.query, said.body)
    secrets |= redactor.secrets(said.answer_headers, "", answer)
    body = _body(said.body, _content_type(said.headers), redactor) if said.body else None
    told = _body(answer, _content_type(said.answer_headers), redactor) if answer else None
    target = redactor.url(parts.path + (f"?{parts.query}" if parts.query else ""))
    exchange = Exchange(
        method=said.method,
        url=f"{parts.scheme or 'http'}://{parts.netloc.rpartition('@')[2]}{target}",
        headers=_pairs(said.headers, redactor),
        body=body,
        status=said.status,
        answer_headers=_pairs(said.answer_headers, redactor),
        answer=told,
        at=said.at,
        milliseconds=round(said.milliseconds, 3),
        route=said.route,
        cut=bool(said.body) and _is_cut(said, body),
    )
    return _without(exchange, sorted(secrets, key=len, reverse=True), redactor)


def _decoded(said: Said) -> bytes:
    try:
        return decoded(Answer(Side.LEGACY, said.status, said.answer_headers, said.answer, 0.0))
    except TooLarge:
        return b""


def _content_type(headers: Headers) -> str:
    return next((value.decode("latin-1") for name, value in headers if name.lower() == b"content-type"), "")


def _body(body: bytes, content_type: str, redactor: Redactor) -> str:
    kind = content_type.partition(";")[0].strip().lower()
    if (kind == "application/json" or kind.endswith("+json")) and len(body) <= LARGEST_JSON:
        try:
            return json.dumps(redactor.value(json.loads(body)), ensure_ascii=False)
        except (ValueError, RecursionError):
            pass
    return redactor.body(body, content_type)


def _is_cut(said: Said, body: str | None) -> bool:
    """Whether the text that is kept of the request's body is not what was sent, apart from what was struck."""
    kind = _content_type(said.headers).partition(";")[0].strip().lower()
    if kind.startswith("multipart/") or body is None or body.endswith(CUT):
        return True
    try:
        said.body.decode()
    except UnicodeDecodeError:
        return True
    return False


def _pairs(headers: Headers, redactor: Redactor) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in redactor.headers(headers))


def _without(exchange: Exchange, secrets: list[str], redactor: Redactor) -> Exchange:
    """Without the values that are known to be secret, wherever they are echoed."""
    if not secrets:
        return exchange

    def clean(text: str) -> str:
        for secret in secrets:
            if secret in text:
                text = text.replace(secret, redactor.strike(secret))
        return text

    return replace(
        exchange,
        url=clean(exchange.url),
        headers=tuple((name, clean(value)) for name, value in exchange.headers),
        body=None if exchange.body is None else clean(exchange.body),
        answer_headers=tuple((name, clean(value)) for name, value in exchange.answer_headers),
        answer=None if exchange.answer is None else clean(exchange.answer),
    )
