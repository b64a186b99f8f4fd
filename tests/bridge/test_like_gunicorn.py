"""What a client gets from a WSGI app under Graft, compared with what it gets from Gunicorn's gthread worker."""

from __future__ import annotations

import http.client
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graft.bridge.mount import LegacyMount
from graft.connection.protocol import Connection
from tests.bridge import wsgi_answers
from tests.bridge.wire import get, post, serving, talk
from tests.parts import Process, accepts, free_port

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Of Gunicorn and of Graft."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", "/dev/null", "-k", "gthread", "--threads", "4"]
    bind = ["-b", f"127.0.0.1:{port}", "tests.bridge.wsgi_answers:app"]
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    with Process([*command, *bind], log, cwd=ROOT) as gunicorn:
        gunicorn.wait_for(lambda: accepts(port), 30, "Gunicorn")
        with serving(LegacyMount(wsgi_answers.app, 4), http=Connection) as graft:
            yield port, graft


class Answer:
    """The last answer in ``received``, as a client reads it, and how it ended."""

    def __init__(self, received: bytes, method: str) -> None:
        self.received = received
        head = received.partition(b"\r\n\r\n")[0]
        lines = head.split(b"\r\n")
        self.status = lines[0]
        self.headers = [_header(line) for line in lines[1:]]
        self.chunked = (b"transfer-encoding", b"chunked") in self.headers
        response = http.client.HTTPResponse(_Received(received), method=method)  # type: ignore[arg-type]
        try:
            response.begin()
            self.body, self.whole = response.read(), True
        except http.client.IncompleteRead as error:
            self.body, self.whole = error.partial, False
        except http.client.HTTPException as error:
            self.body, self.whole = repr(error).encode(), False

    @property
    def seen(self) -> dict[str, Any]:
        """What is compared. Left out: the server's own headers and error page, and how the body is framed."""
        status = self.status.partition(b" ")[2]
        if status[:3] == b"500" and status != b"500 INTERNAL SERVER ERROR":  # the app's own have the phrase of Werkzeug
            return {"status": 500}
        frame = (b"content-length", b"%d" % len(self.body))
        return {
            "status": status.rstrip(),
            "headers": [pair for pair in self.headers if pair[0] not in _OF_THE_SERVER and pair != frame],
            "server headers": sorted(name for name, _ in self.headers if name in (b"server", b"date")),
            "body": self.body,
            "whole": self.whole,
        }


class _Received(io.BytesIO):
    def makefile(self, *_: Any) -> io.BytesIO:
        return self


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip()


_OF_THE_SERVER = (b"server", b"date", b"connection", b"transfer-encoding")


def ask(ports: tuple[int, int], request: bytes, method: str = "GET") -> list[Answer]:
    return [Answer(talk(port, request), method) for port in ports]


OTHERWISE = {
    # Gunicorn writes "HTTP/1.1 None" or breaks off after the head. Here these are errors of the app: 500.
    "starts-never": 500,
    "starts-never-without-body": 500,
    "text-item": 500,
    "bytearray-item": 500,
    "memoryview-item": 500,
    "bytes": 500,
    "file-in-text": 500,
    # Gunicorn refuses what PEP 3333 allows: start_response after an empty first item.
    "starts-after-empty-item": 201,
    # Gunicorn sends the headers of the first start_response beside those of the second, and cuts by the first's length.
    "starts-again": 502,
    # A length without a body keeps a client waiting until the connection's end: of a file that the proxy sends, none.
    "length-without-body": 200,
    "length-with-empty-item": 200,
    # The length of a 304 is left out: servers other than Graft's own would miss the body.
    "not-modified-with-length": 304,
    "not-modified-with-body": 304,
    # Gunicorn needs its own entries of the environ afterwards, and answers 500.
    "clears-environ": 200,
}
"""Where Graft's answer is another one, with its status and the reason."""


@pytest.mark.parametrize("path", wsgi_answers.ANSWERS)
def test_an_answer_is_gunicorns(ports: tuple[int, int], path: str) -> None:
    for version in ("1.1", "1.0"):
        for method in ("GET", "HEAD"):
            request = get(f"/{path}", "X-A: b", method=method).replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1)
            gunicorn, graft = ask(ports, request, method)
            if path in OTHERWISE:
                assert graft.seen != gunicorn.seen or method == "HEAD"
                assert graft.status.split()[1] == b"%d" % OTHERWISE[path]
            else:
                assert graft.seen == gunicorn.seen
            assert not (graft.chunked and version == "1.0")


@pytest.mark.parametrize("method", ["POST", "PUT", "PROPFIND", "PURGE", "M-SEARCH", "QUERY"])
def test_a_method_reaches_the_app(ports: tuple[int, int], method: str) -> None:
    gunicorn, graft = ask(ports, post("/echo", b"abc").replace(b"POST", method.encode(), 1), method)
    assert graft.seen == gunicorn.seen


@pytest.mark.parametrize("method", ["FOO", "get"])
def test_a_method_that_the_parser_does_not_know_is_a_bad_request(ports: tuple[int, int], method: str) -> None:
    _, graft = ask(ports, post("/echo", b"abc").replace(b"POST", method.encode(), 1), method)
    assert graft.status == b"HTTP/1.1 400 Bad Request"
