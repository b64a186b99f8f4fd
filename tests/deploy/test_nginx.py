"""deploy/nginx as it ships, started, in front of Gunicorn over a unix socket and over TCP."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest
import websockets

from tests.deploy.running import (
    DEPLOY,
    Site,
    filled_in,
    nginx_settings,
    seconds_to_first_events,
    site,
    wait_until,
)
from tests.parts import accepts, free_port, nginx, program

TEMPLATE = DEPLOY / "nginx" / "graft.conf.template"
BELOW = DEPLOY / "nginx" / "below-a-prefix.conf.template"


@dataclass(frozen=True)
class Front:
    """Nginx and what stands behind it; ``prefixed`` is the port of a site that has Graft below /portal."""

    folder: Path
    http: int
    https: int
    prefixed: int
    site: Site

    @property
    def trust(self) -> ssl.SSLContext:
        """A new one each time: clients that speak HTTP/2 write that into it."""
        return ssl.create_default_context(cafile=str(self.folder / "localhost.pem"))

    @property
    def base(self) -> str:
        return f"https://localhost:{self.https}"

    def client(self, *, outside: bool = False, http2: bool = False) -> httpx.Client:
        address = "127.0.0.2" if outside else None
        transport = httpx.HTTPTransport(verify=self.trust, local_address=address, http2=http2)
        return httpx.Client(transport=transport, base_url=self.base, timeout=30)

    def raw(self, text: str) -> bytes:
        """What Nginx answers to these bytes, over TLS, until it closes."""
        with (
            socket.create_connection(("127.0.0.1", self.https), timeout=10) as plain,
            self.trust.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(text.encode("latin-1"))
            answer = b""
            try:
                while chunk := secure.recv(65536):
                    answer += chunk
            except (ssl.SSLError, ConnectionResetError):
                pass
            return answer


@pytest.fixture(scope="module", params=["unix", "tcp"])
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("front")
    folder.chmod(0o755)
    http, https, prefixed, port = free_port(), free_port(), free_port(), free_port()
    bind = f"unix:{folder}/graft.sock" if request.param == "unix" else f"127.0.0.1:{port}"
    nginx.certificate(folder)
    (folder / "disk" / "static").mkdir(parents=True)
    (folder / "disk" / "static" / "portal.css").write_text("body { color: black }\n" * 100)
    values = nginx_settings(folder, http=http, https=https, upstream=bind, NGINX_PREFIX="/portal")
    below = f"server {{ listen 127.0.0.1:{prefixed}; server_name localhost; {filled_in(BELOW, **values)} }}"
    with ExitStack() as stack:
        process = stack.enter_context(site(folder, bind, GRAFT_FORWARDED="prefix"))
        stack.enter_context(nginx.running(folder, filled_in(TEMPLATE, **values) + below, (http, https, prefixed)))
        yield Front(folder, http, https, prefixed, process)


def test_the_configuration_passes_nginx_t_without_a_warning(tmp_path: Path) -> None:
    nginx.certificate(tmp_path)
    values = nginx_settings(tmp_path, http=free_port(), https=free_port(), upstream="unix:/run/graft.sock")
    config = tmp_path / "nginx.conf"
    config.write_text(nginx.FRAME.format(folder=tmp_path, user="", servers=filled_in(TEMPLATE, **values)))
    command = [program("nginx", "apt install nginx-light"), "-t", "-p", tmp_path, "-c", config, "-e", "stderr"]
    checked = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr.replace('the "user" directive', "")


@pytest.mark.parametrize("side", ["native", "legacy"])
def test_both_sides_see_the_address_the_scheme_and_the_client_of_the_visitor(front: Front, side: str) -> None:
    with front.client(outside=True) as client:
        saw = client.get(f"/{side}").json()
    assert saw["url"] == f"{front.base}/{side}"
    assert saw["client"] == "127.0.0.2"
    assert saw["to"] == f"{front.base}/legacy"


@pytest.mark.parametrize("side", ["native", "legacy"])
def test_what_a_visitor_says_about_forwarding_never_arrives(front: Front, side: str) -> None:
    forged = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/evil",
        "X_Forwarded_For": "203.0.113.9",
        "Forwarded": "for=203.0.113.9;host=evil.example",
        "X-Real-IP": "203.0.113.9",
        "Proxy": "http://evil.example",
    }
    with front.client() as client:
        saw = client.get(f"/{side}", headers=forged).json()
    assert saw["url"] == f"{front.base}/{side}"
    assert saw["client"] == "127.0.0.1"
    assert "203.0.113.9" not in json.dumps(saw)
    assert "evil" not in json.dumps(saw)


@pytest.mark.parametrize("side", ["native", "legacy"])
def test_below_a_prefix_every_link_carries_it(front: Front, side: str) -> None:
    base = f"http://localhost:{front.prefixed}"
    saw = httpx.get(f"{base}/portal/{side}", headers={"X-Forwarded-Prefix": "/evil"}).json()
    assert saw["url"] == f"{base}/portal/{side}"
    assert saw["to"] == f"{base}/portal/legacy"
    assert saw["client"] == "127.0.0.1"
    assert httpx.get(f"{base}/portal").headers["location"] == f"{base}/portal/"


def test_plain_http_is_sent_to_https(front: Front) -> None:
    answer = httpx.post(f"http://localhost:{front.http}/upload?x=1", content=b"x")
    assert answer.status_code == 308
    assert answer.headers["location"] == f"{front.base}/upload?x=1"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1"])
def test_other_host_names_are_turned_away(front: Front, host: str) -> None:
    assert front.raw(f"GET /native HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n") == b""


def test_the_host_is_the_one_that_was_checked_not_the_one_beside_it(front: Front) -> None:
    answer = front.raw("GET https://localhost/native HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert b"evil.example" not in answer


def test_old_tls_is_refused(front: Front) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{front.https}", "-servername", "localhost"]
    spoken = subprocess.run([*command, "-tls1_1", "-cipher", "ALL@SECLEVEL=0"], input=b"", capture_output=True)
    assert b"Cipher is (NONE)" in spoken.stdout


@pytest.mark.parametrize("path", ["/native", "/legacy", "/static/portal.css", "/stream/3/0"])
def test_http2_reaches_both_sides_and_the_disk(front: Front, path: str) -> None:
    with front.client(http2=True) as client:
        answers = [client.get(path) for _ in range(3)]
    assert {(answer.http_version, answer.status_code) for answer in answers} == {("HTTP/2", 200)}


def test_static_files_come_straight_from_disk_and_the_others_from_the_app(front: Front) -> None:
    with front.client() as client:
        from_disk = client.get("/static/portal.css", headers={"Accept-Encoding": "gzip"})
        from_app = client.get("/static/disk.txt")
        missing = client.get("/static/nothing.css")
    assert "x-served-by" not in from_disk.headers
    assert from_disk.headers["cache-control"] == "max-age=3600"
    assert from_disk.headers["content-encoding"] == "gzip"
    assert from_app.text == "from disk\n"
    assert from_app.headers["x-served-by"] == "legacy"
    assert missing.status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/static/../localhost.key",
        "/static/../../localhost.key",
        "/static/%2e%2e/localhost.key",
        "/static/..%2flocalhost.key",
        "/static../localhost.key",
        "/static/%2e%2e%2f%2e%2e%2flocalhost.key",
        "/static/....//localhost.key",
        "/static//etc/passwd",
        "/static/..%5c..%5clocalhost.key",
        "/static/%00portal.css",
        "/static/portal.css%00.html",
    ],
)
def test_no_path_leads_out_of_the_static_folder(front: Front, path: str) -> None:
    (front.folder / "disk" / "localhost.key").write_text("a secret")
    answer = front.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b"a secret" not in answer
    assert b"PRIVATE KEY" not in answer
    assert b"root:" not in answer
    assert answer.split(b" ", 2)[1] in (b"400", b"404", b"308")


def test_text_is_compressed_and_says_that_it_varies(front: Front) -> None:
    with front.client() as client:
        answer = client.get("/text", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.text.startswith("word word")


def test_uploads_have_a_limit(front: Front) -> None:
    with front.client() as client:
        taken = client.post("/upload", content=b"x" * 19_000_000)
        refused = client.post("/upload", content=b"x" * 21_000_000)
    assert taken.json()["size"] == 19_000_000
    assert refused.status_code == 413


async def test_websockets_are_upgraded_and_see_the_client(front: Front) -> None:
    async with websockets.connect(
        f"wss://localhost:{front.https}/echo", ssl=front.trust, proxy=None, local_addr=("127.0.0.2", 0)
    ) as connection:
        for number in range(3):
            await connection.send(str(number))
            assert await connection.recv() == f"{number} from 127.0.0.2"


@pytest.mark.parametrize("path", ["/native-events", "/legacy-events"])
@pytest.mark.parametrize("http2", [False, True])
def test_the_first_event_arrives_within_100_ms_and_before_the_second_is_made(
    front: Front, path: str, http2: bool
) -> None:
    seconds = seconds_to_first_events(lambda: front.client(http2=http2), path)
    assert statistics.median(seconds) < 0.1  # 300 ms where something waits for more; 2 to 4 ms on a quiet machine


def test_a_long_stream_arrives_whole(front: Front) -> None:
    with front.client() as client:
        answer = client.get("/stream/200/2")
    assert len(answer.text.splitlines()) == 200


def test_connections_to_gunicorn_are_kept_for_reading_only(front: Front) -> None:
    config = TEMPLATE.read_text()
    assert re.search(r"upstream graft_once \{[^}]*\}", config)[0].count("keepalive") == 0  # type: ignore[index]
    with front.client() as client:
        assert {client.get("/legacy").json()["headers"].get("Connection", "") for _ in range(3)} <= {"", "close"}


def test_maintenance_closes_the_site_for_people_and_programs(front: Front) -> None:
    flag = front.folder / "maintenance"
    flag.touch()
    try:
        with front.client() as client:
            page = client.get("/legacy", headers={"Accept": "text/html"})
            data = client.post("/upload", content=b"x", headers={"Accept": "application/json"})
            events = client.get("/native-events", headers={"Accept": "text/event-stream"})
    finally:
        flag.unlink()
    assert {page.status_code, data.status_code, events.status_code} == {503}
    assert "Back in a moment" in page.text
    assert data.json()["error"]["code"] == "unavailable"
    assert page.headers["retry-after"] == data.headers["retry-after"] == "10"
    with front.client() as client:
        assert client.get("/legacy").status_code == 200


def test_the_apps_own_errors_go_through_as_they_are(front: Front) -> None:
    with front.client() as client:
        answer = client.get("/unavailable")
    assert (answer.status_code, answer.text) == (503, "the app's own 503")


CONTROL = ["/_graft", "/_graft/", "/_graft/health", "/_graft/metrics", "/_graft/api/routes"]
DISGUISED = ["//_graft/health", "/%5fgraft/health", "/x/../_graft/health", "/./_graft/health", "/_graft%2fhealth"]


@pytest.mark.parametrize("path", [*CONTROL, *DISGUISED])
def test_the_control_plane_is_not_there_from_outside(front: Front, path: str) -> None:
    with front.client(outside=True) as client:
        answer = client.get(front.base + path)
    assert answer.status_code == 404
    assert "status" not in answer.text


@pytest.mark.parametrize("path", [*CONTROL, *DISGUISED])
def test_the_control_plane_is_not_below_a_prefix(front: Front, path: str) -> None:
    answer = httpx.get(f"http://localhost:{front.prefixed}/portal{path}")
    assert answer.status_code == 404
    assert '"ok"' not in answer.text


def test_the_control_plane_answers_this_machine(front: Front) -> None:
    with front.client() as client:
        assert client.get("/_graft/health").json() == {"status": "ok"}


def test_the_log_has_the_request_id_and_no_query(front: Front) -> None:
    with front.client() as client:
        client.get("/native?token=secret-word", headers={"X-Request-ID": "the-id-of-this-one"})
    log = front.folder / "access.log"
    wait_until(lambda: "the-id-of-this-one" in log.read_text(), 5, "the line in the log")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (line,) = [line for line in lines if line["request_id"] == "the-id-of-this-one"]
    assert (line["path"], line["status"], line["side"]) == ("/native", 200, "native")
    assert "secret-word" not in log.read_text()


def test_a_slow_reader_does_not_hold_a_thread(front: Front) -> None:
    """Nginx takes the answer off the app's hands: 16 of them and the next one is served at once."""
    request = b"GET /text HTTP/1.1\r\nHost: localhost\r\n\r\n"
    trust = front.trust
    with ExitStack() as stack:
        for _ in range(20):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", front.https), timeout=10))
            secure = stack.enter_context(trust.wrap_socket(plain, server_hostname="localhost"))
            secure.sendall(request * 5)
        with front.client() as client:
            assert client.get("/legacy").status_code == 200


