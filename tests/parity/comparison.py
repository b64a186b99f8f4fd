"""Two visits of one app: where their answers differ, apart from what differs from visit to visit."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import httpx2 as httpx

from tests.parity.visitor import Exchange

OF_THE_SERVER = {"date", "server", "connection", "keep-alive", "transfer-encoding", "x-request-id", "x-served-by"}

VOLATILE = (
    (re.compile(r'"\d{10}\.\d+-(\d+)-\d+"'), r'"<file of \1>"'),  # Werkzeug's: time, size, a sum of the path
    (re.compile(r'(?<="end_id":")[\w~-]+'), "<end>"),  # Dash's signed names
    (re.compile(r"(?<=session=)[\w-]{120,}"), "<signed by Pyramid>"),
    (re.compile(r"(?<=session=)[\w-]{43}(?![\w.-])"), "<id of Flask-Session>"),
    (re.compile(r"\beyJ[\w-]+\.eyJ[\w-]+\.[\w-]+"), "<JWT>"),
    (re.compile(r":[\w-]{6}:[\w-]{43}"), "<signed by Django>"),
    (re.compile(r"\w{2,6}\*{8,}"), "<password>"),
    # Signed by itsdangerous: payload, time, signature. Sessions are looked into before (_cookie).
    (re.compile(r"(?<![\w-])\.?[\w-]{8,2000}\.[\w-]{6}\.[\w-]{27}"), "<signed>"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\w{3}, \d\d[ -]\w{3}[ -]\d{4} \d\d:\d\d:\d\d GMT"), "<date>"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "<clock>"),
    (re.compile(r"\b[0-9a-f]{32,128}\b"), "<hex>"),
    (re.compile(r"(?<=state[=_])(other_)?\w{30}"), "<state>"),
    (re.compile(r"(?<=code_challenge=)[\w-]{43}"), "<challenge>"),
    (re.compile(r'(?<="code_verifier": ")\w{48}'), "<verifier>"),
    (re.compile(r"\b([A-Za-z0-9]{32}|[A-Za-z0-9]{64})\b"), "<token>"),
    (re.compile(r"\b1[789]\d{8}\.\d+"), "<epoch>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
)


def differences(without: Sequence[Exchange], with_gateway: Sequence[Exchange]) -> list[str]:
    """A line for each thing that a client could tell the two by."""
    found = []
    for one, other in zip(without, with_gateway, strict=False):
        if steady(one.what) != steady(other.what):
            return [*found, f"the visits part: {one.what} against {other.what}"]
        left, right = seen(one.response), seen(other.response)
        found += [f"{one.what}: {name}: {_cut(left[name], right[name])}" for name in left if left[name] != right[name]]
    if len(without) != len(with_gateway):
        found.append(f"{len(without)} answers against {len(with_gateway)}")
    return found


def seen(response: httpx.Response) -> dict[str, Any]:
    """What a client sees, without what varies."""
    if _of_the_server_itself(response):
        return {"status": "500", "headers": [], "body": "an exception left the app"}
    headers = sorted(
        (name, _cookie(value) if name == "set-cookie" else steady(value))
        for name, value in response.headers.multi_items()
        if name not in OF_THE_SERVER and not (name == "content-length" and _varies_in_length(response))
    )
    return {
        # Werkzeug writes "404 NOT FOUND", a native route what HTTP has, "404 Not Found".
        "status": f"{response.status_code} {response.reason_phrase}".casefold(),
        "headers": headers,
        "body": _body(response),
    }


def _of_the_server_itself(response: httpx.Response) -> bool:
    """The app raised, and the page is the server's: Gunicorn's is HTML, the gateway's JSON with the request id."""
    return response.status_code == 500 and (
        "<h1><p>Internal Server Error</p></h1>" in response.text or '"code": "legacy_error"' in response.text
    )


def _varies_in_length(response: httpx.Response) -> bool:
    """A signature or a packed token may be a byte longer than the next."""
    return "content-encoding" in response.headers or steady(response.text) != response.text


@lru_cache(256)
def steady(text: str) -> str:
    """``text`` with placeholders for what varies from visit to visit."""
    for pattern, placeholder in VOLATILE:
        text = pattern.sub(placeholder, text)
    return text


def _cookie(value: str) -> str:
    """A cookie's name, its content where it is a session of Flask's, and its attributes."""
    pair, *attributes = value.split("; ")
    name, _, content = pair.partition("=")
    return steady("; ".join([f"{name}={_session(content)}", *sorted(attributes)]))


def _session(content: str) -> str:
    payload, dots, _ = content.lstrip(".").partition(".")
    if not dots:
        return content
    try:
        told = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        return steady(json.dumps(json.loads(zlib.decompress(told) if content[0] == "." else told), sort_keys=True))
    except (ValueError, zlib.error):
        return content


def _body(response: httpx.Response) -> Any:
    if response.headers.get("content-type", "").startswith(("text/", "application/j", "application/xml")):
        return steady(response.text)
    return response.content


def _cut(left: Any, right: Any) -> str:
    """Both, from shortly before the place where they part."""
    one, other = (value if isinstance(value, str) else repr(value) for value in (left, right))
    parting = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = max(0, parting - 60)
    return f"without {one[start : start + 240]!r}, with {other[start : start + 240]!r}"
