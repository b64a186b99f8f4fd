"""Addresses as URLs: the one that a server listens at, and where a client on its machine finds that."""

from __future__ import annotations

from urllib.parse import urlsplit

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def http_address(host: str, port: int, *, tls: bool = False) -> str:
    return f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"


def local_host(host: str) -> str:
    """Where a client on this machine finds a server that listens at ``host``."""
    return _ANYWHERE.get(host, host)


def local_address(host: str, port: int) -> str:
    return http_address(local_host(host), port)


def is_same_address(one: str, other: str) -> bool:
    """Whether two addresses of gateways, ``unix:/path`` or ``http://host:port``, lead a client of this machine to the
    same one."""
    return _local(one) == _local(other)


def _local(address: str) -> tuple[str, str, int | None, str]:
    parts = urlsplit(address.rstrip("/"))
    host = (parts.hostname or "").replace("localhost", "127.0.0.1")
    try:
        return parts.scheme, local_host(host), parts.port, parts.path
    except ValueError:
        return parts.scheme, address, None, ""
