"""``GRAFT_MAX_BODY`` holds for every request, whoever answers it and however its body comes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bridge.wire import connect, read_all, read_until
from tests.parts.gateway import PROJECT, serving

LIMIT = 300_000
"""More than what is read before a thread is asked for, and than one read of a socket."""

SWITCHES = """
["POST /switched"]
share = 100
["POST /run"]
share = 100
"""
OF_FLASK = ("/legacy", "/native", "/streamed", "/switched", "/run", "/run-without-hooks", "/mounted/size", "/hosted")
OF_WSGI = ("/legacy", "/native", "/streamed", "/mounted/size", "/hosted")
TARGETS = [("app", path) for path in OF_FLASK] + [("plain", path) for path in OF_WSGI]


@contextmanager
def gateway_before(legacy: str, folder: Path) -> Iterator[int]:
    """The port of the gateway in front of ``legacy``, with the limit."""
    for name in ("gateway.py", "gunicorn.conf.py"):
        shutil.copy(PROJECT / name, folder)
    (folder / "switches.toml").write_text(SWITCHES if legacy == "app" else "")
    env = {
        "GRAFT_LEGACY": f"tests.contract.body_limit_legacy:{legacy}",
        "GRAFT_NATIVE": "tests.contract.body_limit_native",
        "GRAFT_MAX_BODY": str(LIMIT),
        "WEB_CONCURRENCY": "1",
    }
    with serving("gunicorn", folder=folder, log=folder / "log", env=env, ready="/_graft/health") as gateway:
        yield int(gateway.base_url.rpartition(":")[2])


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """By the name of the legacy app: Flask's, and one that is not."""
    make = tmp_path_factory.mktemp
    with gateway_before("app", make("flask")) as flask, gateway_before("plain", make("wsgi")) as wsgi:
        yield {"app": flask, "plain": wsgi}


def head(path: str, *headers: str) -> bytes:
    host = "hosted" if path == "/hosted" else "test"
    return "\r\n".join([f"POST {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]).encode()


def declared(port: int, path: str, size: int) -> bytes:
    with connect(port) as connection:
        connection.sendall(head(path, f"Content-Length: {size}") + b"x" * size)
        return read_all(connection)


def chunked(port: int, path: str, size: int) -> bytes:
    with connect(port) as connection:
        connection.sendall(head(path, "Transfer-Encoding: chunked") + in_chunks(size))
        return read_all(connection)


def asked_for(port: int, path: str, size: int) -> bytes:
    """The client sends its body when it is told to, which it is unless the length alone is too much."""
    with connect(port) as connection:
        connection.sendall(head(path, f"Content-Length: {size}", "Expect: 100-continue"))
        answer = read_until(connection, b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 100"):
            return answer + read_all(connection)
        assert size <= LIMIT, "told to send a body that is refused anyway"
        connection.sendall(b"x" * size)
        return read_all(connection)


def asked_for_in_chunks(port: int, path: str, size: int) -> bytes:
    with connect(port) as connection:
        connection.sendall(head(path, "Transfer-Encoding: chunked", "Expect: 100-continue"))
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        connection.sendall(in_chunks(size))
        return read_all(connection)


def in_chunks(size: int) -> bytes:
    chunk = b"186a0\r\n" + b"x" * 100_000 + b"\r\n"
    rest = size % 100_000
    return chunk * (size // 100_000) + (b"%x\r\n%b\r\n" % (rest, b"x" * rest) if rest else b"") + b"0\r\n\r\n"


@pytest.mark.parametrize("send", [declared, chunked, asked_for, asked_for_in_chunks])
@pytest.mark.parametrize(("legacy", "path"), TARGETS)
def test_a_body_above_the_limit_is_413(
    legacy: str, path: str, send: Callable[[int, str, int], bytes], ports: dict[str, int]
) -> None:
    below = send(ports[legacy], path, LIMIT)
    assert below.startswith(b"HTTP/1.1 200"), below
    assert below.endswith((b"\r\n\r\n%d" % LIMIT, b"\r\n%d\r\n0\r\n\r\n" % LIMIT)), below
    side = b"legacy" if path == "/legacy" else b"native"
    assert re.search(rb"\r\nx-served-by: (\w+)\r\n", below)[1] == side
    above = send(ports[legacy], path, LIMIT + 1)
    assert above.startswith(b"HTTP/1.1 413"), above
