"""A client of a gateway's API, over TCP or a unix socket. It blocks; each request has a connection of its own."""

from __future__ import annotations

import json
import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from graft.errors import GraftError
from graft.gateways.addresses import local_host

__all__ = ["GatewayAnswered", "GatewayClient", "GatewayUnreachable"]

SECONDS = 10.0


class GatewayUnreachable(GraftError):
    """The gateway can't be asked: it is down, or this user may not speak to its socket."""


class GatewayAnswered(GraftError):
    """The gateway refuses. ``status`` is HTTP's, ``reason`` what the gateway says, if it says anything."""

    def __init__(self, address: str, status: int, reason: str | None) -> None:
        self.status = status
        self.reason = reason
        super().__init__(f"{address} answered {status}. {reason or 'Is it a Graft gateway of this version?'}")


class GatewayClient:
    """Asks the gateway at ``address``, ``http://host:port``, ``https://host:port`` or ``unix:/path``, as ``token``.

    Never through a proxy of the environment. Raises GraftError for what is no address.
    """

    def __init__(self, address: str, token: str | None = None, *, seconds: float = SECONDS) -> None:
        self.address = address.rstrip("/")
        self._parts = urlsplit(self.address)
        self._token = token
        self._seconds = seconds
        if self._parts.scheme == "unix" and self._parts.path:
            return
        if self._parts.scheme not in ("http", "https") or not self._parts.netloc:
            raise GraftError(f"{address} is no address of a gateway. Write http://HOST:PORT or unix:/PATH.")

    def get(self, path: str) -> Any:
        """The JSON of ``path``, as in ``/_graft/api/routes``. Raises GatewayUnreachable or GatewayAnswered."""
        return self.send("GET", path)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """The same for any method; ``body`` is sent as JSON, None is no body."""
        headers = {"Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            connection.request(method, f"{self._prefix}{path}", content, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise GatewayUnreachable(f"The gateway at {self.address} can't be asked: {reason}. Is it up?") from None
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise GatewayAnswered(self.address, answer.status, _reason(answer.status, text))
        try:
            return json.loads(text)
        except ValueError:
            raise GatewayAnswered(self.address, answer.status, None) from None

    @property
    def _prefix(self) -> str:
        return "" if self._parts.scheme == "unix" else self._parts.path.rstrip("/")

    def _connection(self) -> HTTPConnection:
        if self._parts.scheme == "unix":
            return _UnixConnection(self._parts.path, self._seconds)
        host = local_host(self._parts.hostname or "")
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            return HTTPSConnection(host, self._parts.port, timeout=self._seconds, context=context)
        return HTTPConnection(host, self._parts.port, timeout=self._seconds)


class _UnixConnection(HTTPConnection):
    """HTTP over the socket at ``path``."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _reason(status: int, text: bytes) -> str | None:
    """What the gateway itself says, or a guess."""
    if status == 401:
        return "Is GRAFT_ADMIN_TOKEN the gateway's?"
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return None
