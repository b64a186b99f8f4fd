"""Asking a gateway over TCP and over a unix socket."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from graft.errors import GraftError
from graft.gateways.client import GatewayAnswered, GatewayClient, GatewayUnreachable


@contextmanager
def answering(server: socket.socket, status: str, body: bytes) -> Iterator[list[bytes]]:
    """A server of one request, which is in the list at the end."""
    requests: list[bytes] = []

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            data = b""
            while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < _length(data):
                data += connection.recv(65536)
            requests.append(data)
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield requests
    finally:
        thread.join(10)
        server.close()


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)content-length: (\d+)", head)
    return int(found[1]) if found else 0


def listening(kind: str, folder: Path) -> tuple[socket.socket, str]:
    if kind == "unix":
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(folder / "graft.sock"))
        server.listen()
        return server, f"unix:{folder}/graft.sock"
    server = socket.create_server(("127.0.0.1", 0))
    return server, f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_json_goes_there_and_comes_back(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # of the environment: not asked
    server, address = listening(kind, tmp_path)
    with answering(server, "200 OK", b'{"routes": []}') as requests:
        assert GatewayClient(address, "secret").send("PATCH", "/_graft/api/routes?x=1", {"share": 5}) == {"routes": []}
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"PATCH /_graft/api/routes?x=1 HTTP/1.1\r\n")
    assert b"Authorization: Bearer secret" in head
    assert json.loads(body) == {"share": 5}


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        ("401 Unauthorized", b"", "Is GRAFT_ADMIN_TOKEN the gateway's?"),
        ("404 Not Found", b'{"error": {"code": "x", "message": "There is no route."}}', "There is no route."),
        ("502 Bad Gateway", b"<html>", "Is it a Graft gateway of this version?"),
        ("200 OK", b"<html>", "Is it a Graft gateway of this version?"),
    ],
)
def test_a_refusal_says_what_the_gateway_says(status: str, body: bytes, said: str, tmp_path: Path) -> None:
    server, address = listening("unix", tmp_path)
    with answering(server, status, body), pytest.raises(GatewayAnswered) as refused:
        GatewayClient(address, "token").get("/_graft/api/routes")
    assert (refused.value.status, said in str(refused.value)) == (int(status[:3]), True)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "unix:/nowhere/graft.sock", "http://127.0.0.1:9/"])
def test_a_gateway_that_is_down_is_one_sentence(address: str) -> None:
    with pytest.raises(GatewayUnreachable, match=r"can't be asked: .* Is it up\?"):
        GatewayClient(address, "token").get("/_graft/api/routes")


@pytest.mark.parametrize("address", ["ftp://x", "localhost:8000", "unix:", "http://", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(GraftError, match="is no address of a gateway"):
        GatewayClient(address)
