"""Addresses as URLs: the one that a server listens at, and where a client on its machine finds that."""

from __future__ import annotations

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def http_address(host: str, port: int, *, tls: bool = False) -> str:
    return f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"


def local_host(host: str) -> str:
    """Where a client on this machine finds a server that listens at ``host``."""
    return _ANYWHERE.get(host, host)


def local_address(host: str, port: int) -> str:
    return http_address(local_host(host), port)
