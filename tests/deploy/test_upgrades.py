"""Requests that ask for another protocol: no byte of their bodies is ever run as a request, whoever stands in front."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import httpx2 as httpx
import pytest
import websockets

from tests.deploy.running import DEPLOY, Site, caddy, filled_in, nginx_settings, site
from tests.parts import free_port, nginx, program

SMUGGLED = b"GET /native?n=smuggled HTTP/1.1\r\nHost: localhost\r\nX-Smuggled: yes\r\n\r\n"
BODY = bytes(range(256)) * 1200  # 300 KB that are no HTTP
FRONTS = ["gunicorn", "nginx", "nginx below a prefix", "caddy", "uvicorn httptools", "uvicorn h11"]


@dataclass
class Front:
    """Where a client connects, and the site behind it."""

    name: str
    port: int
    site: Site
    trust: ssl.SSLContext | None = None
    prefix: str = ""

    @property
    def refuses(self) -> bool:
        """Uvicorn's own protocols show the app what they skipped the body of: all that it can do is to refuse."""
        return self.name.startswith("uvicorn")

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("localhost", self.port), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.trust.wrap_socket(connection, server_hostname="localhost") if self.trust else connection

    def send(self, *parts: bytes) -> bytes:
        """What comes back until the other end closes, or is silent for a while. The parts are sent apart."""
        answer = b""
        with self.connect() as connection:
            for part in parts:
                connection.settimeout(0.2 if part is not parts[-1] else 0.6)
                try:
                    connection.sendall(part)
                    while chunk := connection.recv(65536):
                        answer += chunk
                    break
                except TimeoutError:
                    continue
                except OSError:  # a reset: whoever refused did not wait for the body
                    break
        return answer

    def send_all(self, requests: list[tuple[bytes, ...]]) -> list[bytes]:
        """The answers to all, each over a connection of its own, several at a time."""
        with ThreadPoolExecutor(8) as senders:
            return list(senders.map(lambda parts: self.send(*parts), requests))

    def client(self) -> httpx.Client:
        scheme = "https" if self.trust else "http"
        return httpx.Client(verify=self.trust or False, base_url=f"{scheme}://localhost:{self.port}", timeout=20)


@pytest.fixture(scope="module", params=FRONTS)
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    name: str = request.param
    folder = tmp_path_factory.mktemp("upgrades")
    folder.chmod(0o755)
    upstream, http, https = free_port(), free_port(), free_port()
    uvicorn = name.partition(" ")[2] if name.startswith("uvicorn") else ""
    with ExitStack() as stack:
        served = stack.enter_context(site(folder, f"127.0.0.1:{upstream}", uvicorn=uvicorn, WEB_CONCURRENCY="1"))
        if name.startswith("nginx"):
            certificate, _ = nginx.certificate(folder)
            values = nginx_settings(folder, http=http, https=https, upstream=served.bind)
            config = filled_in(DEPLOY / "nginx" / "graft.conf.template", **values)
            if name != "nginx":
                below = filled_in(DEPLOY / "nginx" / "below-a-prefix.conf.template", NGINX_PREFIX="/portal")
                config = config.replace("    location = /_graft {", f"{below}\n    location = /_graft {{", 1)
            stack.enter_context(nginx.running(folder, config, (https,)))
            trust = ssl.create_default_context(cafile=str(certificate))
            yield Front(name, https, served, trust, "" if name == "nginx" else "/portal")
        elif name == "caddy":
            program("caddy", "apt install caddy")
            settings = {"CADDY_SITE": f"http://localhost:{http}", "CADDY_ADMIN": f"localhost:{https}",
                        "CADDY_UPSTREAM": served.bind, "CADDY_STATE": str(folder)}  # fmt: skip
            stack.enter_context(caddy(folder, http, **settings))
            yield Front(name, http, served)
        else:
            yield Front(name, upstream, served)


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]


def post(front: Front, *headers: str, body: bytes = BODY, line: str = "POST {}/upload HTTP/1.1") -> tuple[bytes, bytes]:
    length = (
        [] if any(header.startswith("Transfer-Encoding") for header in headers) else [f"Content-Length: {len(body)}"]
    )
    lines = [line.format(front.prefix), f"Host: localhost:{front.port}", *headers, *length, "", ""]
    return "\r\n".join(lines).encode(), body


UPGRADES = {
    "h2c, as Java's HttpClient asks": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEA"),
    "an unknown protocol": ("Connection: upgrade", "Upgrade: foo"),
    "TLS": ("Connection: Upgrade", "Upgrade: TLS/1.2"),
    "several": ("Connection: keep-alive, Upgrade", "Upgrade: h2c, websocket"),
    "twice": ("Connection: Upgrade", "Upgrade: h2c", "Upgrade: websocket"),
    "a WebSocket with a body": ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    "a WebSocket without a key": ("Connection: Upgrade", "Upgrade: websocket"),
    "without Connection": ("Upgrade: foo",),
}  # fmt: skip


