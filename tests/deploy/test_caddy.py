"""deploy/caddy as it ships: Debian's Caddy in front of Gunicorn."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest
import websockets

from tests.deploy.running import DEPLOY, caddy, seconds_to_first_events, site
from tests.parts import free_port, program


@dataclass(frozen=True)
class Front:
    folder: Path
    port: int

    def client(self, *, outside: bool = False) -> httpx.Client:
        transport = httpx.HTTPTransport(local_address="127.0.0.2" if outside else None)
        return httpx.Client(transport=transport, base_url=f"http://localhost:{self.port}", timeout=30)

    def raw(self, text: str) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(text.encode("latin-1"))
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return answer


@pytest.fixture(scope="module", params=["unix", "tcp"])
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    program("caddy", "apt install caddy")
    folder = tmp_path_factory.mktemp("caddy")
    (folder / "disk" / "static").mkdir(parents=True)
    (folder / "disk" / "static" / "portal.css").write_text("body { color: black }\n" * 100)
    (folder / "disk" / "secret").write_text("a secret")
    port, admin, tcp = free_port(), free_port(), free_port()
    bind = f"unix:{folder}/graft.sock" if request.param == "unix" else f"127.0.0.1:{tcp}"
    settings = {
        "CADDY_SITE": f"http://localhost:{port}",
        "CADDY_ADMIN": f"localhost:{admin}",
        "CADDY_UPSTREAM": bind.replace("unix:", "unix/"),
        "CADDY_STATIC": str(folder / "disk"),
        "CADDY_PAGES": str(DEPLOY / "nginx" / "pages"),
        "CADDY_STATE": str(folder),
    }
    with ExitStack() as stack:
        stack.enter_context(site(folder, bind))
        stack.enter_context(caddy(folder, port, **settings))
        yield Front(folder, port)


def test_the_configuration_passes_caddys_own_check_and_format() -> None:
    found, config = program("caddy", "apt install caddy"), str(DEPLOY / "caddy" / "Caddyfile")
    checked = subprocess.run(
        [found, "validate", "--config", config, "--adapter", "caddyfile"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert "Valid configuration" in checked.stdout + checked.stderr
    formatted = subprocess.run([found, "fmt", config], capture_output=True, text=True)
    assert formatted.stdout == Path(config).read_text()


@pytest.mark.parametrize("side", ["native", "legacy"])
def test_both_sides_see_what_the_visitor_sees_and_nothing_that_is_forged(front: Front, side: str) -> None:
    forged = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/evil",
        "X_Forwarded_For": "203.0.113.9",
        "Forwarded": "for=203.0.113.9;host=evil.example",
        "X-Real-IP": "203.0.113.9",
    }
    with front.client(outside=True) as client:
        saw = client.get(f"/{side}", headers=forged).json()
    assert saw["url"] == f"http://localhost:{front.port}/{side}"
    assert saw["to"] == f"http://localhost:{front.port}/legacy"
    assert saw["client"] == "127.0.0.2"
    assert "evil" not in json.dumps(saw)


def test_static_files_come_from_disk_compressed_and_the_others_from_the_app(front: Front) -> None:
    with front.client() as client:
        from_disk = client.get("/static/portal.css", headers={"Accept-Encoding": "gzip"})
        from_app = client.get("/static/disk.txt")
        text = client.get("/text", headers={"Accept-Encoding": "gzip"})
    assert "x-served-by" not in from_disk.headers
    assert from_disk.headers["content-encoding"] == text.headers["content-encoding"] == "gzip"
    assert from_app.headers["x-served-by"] == "legacy"


@pytest.mark.parametrize(
    "path", ["/static/../secret", "/static/%2e%2e/secret", "/static/..%2fsecret", "/static../secret"]
)
def test_no_path_leads_out_of_the_static_folder(front: Front, path: str) -> None:
    answer = front.raw(f"GET {path} HTTP/1.1\r\nHost: localhost:{front.port}\r\nConnection: close\r\n\r\n")
    assert b"a secret" not in answer


def test_uploads_have_a_limit(front: Front) -> None:
    with front.client() as client:
        assert client.post("/upload", content=b"x" * 19_000_000).json()["size"] == 19_000_000
        assert client.post("/upload", content=b"x" * 21_000_000).status_code in (413, 502)


@pytest.mark.parametrize("path", ["/native-events", "/legacy-events"])
def test_the_first_event_arrives_within_100_ms_and_before_the_second_is_made(front: Front, path: str) -> None:
    seconds = seconds_to_first_events(front.client, path)
    assert statistics.median(seconds) < 0.1  # 300 ms where something waits for more


async def test_websockets_are_upgraded(front: Front) -> None:
    async with websockets.connect(f"ws://localhost:{front.port}/echo", proxy=None) as connection:
        await connection.send("hello")
        assert await connection.recv() == "hello from 127.0.0.1"


@pytest.mark.parametrize(
    "path", ["/_graft", "/_graft/", "/_graft/health", "/_graft/metrics", "//_graft/health", "/%5fgraft/health",
             "/x/../_graft/health", "/_graft%2fhealth"]
)  # fmt: skip
def test_the_control_plane_is_not_there_from_outside(front: Front, path: str) -> None:
    with front.client(outside=True) as client:
        answer = client.get(f"http://localhost:{front.port}{path}")
    assert answer.status_code == 404
    assert '"ok"' not in answer.text
    with front.client() as client:
        assert client.get("/_graft/health").json() == {"status": "ok"}


def test_maintenance_closes_the_site(front: Front) -> None:
    flag = front.folder / "maintenance"
    flag.touch()
    try:
        with front.client() as client:
            page = client.get("/legacy", headers={"Accept": "text/html"})
            data = client.get("/native")
    finally:
        flag.unlink()
    assert (page.status_code, data.status_code) == (503, 503)
    assert "Back in a moment" in page.text
    assert data.json()["error"]["code"] == "unavailable"
    assert page.headers["retry-after"] == "10"


def test_the_log_has_no_query(front: Front) -> None:
    with front.client() as client:
        client.get("/native?token=secret-word")
    assert "secret-word" not in (front.folder / "caddy.log").read_text()
