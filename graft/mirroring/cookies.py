"""Cookies that an answer sets, as something that can be compared."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Any

from graft.mirroring.answers import Headers

_LARGEST = 16 * 1024


@dataclass(frozen=True, slots=True)
class Cookie:
    value: str
    attributes: dict[str, str]

    @property
    def content(self) -> Any:
        """What the value says: the JSON in a signed session (as Flask and Starlette write it), else the value.

        Its signature is left out: it is new with each second, and follows from the content and the time.
        """
        return signed_content(self.value)


def cookies_of(headers: Headers) -> dict[str, Cookie]:
    """The cookies by name; of two with one name the later counts, as in a browser."""
    cookies = {}
    for name, value in headers:
        if name.lower() == b"set-cookie":
            first, *rest = value.decode("latin-1").split(";")
            called, _, content = first.partition("=")
            pairs = (part.strip().partition("=") for part in rest if part.strip())
            attributes = {key.lower(): text.lower() if key.lower() == "samesite" else text for key, _, text in pairs}
            cookies[called.strip()] = Cookie(content.strip().strip('"'), attributes)
    return cookies


def signed_content(value: str) -> Any:
    """The JSON of ``payload.time.signature``, base64, compressed behind a leading dot; else ``value`` itself."""
    parts = value.removeprefix(".").split(".")
    if len(parts) != 3 or len(value) > _LARGEST:
        return value
    try:
        payload = base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4))
        if value.startswith("."):
            payload = zlib.decompressobj().decompress(payload, _LARGEST)
        return json.loads(payload)
    except (ValueError, zlib.error, RecursionError):
        return value
