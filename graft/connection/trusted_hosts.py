"""FORWARDED_ALLOW_IPS: the peers whose ``X-Forwarded-*`` headers are believed."""

from __future__ import annotations

import functools
import ipaddress

LONGEST_ADDRESS = 253  # of a DNS name; anything longer is no address, and would only fill the cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedHosts:
    """``hosts`` is ``*`` or has addresses and networks with commas between; what is neither is compared as text.

    The same peers as Uvicorn trusts for ``X-Forwarded-For`` and ``-Proto``: its own class for it is private. Immutable.
    """

    def __init__(self, hosts: str) -> None:
        self._all = hosts == "*"
        self._networks: list[Network] = []
        self._texts: set[str] = set()
        for host in filter(None, map(str.strip, hosts.split(","))):
            try:
                self._networks.append(ipaddress.ip_network(host))
            except ValueError:
                self._texts.add(host)
        self._is_trusted = functools.lru_cache(maxsize=4096)(self._find)

    def __contains__(self, host: str | None) -> bool:
        if self._all:
            return True
        return bool(host) and len(host or "") <= LONGEST_ADDRESS and self._is_trusted(host or "")

    def _find(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host in self._texts
        return any(address in network for network in self._networks)
