"""Redact: no secret leaves in a stored difference.

Values are taken out by the name they stand under, wherever names are: headers, cookies, query strings, forms, JSON at
any depth, inputs of HTML forms, and texts such as tracebacks. What stays is that there was a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote_plus

from graft.mirroring.answers import Headers
from graft.mirroring.paths import Path

GONE = "[redacted]"

NAMES = (
    "authorization",
    "auth",
    "cookie",
    "token",
    "jwt",
    "bearer",
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "signature",
    "session",
    "sessionid",
    "csrf",
    "xsrf",
    "credential",
    "otp",
    "pin",
    "cvv",
    "cardnumber",
)
"""A name is a secret's when one of these is in it, ``-``, ``_`` and case apart; _WHOLE ones must be all of it."""

_TELLING = 6
"""Characters from which a value is looked for elsewhere: shorter ones are in everything."""

_LARGEST_FORM = 64 * 1024
_WHOLE = frozenset({"auth", "pin", "otp", "cvv", "pwd", "jwt", "session"})
_LETTERS = re.compile(r"[^a-z0-9]")


class Redactor:
    """Takes out the values of NAMES and of ``more`` names."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        own = tuple(filter(None, (_LETTERS.sub("", name.lower()) for name in more)))
        self._parts = own + tuple(name for name in NAMES if name not in _WHOLE)
        self._in_text = _texts(tuple(sorted({*own, *NAMES})))

    @staticmethod
    @lru_cache(maxsize=100)
    def of(more: tuple[str, ...]) -> Redactor:
        return Redactor(more)

    def is_secret(self, name: str) -> bool:
        plain = _LETTERS.sub("", name.lower())
        return plain in _WHOLE or any(part in plain for part in self._parts)

    def headers(self, headers: Headers) -> list[list[str]]:
        """As pairs of text. Cookies keep their names, so that a missing one can be seen."""
        return [[name.decode("latin-1"), self._header(name.decode("latin-1"), value)] for name, value in headers]

    def _header(self, name: str, value: bytes) -> str:
        text = value.decode("latin-1")
        if name.lower() in ("cookie", "set-cookie"):
            return re.sub(r"=[^;]*", f"={GONE}", text, count=0 if name.lower() == "cookie" else 1)
        if self.is_secret(name):
            return GONE
        return self.text(self.url(text) if "?" in text else text)

    def url(self, url: str) -> str:
        """A URL, or a path with its query string."""
        path, mark, query = url.partition("?")
        return f"{path}{mark}{self.query(query)}"

    def query(self, query: str) -> str:
        """A query string or a form. One that has nothing to hide stays as it is, to the letter."""
        pairs = parse_qsl(query, keep_blank_values=True)
        if not any(self.is_secret(name) for name, _ in pairs):
            return query
        return "&".join(
            f"{quote_plus(name)}={GONE if self.is_secret(name) else quote_plus(value)}" for name, value in pairs
        )

    def body(self, body: bytes, content_type: str) -> str:
        """A body as text. What is neither text nor known is only described."""
        kind = content_type.split(";", maxsplit=1)[0].strip().lower()
        if kind == "application/x-www-form-urlencoded":
            return self.query(body.decode("utf-8", "replace"))
        if kind == "application/json" or kind.endswith("+json"):
            try:
                return json.dumps(self.value(json.loads(body)), ensure_ascii=False)
            except (ValueError, RecursionError):
                return self.text(body.decode("utf-8", "replace"))
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return f"{len(body)} bytes of {kind or 'unknown type'}"
        return self.text(self._html(text) if "html" in kind or "xml" in kind else text)

    def value(self, value: Any) -> Any:
        """JSON. Raises RecursionError when it is nested too deeply."""
        if isinstance(value, dict):
            return {name: GONE if self.is_secret(name) else self.value(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return self.text(value) if isinstance(value, str) else value

    def at(self, path: Path, value: str | None) -> str | None:
        """The value of one difference."""
        if value is None:
            return None
        if path[0] == "header":
            return self._header(str(path[-1]), value.encode("latin-1", "replace"))
        if path[-1] in ("@value", "@content") or any(isinstance(step, str) and self.is_secret(step) for step in path):
            return GONE
        return self.text(value)

    def text(self, text: str) -> str:
        """Free text such as a traceback: ``password='...'``, ``token: ...``, ``Bearer ...``, ``https://user:pass@host``."""
        text = _BEARER.sub(rf"\1 {GONE}", text)
        text = _IN_URL.sub(rf"\1{GONE}@", text)
        text = _JWT.sub(GONE, text)
        return self._in_text.sub(rf"\1{GONE}", text)

    def secrets(self, headers: Headers, query: str, body: bytes) -> frozenset[str]:
        """The secret values of a request or an answer, to be looked for elsewhere: an echo does not name them."""
        found = set()
        for name, value in headers:
            text = value.decode("latin-1")
            if name.lower() == b"cookie":
                found |= {pair.partition("=")[2].strip(' "') for pair in text.split(";")}
            elif name.lower() == b"set-cookie":
                found.add(text.split(";")[0].partition("=")[2].strip(' "'))
            elif self.is_secret(name.decode("latin-1")):
                found.add(text.split(" ")[-1])
        forms = query, body.decode("utf-8", "replace") if len(body) < _LARGEST_FORM else ""
        for form in forms:
            found |= {value for name, value in parse_qsl(form) if self.is_secret(name)}
        with suppress(ValueError, RecursionError):
            found |= self._in_json(json.loads(body))
        return frozenset(value for value in found if len(value) >= _TELLING)

    def _in_json(self, value: Any) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(self._in_json, value))
        if not isinstance(value, dict):
            return set()
        own = {item for name, item in value.items() if isinstance(item, str) and self.is_secret(name)}
        return own.union(*map(self._in_json, value.values()))

    def _html(self, text: str) -> str:
        return _TAG.sub(lambda tag: self._tag(tag[0]), text)

    def _tag(self, tag: str) -> str:
        """``<input name="csrf_token" value="...">`` and ``<meta name="csrf-token" content="...">``."""
        names = [match["quoted"] or match["plain"] or "" for match in _NAME.finditer(tag)]
        if any(self.is_secret(name) for name in names) or re.search(r"type\s*=\s*[\"']?(password|hidden)", tag, re.I):
            return _CONTENT.sub(rf'\1"{GONE}"', tag)
        return tag


