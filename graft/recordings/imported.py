"""HAR files of browsers and proxies: the requests to the app among them, without their secrets."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from graft.mirroring.redact import Redactor
from graft.recordings.exchange import Exchange
from graft.recordings.finder import RuleFinder
from graft.recordings.redaction import Said, redacted

STATIC = "static"
"""The endpoint of Flask's own static files, of the app and of each blueprint."""

RedactorOf = Callable[[str | None], Redactor]
"""The redactor of one route, by its name: it may have names of its own."""


@dataclass(frozen=True)
class Imported:
    """``exchanges`` belong to the app at ``hosts``; ``others`` entries do not, or were not answered."""

    exchanges: list[Exchange]
    hosts: tuple[str, ...]
    others: int


def imported(
    entries: Iterable[dict[str, Any]],
    finder: RuleFinder,
    redactor_of: RedactorOf,
    *,
    hosts: Collection[str] = (),
    routes: Collection[str] = (),
) -> Imported:
    """What belongs to the Flask app's rules. Without ``hosts`` it is the host that has the most of it: other sites have
    a ``/`` too. ``routes`` are the keys of the rules that are wanted, all if there are none."""
    entries = list(entries)
    found: list[tuple[str, Said]] = []
    for each in entries:
        try:
            said = _said(each)
        except (LookupError, TypeError, ValueError, binascii.Error):
            continue
        parts = urlsplit(said.url)
        rule = finder.find(said.method, parts.hostname or "", unquote(parts.path) or "/")
        if rule is None or rule.endpoint.rpartition(".")[2] == STATIC or (routes and str(rule.key) not in routes):
            continue
        found.append((parts.netloc, replace(said, route=str(rule.key))))
    most = Counter(host for host, _ in found).most_common(1)
    taken = tuple(hosts) or tuple(host for host, _ in most)
    exchanges: dict[tuple[str, str, str | None, int], Exchange] = {}
    count = 0
    for host, said in found:
        if host in taken or host.partition(":")[0] in taken:
            count += 1
            exchange = redacted(said, redactor_of(said.route))
            exchanges.setdefault(exchange.input, exchange)
    return Imported(list(exchanges.values()), taken, len(entries) - count)


def _said(entry: dict[str, Any]) -> Said:
    """Raises LookupError, TypeError or ValueError for what is no entry, and for a request that was not answered."""
    request, response = entry["request"], entry["response"]
    status = int(response["status"])
    if status < 200 or not str(request["url"]).startswith(("http://", "https://")):
        raise ValueError("unanswered")
    return Said(
        method=str(request["method"]).upper(),
        url=str(request["url"]),
        headers=_headers(request),
        body=_sent(request.get("postData") or {}),
        status=status,
        answer_headers=_answer_headers(response),
        answer=_content(response.get("content") or {}),
        at=str(entry.get("startedDateTime", "")),
        milliseconds=float(entry.get("time") or 0),
    )


def _headers(request: dict[str, Any]) -> tuple[tuple[bytes, bytes], ...]:
    """With the cookies that some tools list beside the headers alone."""
    pairs = [(str(each["name"]), str(each["value"])) for each in request.get("headers", [])]
    if not any(name.lower() == "cookie" for name, _ in pairs) and request.get("cookies"):
        pairs.append(("Cookie", "; ".join(f"{each['name']}={each['value']}" for each in request["cookies"])))
    return tuple(
        (name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for name, value in pairs
        if not name.startswith(":")
    )


def _answer_headers(response: dict[str, Any]) -> tuple[tuple[bytes, bytes], ...]:
    """Without the encoding, which the tool has undone for the text that it keeps."""
    pairs = [(str(each["name"]).lower(), str(each["value"])) for each in response.get("headers", [])]
    return tuple(
        (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for name, value in pairs
        if name not in ("content-encoding", "content-length", "transfer-encoding")
    )


def _sent(data: dict[str, Any]) -> bytes:
    if data.get("text"):
        return str(data["text"]).encode()
    return urlencode([(each["name"], each.get("value", "")) for each in data.get("params") or []]).encode()


def _content(content: dict[str, Any]) -> bytes:
    text = str(content.get("text") or "")
    return base64.b64decode(text) if content.get("encoding") == "base64" else text.encode()