def test_nobody_to_ask_is_told_in_the_words_of_the_site(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    http, https = free_port(), free_port()
    certificate, _ = nginx.certificate(tmp_path)
    values = nginx_settings(tmp_path, http=http, https=https, upstream=f"unix:{tmp_path}/nobody.sock")
    trust = ssl.create_default_context(cafile=str(certificate))
    with nginx.running(tmp_path, filled_in(TEMPLATE, **values), (https,)), httpx.Client(verify=trust) as client:
        page = client.get(f"https://localhost:{https}/", headers={"Accept": "text/html"})
        data = client.post(f"https://localhost:{https}/")
    assert (page.status_code, data.status_code) == (502, 502)
    assert "Back in a moment" in page.text
    assert data.json()["error"]["code"] == "unavailable"


async def test_only_what_changes_nothing_is_asked_again(tmp_path: Path) -> None:
    """A server that drops every connection once it has read the request counts how often it was asked."""
    asked: list[str] = []

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n")).decode().split()[0])
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    tmp_path.chmod(0o755)
    http, https = free_port(), free_port()
    certificate, _ = nginx.certificate(tmp_path)
    server = await asyncio.start_server(drop, "127.0.0.1", 0)
    upstream = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    values = nginx_settings(tmp_path, http=http, https=https, upstream=upstream)
    trust = ssl.create_default_context(cafile=str(certificate))
    async with server:
        with nginx.running(tmp_path, filled_in(TEMPLATE, **values), ()) as process:
            async with httpx.AsyncClient(verify=trust, base_url=f"https://localhost:{https}") as client:
                async with asyncio.timeout(10):
                    while not accepts(https):
                        assert process.running(), process.output()
                        await asyncio.sleep(0.02)
                for method in ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"):
                    assert (await client.request(method, "/")).status_code == 502
    assert [asked.count(method) for method in ("GET", "HEAD")] == [3, 3]
    assert [asked.count(method) for method in ("POST", "PATCH")] == [1, 1]
    assert asked.count("PUT") == asked.count("DELETE") == 2  # idempotent by definition: RFC 9110, 9.2.2


def test_nginx_waits_longer_than_anything_behind_it() -> None:
    def seconds(name: str) -> int:
        return int(re.search(rf"^\s*{name} (\d+)s;", TEMPLATE.read_text(), re.M)[1])  # type: ignore[index]

    gunicorn = (DEPLOY.parent / "gunicorn.conf.py").read_text()

    def of_gunicorn(name: str) -> int:
        return int(re.search(rf"^{name} = (\d+)", gunicorn, re.M)[1])  # type: ignore[index]

    assert seconds("proxy_read_timeout") > of_gunicorn("timeout")
    assert seconds("keepalive_timeout") < of_gunicorn("keepalive")