LINES = ["POST {}/upload HTTP/1.1", "GET {}/native HTTP/1.1", "POST {}/upload HTTP/1.0"]


def test_a_request_that_asks_for_another_protocol_keeps_its_body(front: Front) -> None:
    """Sent in one piece, and with the body a moment later."""
    pairs = [post(front, *headers) for headers in UPGRADES.values()]
    answers = front.send_all([(head + body,) for head, body in pairs] + pairs)
    for kind, answer in zip([*UPGRADES, *UPGRADES], answers, strict=True):
        if front.refuses:
            assert statuses(answer) in ([200], [400], []), (kind, answer)
        else:
            assert statuses(answer) == [200], (kind, answer)
            said = json.loads(answer.partition(b"\r\n\r\n")[2].strip())
            assert said == {"size": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest()}, kind


@pytest.mark.parametrize("line", LINES)
def test_a_body_is_never_run_as_a_request(front: Front, line: str) -> None:
    bodies = [b"\r\n" * blank + SMUGGLED for blank in (0, 150_000)]
    pairs = [post(front, *headers, body=body, line=line) for headers in UPGRADES.values() for body in bodies]
    for answer in front.send_all([(head + body,) for head, body in pairs] + pairs):
        assert len(statuses(answer)) <= 1, answer
        assert b"n=smuggled" not in answer


def test_a_body_in_chunks_is_never_run_as_a_request(front: Front) -> None:
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    headers = UPGRADES["an unknown protocol"]
    answer = front.send(*post(front, *headers, "Transfer-Encoding: chunked", body=chunks))
    assert len(statuses(answer)) <= 1, answer
    assert b"n=smuggled" not in answer
    if not front.refuses:
        assert b'"size":%d' % len(SMUGGLED) in answer.replace(b" ", b"")


def test_connect_is_refused_and_its_body_is_not_run(front: Front) -> None:
    line = "CONNECT localhost HTTP/1.1"
    head, body = post(front, body=SMUGGLED, line=line)
    for answer in front.send_all([(head + body,), (head, body)]):
        assert [status for status in statuses(answer) if status < 400] == [], answer
        assert b"n=smuggled" not in answer


def test_nothing_is_run_after_connection_close_or_after_a_request_of_http_1_0(front: Front) -> None:
    first = f"GET {front.prefix}/native?n=1 HTTP/1.1\r\nHost: localhost:{front.port}\r\n".encode()
    for request in (first + b"Connection: close\r\n\r\n", first.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n"):
        answer = front.send(request + SMUGGLED)
        assert statuses(answer) == [200]
        assert b"n=smuggled" not in answer


def test_nothing_is_run_after_what_can_not_be_parsed(front: Front) -> None:
    for broken in (
        b"\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ):
        answer = front.send(broken + SMUGGLED)
        assert [status for status in statuses(answer) if status < 400] == [], answer
        answer = front.send(broken, SMUGGLED)
        assert [status for status in statuses(answer) if status < 400] == [], answer


async def test_websockets_go_on(front: Front) -> None:
    address = f"{'wss' if front.trust else 'ws'}://localhost:{front.port}{front.prefix}/echo"
    async with websockets.connect(address, ssl=front.trust, proxy=None) as connection:
        await connection.send("hello")
        assert await connection.recv() == "hello from 127.0.0.1"


def test_no_visitor_gets_an_answer_of_somebody_else(front: Front) -> None:
    """One attacker, and four others with a number in each of their requests."""
    head, body = post(front, "Connection: upgrade", "Upgrade: foo", line="GET {}/native?n=attack HTTP/1.1",
                      body=b"\n" * 300_000 + SMUGGLED)  # fmt: skip
    over = threading.Event()

    def attack() -> int:
        for _ in range(25):
            front.send(head + body)
        over.set()
        return 0

    def visit(visitor: int) -> list[str]:
        wrong, number = [], 0
        with front.client() as client:
            while number < 100 or not over.is_set():
                number += 1
                path = f"{front.prefix}/{('native', 'legacy')[number % 2]}?n={visitor}-{number}"
                answer = client.get(path)
                if not answer.json()["url"].endswith(path.partition("?")[2]):
                    wrong.append(answer.json()["url"])
        return wrong

    with ThreadPoolExecutor(5) as people:
        attacking = people.submit(attack)
        wrong = [url for visits in people.map(visit, range(4)) for url in visits]
        attacking.result()
    assert wrong == []
