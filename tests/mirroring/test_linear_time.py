"""Every pattern that sees users' data takes linear time, whatever somebody sends to make it take more.

Families of hostile texts are generated: short pieces that begin, but do not end, what the patterns look for, repeated
and mixed. Each is measured at a size and at four times the size; linear work takes four times as long, quadratic work
sixteen times.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable

import pytest

from graft.mirroring import redact
from graft.mirroring.redact import Redactor

SMALL, TIMES = 8 * 1024, 4
MOST = 2.5**2
"""Time for four times the size, at most: twice the size may take 2.5 times as long."""
FLOOR = 0.003
"""Seconds below which a measurement says nothing."""

PIECES = [
    "<input ", "<input type=hidden name=", "<a href='", '<a href="', "<", "<!--", "<textarea name=token ", "</", "&lt;",
    "a", "0", "A", "_", "-", "a-", "0-", "1 ", "4 1", "+1", "+49 ", "(555", "00 ", "0.", "1.1.", "1:", ":", "::", "f:",
    "@", "a@", "a.", "a@b.", "%40", "a+", "eyJ", "eyJaaaaaa.", "Bearer ", "Bearer  ", "Basic a", "token", "token=",
    "token ", "token :", 'token="', "token='", "password", "password =", "password'", '\\"', "\\", '"', "'", "=", "==",
    "=>", "&", "a=", "a=&", ";", "://", "a://", "a://b:", "https://a:", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----",
    "/", "/reset/", "/a", "/reset", "reset/", "GB29", "DE89 ", "AA11AAAA", "AB12 ", "123-45-", "123.456.", "ABCDEF01",
    " ", "\t", "\n", "\r\n", "é", "密码", "пароль ", "x-api-key: ", "cookie: ", "]", "')",
]  # fmt: skip


def families() -> list[str]:
    chance = random.Random(15)
    pairs = ["".join(pair) for pair in itertools.product(PIECES, repeat=2)]
    threes = ["".join(chance.choices(PIECES, k=3)) for _ in range(50)]
    return PIECES + chance.sample(pairs, 100) + threes


def seconds(work: Callable[[str], object], text: str) -> float:
    started = time.thread_time()
    work(text)
    return time.thread_time() - started


def assert_linear(work: Callable[[str], object], families: list[str], before: str = "") -> None:
    for piece in families:
        small = before + (piece * SMALL)[:SMALL]
        large = before + (piece * SMALL * TIMES)[: SMALL * TIMES]
        for attempt in range(5):  # a busy machine makes single measurements too large, never too small
            short, long = seconds(work, small), seconds(work, large)
            if long <= MOST * max(short, FLOOR):
                break
            assert attempt < 4, f"{piece!r}: {len(small)} characters take {short:.3f} s, {len(large)} take {long:.3f} s"


@pytest.fixture
def unbounded(monkeypatch: pytest.MonkeyPatch) -> Redactor:
    """A redactor that looks at the whole text: the bound would hide what the patterns do."""
    monkeypatch.setattr(redact, "LARGEST_TEXT", 10**9)
    monkeypatch.setattr(redact, "LARGEST_JSON", 10**9)
    return Redactor(["x-own"])


@pytest.mark.parametrize("kind", ["text/plain", "text/html", "application/x-www-form-urlencoded"])
def test_a_body_is_redacted_in_linear_time(unbounded: Redactor, kind: str) -> None:
    assert_linear(lambda text: unbounded.body(text.encode(), kind), families())


@pytest.mark.parametrize("work", ["url", "path", "query", "name"])
def test_a_url_is_redacted_in_linear_time(unbounded: Redactor, work: str) -> None:
    assert_linear(getattr(unbounded, work), [*PIECES, *random.Random(1).sample(families(), 20)])


def test_a_header_and_a_cookie_are_redacted_in_linear_time(unbounded: Redactor) -> None:
    for name in ("cookie", "set-cookie", "x-note", "location"):
        assert_linear(lambda text, name=name: unbounded.header(name, text.encode()), PIECES)  # type: ignore[misc]


def test_a_quarter_of_a_megabyte_takes_milliseconds() -> None:
    """What held every other user of the worker for a second."""
    redactor = Redactor()
    for text, kind in itertools.product(
        ["<input " * 36_000, "a" * 250_000], ["text/html", "text/plain", "application/json"]
    ):

        def redacted(text: str, kind: str = kind) -> str:
            return redactor.body(text.encode(), kind)

        assert min(seconds(redacted, text) for _ in range(5)) < 0.1
