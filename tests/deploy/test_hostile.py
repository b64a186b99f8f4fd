"""What attackers send, in bytes, straight at Gunicorn and through the Nginx that ships: none of it gets through, and
none of it kills a worker."""

from __future__ import annotations

import json
import re
import socket
import ssl
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.control.app import cookie_value
from tests.deploy.running import DEPLOY, Site, filled_in, nginx_settings, site
from tests.parts import free_port, nginx

TOKEN = "the-one-token-that-opens-it"
SMUGGLED = "GET /_graft/metrics HTTP/1.1\r\nHost: localhost\r\nX-Smuggled: yes\r\n\r\n"


@dataclass
class Target:
    """Where the bytes go: the port of Gunicorn, or that of Nginx, with TLS."""

    port: int
    site: Site
    trust: ssl.SSLContext | None
    workers: set[int]

    def send(self, data: bytes, *, wait: float = 3.0) -> bytes:
        """What comes back until the other end closes, or is silent for ``wait`` seconds."""
        with ExitStack() as stack:
            connection: socket.socket = stack.enter_context(
                socket.create_connection(("127.0.0.1", self.port), timeout=wait)
            )
            if self.trust is not None:
                connection = stack.enter_context(self.trust.wrap_socket(connection, server_hostname="localhost"))
            answer = b""
            try:
                connection.sendall(data)
                while chunk := connection.recv(65536):
                    answer += chunk
            except (TimeoutError, OSError):
                pass
            return answer

    def get(self, path: str, **headers: str) -> httpx.Response:
        scheme = "https" if self.trust is not None else "http"
        with httpx.Client(verify=self.trust or False, timeout=20) as client:
            return client.get(f"{scheme}://localhost:{self.port}{path}", headers=headers)

    def unharmed(self) -> None:
        """The same workers still answer, on both sides."""
        assert self.site.workers() == self.workers, self.site.output()[-2000:]
        assert self.get("/native").status_code == self.get("/legacy").status_code == 200


@contextmanager
def attacked(front: str, folder: Path) -> Iterator[Target]:
    """Gunicorn itself, which trusts nobody, or Nginx in front of it, the one whom it trusts."""
    folder.chmod(0o755)
    port, http, https = free_port(), free_port(), free_port()
    env = {"GRAFT_ADMIN_TOKEN": TOKEN, "GRAFT_ALLOWED_HOSTS": "localhost,127.0.0.1", "GRAFT_MAX_BODY": "5000000"}
    env["FORWARDED_ALLOW_IPS"] = "127.0.0.1" if front == "nginx" else "192.0.2.1"
    with ExitStack() as stack:
        process = stack.enter_context(site(folder, f"127.0.0.1:{port}", **env))
        if front == "nginx":
            certificate, _ = nginx.certificate(folder)
            values = nginx_settings(folder, http=http, https=https, upstream=process.bind)
            config = filled_in(DEPLOY / "nginx" / "graft.conf.template", **values)
            stack.enter_context(nginx.running(folder, config, (https,)))
            trust = ssl.create_default_context(cafile=str(certificate))
            yield Target(https, process, trust, process.workers())
        else:
            yield Target(port, process, None, process.workers())
        Target(port, process, None, process.workers()).unharmed()
        assert TOKEN not in process.output()


