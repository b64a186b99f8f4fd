"""The last answers to each input: with them a side is compared with itself, and nobody is asked twice for it.

An input is what may decide an answer: method, path, query, the headers that applications go by, and the body. Bounded
in number, in bytes and in age. Lives on the mirror's loop; not shared.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import lru_cache
from typing import NamedTuple

from graft.mirroring.answers import Answer
from graft.types import RouteKey, Scope

LONGEST = 60.0
"""Seconds between two answers that are compared: what differs over a longer time is new data."""

MOST = 2000
MOST_BYTES = 8 * 1024 * 1024

_DECIDING = frozenset(
    b"host cookie authorization accept accept-language accept-encoding content-type range origin x-requested-with "
    b"x-api-key x-forwarded-host x-forwarded-proto x-forwarded-prefix".split()
)


class Answers(NamedTuple):
    """What both sides said to one input, and when."""

    native: Answer
    legacy: Answer
    at: float

    @property
    def size(self) -> int:
        return len(self.native.body) + len(self.legacy.body) + 1000


def input_of(key: RouteKey, scope: Scope, body: bytes) -> bytes:
    """A hash of everything that may decide the answer."""
    path = scope["path"].encode("utf-8", "replace")
    # A path may have any character; what comes behind it has no \0.
    parts = [_encoded(key), b"%d" % len(path), path, scope["query_string"]]
    for pair in scope["headers"]:
        if pair[0] in _DECIDING:
            parts += pair
    parts += (b"", body)
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()


@lru_cache(1000)
def _encoded(key: RouteKey) -> bytes:
    return "\0".join(key).encode("utf-8", "replace")


class LastAnswers:
    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._kept: OrderedDict[bytes, Answers] = OrderedDict()
        self._room = most_bytes

    def exchange(self, asked: bytes, native: Answer, legacy: Answer, now: float) -> Answers | None:
        """Keep these two as the last answers to ``asked``; the ones before come back, if they are not too old."""
        before = self._kept.pop(asked, None)
        if before is not None:
            self._room += before.size
        self._kept[asked] = answers = Answers(native, legacy, now)
        self._room -= answers.size
        while self._kept and (self._room < 0 or len(self._kept) > MOST):
            _, oldest = self._kept.popitem(last=False)
            self._room += oldest.size
        return before if before is not None and now - before.at <= LONGEST else None