def _texts(names: tuple[str, ...]) -> re.Pattern[str]:
    """``password='two words'``, ``"token": "..."``, ``X-Api-Key: ...``, ``password 'x'``. The name is group 1."""
    parts = "|".join("[-_ ]?".join(name) for name in names if name not in _WHOLE)
    whole = "|".join(name for name in names if name in _WHOLE)
    return re.compile(
        rf"""((?:(?:{parts})[\w-]{{0,40}}|(?<![a-z])(?:{whole})(?![a-z]))"""
        r"""(?:\\*["'])?\]?(?:\s{0,3}(?:=|:)>?\s{0,3}|\s{1,3}(?=\\*["'])))"""
        r"""(?!\\*["']?\[redacted\])(?:\\*"[^"\n]*"|\\*'[^'\n]*'|[^\s"'&;,<>)}\]]+)""",
        re.IGNORECASE,
    )


_BEARER = re.compile(r"\b(Bearer|Basic|Token|ApiKey)\s+(?!\[redacted\])[\w.~+/=:-]{6,}", re.IGNORECASE)
_IN_URL = re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://[^\s:/@]{0,200}:)[^\s/@]{1,200}@", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*")
_TAG = re.compile(r"<(?:input|meta|option|textarea|button)\b[^>]{0,5000}>", re.IGNORECASE)
_NAME = re.compile(r"\b(?:name|id)\s*=\s*(?:[\"'](?P<quoted>[^\"']*)[\"']|(?P<plain>[^\s>\"']+))", re.IGNORECASE)
_CONTENT = re.compile(r"(\b(?:value|content)\s*=\s*)(?:\"[^\"]*\"|'[^']*'|[^\s>\"']+)", re.IGNORECASE)
