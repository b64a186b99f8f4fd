from __future__ import annotations

from itertools import product

import pytest
from uvicorn.middleware.proxy_headers import _TrustedHosts

from graft.connection.trusted_hosts import TrustedHosts

SETTINGS = [
    "*",
    "",
    "127.0.0.1",
    "127.0.0.1, ::1",
    "10.0.0.0/8,192.168.1.0/24",
    "10.1.2.3/8",  # bits set behind the network: a text, and no address is it
    "2001:db8::/32",
    "2001:0db8:0:0::1",
    "proxy.internal",
    "unix:",
    "*,127.0.0.1",
    "127.0.0.1,,",
]
HOSTS = [
    None,
    "",
    "127.0.0.1",
    "10.1.2.3",
    "10.1.2.3/8",
    "192.168.1.77",
    "192.168.2.1",
    "::1",
    "2001:db8::1",
    "2001:DB8:0::1",
    "::ffff:127.0.0.1",
    "proxy.internal",
    "unix:",
    "*",
    "a" * 300,
]


@pytest.mark.parametrize(("setting", "host"), list(product(SETTINGS, HOSTS)))
def test_it_trusts_whom_uvicorn_trusts(setting: str, host: str | None) -> None:
    assert (host in TrustedHosts(setting)) is (host in _TrustedHosts(setting))