@pytest.fixture(scope="module", params=["gunicorn", "nginx"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with attacked(request.param, tmp_path_factory.mktemp("hostile")) as found:
        yield found


@pytest.fixture(scope="module", params=["gunicorn", "nginx"])
def calm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One at which nobody guesses tokens: after ten wrong ones it would answer 429 in place of 401."""
    with attacked(request.param, tmp_path_factory.mktemp("calm")) as found:
        yield found


def statuses(answer: bytes) -> list[int]:
    """The statuses of all answers in these bytes."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]


def test_two_requests_on_one_connection_are_seen_as_two_answers(calm: Target) -> None:
    """What the tests below rely on."""
    first = "GET /native HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = SMUGGLED.replace("X-Smuggled: yes", "Connection: close")
    assert statuses(calm.send((first + last).encode())) == [200, 401]


# -- Smuggling: one request that two servers could take for two --------------------------------------------------------


def post(*headers: str, body: str = SMUGGLED) -> bytes:
    return "\r\n".join(["POST /upload HTTP/1.1", "Host: localhost", *headers, "", body]).encode("latin-1")


CHUNKED = f"0\r\n\r\n{SMUGGLED}"
BOTH = {
    "plain": "Transfer-Encoding: chunked",
    "case": "transfer-encoding: CHUNKED",
    "space before colon": "Transfer-Encoding : chunked",
    "tab before colon": "Transfer-Encoding\t: chunked",
    "tab": "Transfer-Encoding:\tchunked",
    "vertical tab": "Transfer-Encoding:\x0bchunked",
    "form feed": "Transfer-Encoding:\x0cchunked",
    "null before": "Transfer-Encoding: \x00chunked",
    "null after": "Transfer-Encoding: chunked\x00",
    "quoted": 'Transfer-Encoding: "chunked"',
    "identity": "Transfer-Encoding: identity",
    "identity, chunked": "Transfer-Encoding: identity, chunked",
    "chunked, identity": "Transfer-Encoding: chunked, identity",
    "twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "twice the same": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "unknown": "Transfer-Encoding: xchunked",
    "cow": "Transfer-Encoding: cow",
    "parameter": "Transfer-Encoding: chunked;q=1",
    "comma": "Transfer-Encoding: ,chunked",
    "folded": "Transfer-Encoding:\r\n chunked",
    "folded tab": "Transfer-Encoding:\r\n\tchunked",
    "underscore": "Transfer_Encoding: chunked",
    "bare line feed": "X: x\nTransfer-Encoding: chunked",
    "bare return": "X: x\rTransfer-Encoding: chunked",
    "high byte": "Transfer-Encoding: chunked\xa0",
    "long s": "Tran\xc5\xbffer-Encoding: chunked",
}


@pytest.mark.parametrize("header", BOTH.values(), ids=BOTH.keys())
@pytest.mark.parametrize("order", ["length first", "length last"])
def test_no_second_request_hides_behind_length_and_encoding(target: Target, header: str, order: str) -> None:
    length = f"Content-Length: {len(CHUNKED)}"
    headers = (length, header) if order == "length first" else (header, length)
    answer = target.send(post(*headers, "Connection: close", body=CHUNKED))
    assert len(statuses(answer)) <= 1, answer
    assert b"graft_requests" not in answer


LENGTHS = {
    "two": "Content-Length: 0\r\nContent-Length: {n}",
    "two, other order": "Content-Length: {n}\r\nContent-Length: 0",
    "a list": "Content-Length: 0, {n}",
    "the same twice in a list": "Content-Length: {n}, {n}",
    "plus": "Content-Length: +{n}",
    "minus": "Content-Length: -{n}",
    "minus nought": "Content-Length: -0",
    "hexadecimal": "Content-Length: 0x{n}",
    "octal": "Content-Length: 0o{n}",
    "space inside": "Content-Length: 1 {n}",
    "fraction": "Content-Length: {n}.0",
    "exponent": "Content-Length: 1e1",
    "underscore": "Content-Length: 1_0",
    "empty": "Content-Length:",
    "word": "Content-Length: many",
    "null": "Content-Length: {n}\x00",
    "huge": "Content-Length: 99999999999999999999999999",
    "overflow": "Content-Length: 18446744073709551616",
    "other digits": "Content-Length: \xb2\xb3",
    "space before colon": "Content-Length : {n}",
    "folded": "Content-Length:\r\n {n}",
    "bare line feed": "Content-Length: 0\nContent-Length: {n}",
}


@pytest.mark.parametrize("header", LENGTHS.values(), ids=LENGTHS.keys())
def test_no_second_request_hides_behind_a_strange_length(target: Target, header: str) -> None:
    said = header.format(n=len(SMUGGLED))
    answer = target.send(post(said, "Connection: close"), wait=1.0)
    assert len(statuses(answer)) <= 1, answer
    assert b"graft_requests" not in answer


CHUNKS = {
    "negative": "-1\r\nx\r\n0\r\n\r\n",
    "plus": "+1\r\nx\r\n0\r\n\r\n",
    "0x": "0x1\r\nx\r\n0\r\n\r\n",
    "underscore": "1_0\r\nxxxxxxxxxxxxxxxx\r\n0\r\n\r\n",
    "overflow": "10000000000000001\r\nx\r\n0\r\n\r\n",
    "endless size": "0" * 70000 + "1\r\nx\r\n0\r\n\r\n",
    "no size": "\r\nx\r\n0\r\n\r\n",
    "word": "zz\r\nx\r\n0\r\n\r\n",
    "too long": "1\r\nxyz\r\n0\r\n\r\n",
    "null": "1\x00\r\nx\r\n0\r\n\r\n",
    "bare line feeds": "1\nx\n0\n\n",
    "line feed in an extension": "1;a\nb\r\nx\r\n0\r\n\r\n",
    "huge extension": "1;" + "a" * 100_000 + "\r\nx\r\n0\r\n\r\n",
    "trailer with a length": "1\r\nx\r\n0\r\nContent-Length: 5\r\n\r\n",
    "trailer with a host": "1\r\nx\r\n0\r\nHost: evil.example\r\n\r\n",
    "trailer with encoding": "1\r\nx\r\n0\r\nTransfer-Encoding: identity\r\n\r\n",
    "no end": "1\r\nx\r\n",
}


@pytest.mark.parametrize("body", CHUNKS.values(), ids=CHUNKS.keys())
def test_strange_chunks_are_one_request_or_none(target: Target, body: str) -> None:
    answer = target.send(post("Transfer-Encoding: chunked", "Connection: close", body=body), wait=1.0)
    assert len(statuses(answer)) <= 1, answer
    assert all(status in (200, 400, 413, 414, 431) for status in statuses(answer))
    if statuses(answer) == [200]:
        assert b'"size":' in answer


LINES = {
    "nothing": b"\r\n\r\n",
    "noise": bytes(range(256)) * 4,
    "tls hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    "http 0.9": b"GET /_graft/metrics\r\n",
    "http 2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http 3.0": b"GET / HTTP/3.0\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /native HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /native HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    "two hosts, other order": b"GET /native HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n\r\n",
    "host with a space": b"GET /native HTTP/1.1\r\nHost: localhost evil.example\r\n\r\n",
    "host with a path": b"GET /native HTTP/1.1\r\nHost: localhost/evil\r\n\r\n",
    "host with a user": b"GET /native HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n",
    "another host": b"GET /native HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "host in the line": b"GET http://evil.example/native HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "connect": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "a method of 70 KB": b"A" * 70_000 + b" / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a path of 200 KB": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a header of 200 KB": b"GET /native HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    "a name of 200 KB": b"GET /native HTTP/1.1\r\nHost: localhost\r\n" + b"a" * 200_000 + b": x\r\n\r\n",
    "20,000 headers": b"GET /native HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "null in the path": b"GET /na\x00tive HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "null in a name": b"GET /native HTTP/1.1\r\nHost: localhost\r\nX\x00Y: z\r\n\r\n",
    "null in a value": b"GET /native HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n",
    "high bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a space in the path": b"GET /native /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no colon": b"GET /native HTTP/1.1\r\nHost: localhost\r\nNonsense\r\n\r\n",
    "no name": b"GET /native HTTP/1.1\r\nHost: localhost\r\n: value\r\n\r\n",
    "a folded first header": b"GET /native HTTP/1.1\r\n X: y\r\nHost: localhost\r\n\r\n",
    "bare line feeds": b"GET /_graft/metrics HTTP/1.1\nHost: localhost\n\n",
    "bare returns": b"GET /native HTTP/1.1\rHost: localhost\r\r",
    "upgrade to h2c": b"GET /native HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARA\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\n\r\n",
    "a half": b"GET /native HTT",
}


@pytest.mark.parametrize("data", LINES.values(), ids=LINES.keys())
def test_a_malformed_request_gets_a_clean_refusal_or_none(target: Target, data: bytes) -> None:
    answer = target.send(data.replace(b"Host: localhost\r\n", b"Host: localhost\r\nConnection: close\r\n", 1), wait=1.0)
    assert b"Traceback" not in answer
    assert b"graft_requests" not in answer
    assert b"evil.example" not in answer
    assert len(statuses(answer)) <= 1
    assert all(status < 500 or status == 505 for status in statuses(answer)), answer[:200]


# -- Paths ------------------------------------------------------------------------------------------------------------

UP = (
    "../",
    "..%2f",
    "%2e%2e/",
    "%2e%2e%2f",
    "..%5c",
    "..\\",
    "%252e%252e%252f",
    "....//",
    "..;/",
    "..%00/",
    "%c0%ae%c0%ae/",
)
OUT = (
    [f"/static/{dots * 6}etc/passwd" for dots in UP]
    + ["/static//etc/passwd", "/static/%2fetc/passwd", "/static/disk.txt%00.png", "/static/./../legacy.py",
       "/static/..%2flegacy.py", "/static/C:/Windows/win.ini", "/static/file:///etc/passwd",
       "/static/disk.txt/../../legacy.py"]
)  # fmt: skip


@pytest.mark.parametrize("path", OUT)
def test_no_file_outside_of_the_static_folder_is_served(target: Target, path: str) -> None:
    answer = target.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert b"root:" not in answer
    assert b"The Flask app of the site" not in answer
    (status,) = statuses(answer)
    assert status in (308, 400, 404, 405)


ELSEWHERE = ["//evil.example", "//evil.example/", "///evil.example", "/\\evil.example", "/%2f%2fevil.example",
             "//evil.example/%2e%2e", "/%5cevil.example", "//evil.example//", "/.evil.example", "/%09/evil.example",
             "//localhost@evil.example/", "/%0d%0aLocation:%20https://evil.example", "//evil.example/legacy/",
             "/legacy//evil.example/..", "//_graft", "/_graft//evil.example"]  # fmt: skip


@pytest.mark.parametrize("path", ELSEWHERE)
def test_no_path_redirects_to_another_host(target: Target, path: str) -> None:
    answer = target.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    locations = [
        line.split(b":", 1)[1].strip() for line in answer.split(b"\r\n") if line.lower().startswith(b"location:")
    ]
    for location in locations:
        assert not location.startswith((b"//", b"/\\", b"\\")), location
        assert b"://" not in location or location.split(b"://")[1].startswith(b"localhost")


# -- Values -----------------------------------------------------------------------------------------------------------

BREAKS = ["%0d%0aX-Injected:%20yes", "%0aX-Injected:%20yes", "%0dX-Injected:%20yes",
          "%e5%98%8a%e5%98%8dX-Injected:%20yes",
          "%0d%0a%0d%0a<script>", "%00%0d%0aX-Injected:yes", "%c4%8d%c4%8aX-Injected:yes"]  # fmt: skip


@pytest.mark.parametrize("value", BREAKS)
@pytest.mark.parametrize("path", ["/native?a={}", "/legacy?a={}", "/{}", "/legacy/{}", "/static/{}"])
def test_no_line_break_in_a_value_becomes_a_header(target: Target, path: str, value: str) -> None:
    data = (
        f"GET {path.format(value)} HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: a{value}\r\nConnection: close\r\n\r\n"
    )
    head = target.send(data.encode()).partition(b"\r\n\r\n")[0]
    assert b"\r\nx-injected" not in head.lower()
    assert b"<script>" not in head


FORGED = ["X-Forwarded-Host: evil.example", "X_Forwarded_Host: evil.example", "X-Forwarded_Host: evil.example",
          "Forwarded: host=evil.example", "X-Forwarded-Prefix: //evil.example", "X-Forwarded-Prefix: /../evil.example",
          "X-Forwarded-Server: evil.example", "X-Host: evil.example", "X-Original-URL: /_graft/metrics",
          "X-Rewrite-URL: /_graft/metrics", "X-HTTP-Method-Override: DELETE", "Script_Name: /evil.example",
          "X-Original-Host: evil.example"]  # fmt: skip


@pytest.mark.parametrize("header", FORGED)
@pytest.mark.parametrize("side", ["native", "legacy"])
def test_a_forged_header_changes_no_link(target: Target, header: str, side: str) -> None:
    data = f"GET /{side} HTTP/1.1\r\nHost: localhost\r\n{header}\r\nConnection: close\r\n\r\n"
    answer = target.send(data.encode())
    body: Any = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert "evil" not in body["url"] + body["to"]


# -- Bodies -----------------------------------------------------------------------------------------------------------


def test_a_body_above_the_limit_is_refused_declared_or_not(target: Target) -> None:
    declared = target.send(post("Content-Length: 6000000", "Connection: close", body="x"))
    chunks = b"5b8d80\r\n" + b"x" * 6_000_000 + b"\r\n0\r\n\r\n"
    chunked = target.send(post("Transfer-Encoding: chunked", "Connection: close", body="") + chunks)
    assert statuses(declared) == [413] or target.trust is not None  # Nginx waits for the whole body first
    assert set(statuses(chunked)) <= {413}  # the reset that follows it may be quicker


def test_a_deflate_bomb_is_not_unpacked(target: Target) -> None:
    bomb = zlib.compress(b"\0" * 200_000_000, 9)
    headers = [f"Content-Length: {len(bomb)}", "Content-Encoding: deflate", "Connection: close"]
    answer = target.send(post(*headers, body="") + bomb)
    assert f'"size":{len(bomb)}'.encode() in answer.replace(b" ", b"")


DEEP = {
    "1,000 lists": ("[" * 1_000 + "]" * 1_000, 400),
    "8,000 lists": ("[" * 8_000 + "]" * 8_000, 400),
    "10,000 lists without an end": ("[" * 10_000, 400),
    "2,600 objects": ('{"a":' * 2_600 + "1" + "}" * 2_600, 400),
    "10,000 lists": ("[" * 10_000 + "]" * 10_000, 413),
    "100,000 lists": ("[" * 100_000 + "]" * 100_000, 413),
}


@pytest.mark.parametrize(("body", "status"), DEEP.values(), ids=DEEP.keys())
@pytest.mark.parametrize("line", ["PATCH /_graft/api/routes", "POST /_graft/api/rollback", "POST /_graft/login"])
def test_json_that_is_deep_is_refused_not_followed(calm: Target, line: str, body: str, status: int) -> None:
    head = (
        f"{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    answer = calm.send((head + body).encode())
    assert statuses(answer) == [status]
    assert b"Traceback" not in answer


# -- The control plane ------------------------------------------------------------------------------------------------

CLOSED = [("GET", "/_graft/metrics"), ("GET", "/_graft/api/routes"), ("PATCH", "/_graft/api/routes"),
          ("POST", "/_graft/api/rollback"), ("GET", "/_graft/api/differences"),
          ("GET", "/_graft/api/figures")]  # fmt: skip
WRONG = ["", "Bearer", "Bearer ", "Bearer x", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN,
         f"bearer{TOKEN}", "Bearer \xff", "Bearer null", "Bearer undefined"]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize("credentials", WRONG)
def test_nothing_but_the_token_opens_it(target: Target, method: str, path: str, credentials: str) -> None:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {credentials}\r\nContent-Length: 0\r\n"
    answer = target.send(f"{head}Connection: close\r\n\r\n".encode("latin-1"))
    (status,) = statuses(answer)
    assert status in (400, 401, 429)
    assert TOKEN.encode() not in answer


@pytest.mark.parametrize("query", ["token", "access_token", "api_key"])
def test_the_token_in_an_address_opens_nothing(target: Target, query: str) -> None:
    assert target.get(f"/_graft/metrics?{query}=not-{TOKEN[4:]}").status_code in (401, 429)


SITES = [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
         {"Origin": "https://localhost.evil.example"}, {"Origin": "https://["},
         {"Referer": "https://evil.example/page"}, {"Referer": "https://evil.example/?https://localhost"},
         {"Referer": "https://evil.example/", "Sec-Fetch-Site": "same-origin"},
         {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}]  # fmt: skip


@pytest.mark.parametrize("headers", SITES, ids=str)
@pytest.mark.parametrize("path", ["/_graft/login", "/_graft/api/rollback", "/_graft/logout"])
def test_no_other_site_can_make_a_browser_do_something(calm: Target, path: str, headers: dict[str, str]) -> None:
    """The browser has a real login, and another site makes it send something along with that."""
    scheme = "https" if calm.trust is not None else "http"
    cookie = f"graft_admin={cookie_value(TOKEN)}"
    with httpx.Client(verify=calm.trust or False) as client:
        answer = client.post(
            f"{scheme}://localhost:{calm.port}{path}", json={"token": TOKEN}, headers={**headers, "Cookie": cookie}
        )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_after_all_that_the_same_workers_answer(target: Target) -> None:
    target.unharmed()
