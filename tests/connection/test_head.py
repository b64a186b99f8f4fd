"""The head of a response as bytes, and what is remembered of those before it."""

from __future__ import annotations

from typing import Any

import pytest

from graft.bridge import environ
from graft.connection import head, request_parser

PLAIN = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"5")]


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "_known", {})
    monkeypatch.setattr(request_parser, "_targets", {})
    monkeypatch.setattr(request_parser, "_names", {})
    monkeypatch.setattr(environ, "_KEYS", {})
    monkeypatch.setattr(environ, "_known_paths", {})
    monkeypatch.setattr(environ, "_known_ends", {})


def test_the_same_headers_give_the_same_lines_again() -> None:
    first = head.head_lines(PLAIN)
    assert first == (b"\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 5", 5, 0)
    assert head.head_lines(list(PLAIN)) is first
    assert head.head_lines([*PLAIN, (b"connection", b"close")])[2] & head.CLOSE


def test_pairs_that_are_lists_are_headers_too() -> None:
    for pairs in ([list(pair) for pair in PLAIN], [(name, bytearray(value)) for name, value in PLAIN]):
        again: Any = pairs
        assert head.head_lines(iter(again)) == head.head_lines(again) == head.head_lines(PLAIN)


@pytest.mark.parametrize("name", [b"Set-Cookie", b"etag", b"location", b"date", b"x-request-id"])
def test_what_is_another_each_time_is_not_remembered(name: bytes) -> None:
    head.head_lines([*PLAIN, (name, b"1")])
    assert not head._known


def test_what_an_app_makes_up_does_not_fill_the_memory() -> None:
    for number in range(3000):
        head.head_lines([(b"content-length", b"%d" % number)])
        head.head_lines([(b"x-long", b"%d" % number * 500)])
        request_parser._learn_target(b"/%d" % number)
        request_parser._learn_target(b"/%d" % number + b"x" * 500)
    assert len(head._known) <= head.SETS_KEPT
    assert len(request_parser._targets) <= request_parser.TARGETS_KEPT
    assert sum(len(lines) for lines, _, _ in head._known.values()) < 100_000


def test_what_strangers_make_up_does_not_fill_the_memory() -> None:
    for number in range(3000):
        for word in (b"x-%d" % number, b"x" * 500 + b"%d" % number):
            assert request_parser._learn_name(word)[0] == word
            scope = {"type": "http", "method": "GET", "path": "/" + word.decode(), "raw_path": b"/" + word,
                     "client": ("192.0.2.1", number), "headers": [(word, b"1")]}  # fmt: skip
            made = environ.build_environ(scope)
            assert made["PATH_INFO"] == scope["path"]
            assert made["REMOTE_PORT"] == str(number)
    assert len(request_parser._names) <= request_parser.NAMES_KEPT
    assert max(map(len, request_parser._names)) < 200
    assert len(environ._KEYS) <= environ.KNOWN_NAMES
    assert max(map(len, environ._KEYS)) < 200
    assert len(environ._known_paths) <= environ.KNOWN_PATHS
    assert all(len(path) < 200 for path, _, _ in environ._known_paths)
    assert len(environ._known_ends) <= environ.KNOWN_ENDS


@pytest.mark.parametrize("bad", [(b"x-a", b"1\r\nx-b: 2"), (b"x a", b"1"), (b"content-length", b"five")])
def test_what_is_no_header_is_refused_each_time(bad: tuple[bytes, bytes]) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError):
            head.head_lines([*PLAIN[:1], bad])


def test_the_length_is_taken_out_of_the_lines() -> None:
    lines, _, _ = head.head_lines([PLAIN[1], PLAIN[0], (b"x-content-length", b"9")])
    assert head.without_length(lines) == b"\r\ncontent-type: text/plain; charset=utf-8\r\nx-content-length: 9"
    assert head.without_length(head.head_lines(PLAIN)[0]) == b"\r\ncontent-type: text/plain; charset=utf-8"
