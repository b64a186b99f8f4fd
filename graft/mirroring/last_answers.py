"""The last answers to each input: with them a side is compared with itself, and nobody is asked twice for it.

An input is what may decide an answer: method, path, query, the headers that applications go by, and the body. Bounded
in number, in bytes and in age. Lives on the mirror's loop; not shared.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Answers:
    """What both sides said to one input, and when."""

    native: Answer
    legacy: Answer
    at: float

    @property
    def size(self) -> int:
        return len(self.native.body) + len(self.legacy.body) + 1000


def input_of(key: RouteKey, scope: Scope, body: bytes) -> bytes:
    """A hash of everything that may decide the answer."""
    asked = f"{key} {scope['path']}?".encode("utf-8", "replace") + scope["query_string"]
    digest = hashlib.blake2b(asked, digest_size=16)
    for name, value in scope["headers"]:
        if name in _DECIDING:
            digest.update(b"\0" + name + b"\0" + value)
    digest.update(b"\0\0" + body)
    return digest.digest()


class LastAnswers:
    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._kept: OrderedDict[bytes, Answers] = OrderedDict()
        self._room = most_bytes

    def exchange(self, asked: bytes, native: Answer, legacy: Answer, now: float) -> Answers | None:
        """Keep these two as the last answers to ``asked``; the ones before come back, if they are not too old."""
        before = self._kept.pop(asked, None)
        if before is not None:
            self._room += before.size
        answers = Answers(native, legacy, now)
        self._kept[asked] = answers
        self._room -= answers.size
        while self._kept and (self._room < 0 or len(self._kept) > MOST):
            _, oldest = self._kept.popitem(last=False)
            self._room += oldest.size
        return before if before is not None and now - before.at <= LONGEST else None
