"""Throttle: who guessed wrong too often has to wait."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil


class Throttle:
    """``allowed`` failures within ``window`` seconds, then the address waits until the window is over.

    Addresses of one IPv6 network of 48 bits count as one: that is what one customer may have, and so 65,536 networks of
    64 bits to guess from. IPv4 addresses count apart: their neighbours are strangers, and nobody has many.
    At most ``remembered`` addresses are kept, the ones that failed last.
    """

    def __init__(
        self,
        allowed: int = 10,
        window: float = 60.0,
        remembered: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = allowed
        self._window = window
        self._remembered = remembered
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, address: str) -> int:
        """Whole seconds until this address may try again; 0 when it may now."""
        count, since = self._failures.get(_network(address), (0, 0.0))
        if count < self._allowed:
            return 0
        return max(0, ceil(since + self._window - self._clock()))

    def failed(self, address: str) -> None:
        network, now = _network(address), self._clock()
        count, since = self._failures.pop(network, (0, now))
        if now - since >= self._window:
            count, since = 0, now
        self._failures[network] = (count + 1, since)
        if len(self._failures) > self._remembered:
            self._failures.popitem(last=False)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    if parsed.version == 4:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((parsed.packed[:6] + bytes(10), 48)))
