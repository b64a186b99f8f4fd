"""Flask's session without Flask: the same signed cookie, read and written by itsdangerous. Nobody is logged out."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from email.utils import format_datetime, parsedate_to_datetime
from http.cookies import SimpleCookie
from typing import Any
from uuid import UUID

from itsdangerous import BadSignature, URLSafeTimedSerializer
from markupsafe import Markup
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(frozen=True)
class CookieSettings:
    """As Flask's ``SESSION_COOKIE_*``. ``keys`` are the secret key and, before it, those that are still believed."""

    keys: tuple[str | bytes, ...]
    name: str = "session"
    path: str = "/"
    domain: str | None = None
    secure: bool = False
    httponly: bool = True
    samesite: str | None = None
    partitioned: bool = False
    lifetime: int = 31 * 24 * 60 * 60
    """Seconds that a permanent session lives after its last use."""
    refresh: bool = True
    """Whether a permanent session's cookie is sent anew with each response."""


class Session(dict[str, Any]):
    """A dict that knows whether it was looked at and changed, and says so by Flask's own names."""

    def __init__(self, values: Iterable[Any] = (), *, new: bool = False) -> None:
        super().__init__(values)
        self.new = new
        self.accessed = False
        self.modified = False

    @property
    def permanent(self) -> bool:
        return bool(self.get("_permanent", False))

    @permanent.setter
    def permanent(self, value: bool) -> None:
        self["_permanent"] = bool(value)

    def mark_accessed(self) -> None:
        self.accessed = True

    def pop(self, key: str, *default: Any) -> Any:
        self.accessed, self.modified = True, self.modified or dict.__contains__(self, key)
        return super().pop(key, *default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        self.accessed, self.modified = True, self.modified or not dict.__contains__(self, key)
        return super().setdefault(key, default)


def _reading(name: str) -> Callable[..., Any]:
    original = getattr(dict, name)

    def method(self: Session, *args: Any) -> Any:
        self.accessed = True
        return original(self, *args)

    return method


def _changing(name: str) -> Callable[..., Any]:
    original = getattr(dict, name)

    def method(self: Session, *args: Any, **values: Any) -> Any:
        self.accessed = self.modified = True
        return original(self, *args, **values)

    return method


for _name in ("__getitem__", "__contains__", "__iter__", "__len__", "get", "items", "keys", "values"):
    setattr(Session, _name, _reading(_name))
for _name in ("__setitem__", "__delitem__", "__ior__", "clear", "popitem", "update"):
    setattr(Session, _name, _changing(_name))


class FlaskSessions:
    """ASGI middleware: ``request.session`` is what Flask's cookie says, and what changes in it goes into the cookie."""

    def __init__(self, app: ASGIApp, settings: CookieSettings) -> None:
        self.app = app
        self.settings = settings
        self._signed = URLSafeTimedSerializer(
            [key.encode() if isinstance(key, str) else key for key in settings.keys],
            salt="cookie-session",
            serializer=TaggedJSON(),
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha1},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        scope["session"] = session = self._opened(scope)

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._saved(session, list(message.get("headers", ())))}
            await send(message)

        await self.app(scope, receive, send_with_cookie)

    def _opened(self, scope: Scope) -> Session:
        header = b"; ".join(value for name, value in scope["headers"] if name == b"cookie").decode("latin-1")
        if self.settings.name not in header or (value := _cookie(header, self.settings.name)) is None:
            return Session(new=True)
        try:
            return Session(self._signed.loads(value, max_age=self.settings.lifetime))
        except BadSignature:
            return Session()

    def _saved(self, session: Session, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        accessed, modified = session.accessed, session.modified  # before this looks itself
        permanent, empty = bool(dict.get(session, "_permanent")), not dict.__len__(session)
        if accessed:
            headers = _varying(headers)
        if empty and modified:
            return [*_varying(headers), (b"set-cookie", self._deleted().encode("latin-1"))]
        if not empty and (modified or (permanent and self.settings.refresh)):
            value = self._signed.dumps(dict(dict.items(session)))
            return [*_varying(headers), (b"set-cookie", self._written(str(value), permanent).encode("latin-1"))]
        return headers

    def _written(self, value: str, permanent: bool) -> str:
        expires = _date(time.time() + self.settings.lifetime) if permanent else None
        return self._attributes([f"{self.settings.name}={value}"], expires, None)

    def _deleted(self) -> str:
        return self._attributes([f"{self.settings.name}="], _date(0), 0)

    def _attributes(self, parts: list[str], expires: str | None, age: int | None) -> str:
        settings = self.settings
        parts += [f"Domain={settings.domain}"] if settings.domain else []
        parts += [f"Expires={expires}"] if expires is not None else []
        parts += [f"Max-Age={age}"] if age is not None else []
        parts += ["Secure"] if settings.secure or settings.partitioned else []
        parts += ["HttpOnly"] if settings.httponly else []
        parts += [f"Path={settings.path}"]
        parts += [f"SameSite={settings.samesite}"] if settings.samesite else []
        parts += ["Partitioned"] if settings.partitioned else []
        return "; ".join(parts)


class TaggedJSON:
    """What Flask puts into the cookie: JSON with tags for tuples, bytes, markup, UUIDs and times."""

    def dumps(self, value: Any, /) -> str:
        return json.dumps(_tagged(value), separators=(",", ":"), default=_plain)

    def loads(self, text: str | bytes, /) -> Any:
        return _untagged(json.loads(text))


def _plain(value: Any) -> str:
    if isinstance(value, date):
        return _date(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"a session can't keep {type(value).__name__}")


def _tagged(value: Any) -> Any:
    if isinstance(value, dict):
        if len(value) == 1 and (key := next(iter(value))) in {f"{tag}{more}" for tag in _TAGS for more in ("", "__")}:
            return {" di": {f"{key}__": _tagged(value[key])}}
        return {key: _tagged(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return {" t": [_tagged(each) for each in value]}
    if isinstance(value, list):
        return [_tagged(each) for each in value]
    if isinstance(value, bytes):
        return {" b": base64.b64encode(value).decode("ascii")}
    if callable(getattr(value, "__html__", None)):
        return {" m": str(value.__html__())}
    if isinstance(value, UUID):
        return {" u": value.hex}
    if isinstance(value, datetime):
        return {" d": _date(value.replace(tzinfo=value.tzinfo or UTC).timestamp())}
    return value


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_untagged(each) for each in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and (key := next(iter(value))) in _TAGS:
        return _TAGS[key](value[key])
    return {key: _untagged(each) for key, each in value.items()}


def _untagged_dict(value: dict[str, Any]) -> dict[str, Any]:
    key = next(iter(value))
    return {key[:-2]: _untagged(value[key])}


_TAGS: dict[str, Callable[[Any], Any]] = {
    " di": _untagged_dict,
    " t": lambda value: tuple(_untagged(value)),
    " b": base64.b64decode,
    " m": Markup,
    " u": UUID,
    " d": parsedate_to_datetime,
}


def _date(moment: float) -> str:
    return format_datetime(datetime.fromtimestamp(moment, UTC), usegmt=True)


def _cookie(header: str, name: str) -> str | None:
    found: MutableMapping[str, Any] = SimpleCookie()
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name and name not in found:
            found[name] = value.strip('"')
    morsel = found.get(name)
    return None if morsel is None else str(morsel.value)


def _varying(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    values = [part.strip() for name, value in headers if name.lower() == b"vary" for part in value.split(b",")]
    if not any(part.lower() == b"cookie" for part in values):
        values.append(b"Cookie")
    return [*(pair for pair in headers if pair[0].lower() != b"vary"), (b"vary", b", ".join(values))]
