"""WebSockets of the untouched Flask app, Flask-Sock's and Flask-SocketIO's, through deploy/nginx and deploy/caddy as
they ship, while workers are replaced and while the server stops."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio
import websockets

from tests.deploy.running import DEPLOY, Site, caddy, filled_in, nginx_settings, site, wait_until
from tests.parts import free_port, nginx, program

PROXIES = ["nginx", "caddy"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of websocket-client, which Socket.IO's client is built on
]


@dataclass(frozen=True)
class Front:
    """A proxy, and the site behind it. ``heard`` is what its views have written down."""

    scheme: str
    port: int
    site: Site
    notes: Path

    @property
    def certificate(self) -> Path:
        return self.notes.with_name("localhost.pem")

    @property
    def heard(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []

    def connect(self) -> websockets.connect:
        trust = ssl.create_default_context(cafile=str(self.certificate)) if self.scheme == "wss" else None
        return websockets.connect(f"{self.scheme}://localhost:{self.port}/sock/echo", ssl=trust, proxy=None)

    async def ask(self, connection: Any, text: str) -> int:
        """The process that has answered, over the address that the visitor sees."""
        await connection.send(text)
        said, _, rest = (await asyncio.wait_for(connection.recv(), 20)).partition(" from ")
        pid, _, url = rest.partition(" at ")
        assert (said, url) == (text, f"{self.scheme.replace('ws', 'http')}://localhost:{self.port}/sock/echo")
        return int(pid)


@contextmanager
def before_the_site(proxy: str, folder: Path, **env: str) -> Iterator[Front]:
    folder.chmod(0o755)
    http, https, admin = free_port(), free_port(), free_port()
    bind = f"unix:{folder}/graft.sock"
    settings = {
        "GRAFT_LEGACY": "tests.deploy.site.sockets:app",
        "WEB_CONCURRENCY": "1",
        "GRACEFUL_TIMEOUT": "11",
        **env,
    }
    with site(folder, bind, **settings) as running:
        if proxy == "nginx":
            nginx.certificate(folder)
            values = nginx_settings(folder, http=http, https=https, upstream=bind)
            with nginx.running(folder, filled_in(DEPLOY / "nginx" / "graft.conf.template", **values), (http, https)):
                yield Front("wss", https, running, folder / "count")
        else:
            program("caddy", "apt install caddy")
            values = {
                "CADDY_SITE": f"http://localhost:{http}",
                "CADDY_ADMIN": f"localhost:{admin}",
                "CADDY_UPSTREAM": bind.replace("unix:", "unix/"),
                "CADDY_STATIC": str(folder / "disk"),
                "CADDY_PAGES": str(DEPLOY / "nginx" / "pages"),
                "CADDY_STATE": str(folder),
            }
            with caddy(folder, http, **values):
                yield Front("ws", http, running, folder / "count")


@pytest.mark.parametrize("proxy", PROXIES)
async def test_a_reload_leaves_them_to_their_worker_until_the_end_of_its_time(proxy: str, tmp_path: Path) -> None:
    with before_the_site(proxy, tmp_path, GRAFT_STREAM_GRACE="4") as front:
        async with front.connect() as connection:
            old = await front.ask(connection, "hello")
            os.kill(front.site.pid, signal.SIGHUP)
            begun = time.monotonic()
            await asyncio.to_thread(wait_until, lambda: front.site.workers() - {old}, 20, "another worker")
            async with asyncio.timeout(20):  # it takes connections a moment after it is there
                while True:
                    async with front.connect() as other:
                        if await front.ask(other, "new") != old:
                            break
            assert await front.ask(connection, "still there") == old
            await asyncio.wait_for(connection.wait_closed(), 20)
            assert connection.close_code == 1012
            assert time.monotonic() - begun > 3.5
        await asyncio.to_thread(wait_until, lambda: old not in front.site.workers(), 20, "the end of the old worker")
        assert "closed with 1012" in front.heard, front.heard


@pytest.mark.parametrize("proxy", PROXIES)
async def test_clients_that_go_on_talking_are_told_as_well(proxy: str, tmp_path: Path) -> None:
    """What they send while their view is being told must not look to the proxy like a server that is gone."""

    async def talk(front: Front) -> int | None:
        async with front.connect() as connection:
            try:
                while True:
                    await front.ask(connection, "on and on")
            except websockets.ConnectionClosed:
                return connection.close_code

    with before_the_site(proxy, tmp_path, GRAFT_STREAM_GRACE="1") as front:
        talking = [asyncio.create_task(talk(front)) for _ in range(10)]
        await asyncio.sleep(0.5)  # any moment will do
        os.kill(front.site.pid, signal.SIGHUP)
        assert await asyncio.wait_for(asyncio.gather(*talking), 30) == [1012] * 10


@pytest.mark.parametrize("proxy", PROXIES)
async def test_when_the_server_stops_they_are_told_at_once_to_come_back(proxy: str, tmp_path: Path) -> None:
    with before_the_site(proxy, tmp_path) as front:
        async with front.connect() as connection:
            await front.ask(connection, "hello")
            os.kill(front.site.pid, signal.SIGTERM)
            begun = time.monotonic()
            await asyncio.wait_for(connection.wait_closed(), 20)
            assert connection.close_code == 1012
            assert time.monotonic() - begun < 5
        assert front.site.wait(20) == 0
        assert "closed with 1012" in front.heard, front.heard


@pytest.mark.parametrize("transports", [["websocket"], ["polling", "websocket"]], ids=["at once", "upgraded"])
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_client_of_socket_io_comes_back_to_the_next_worker(proxy: str, transports: list[str], tmp_path: Path) -> None:
    connected: queue.Queue[str] = queue.Queue()
    with before_the_site(proxy, tmp_path, GRAFT_STREAM_GRACE="1") as front:
        session = requests.Session()
        session.verify, session.trust_env = str(front.certificate), False
        client = socketio.Client(http_session=session, reconnection_delay=0.1, randomization_factor=0)
        client.on("connect", lambda: connected.put("yes"))
        try:
            client.connect(f"{front.scheme.replace('ws', 'http')}://localhost:{front.port}", transports=transports)
            connected.get(timeout=20)
            wait_until(lambda: client.transport() == "websocket", 20, "the upgrade")
            old = client.call("say", "hello", timeout=20)
            os.kill(front.site.pid, signal.SIGHUP)
            connected.get(timeout=30)
            new = client.call("say", "again", timeout=20)
        finally:
            client.disconnect()
        assert (old["said"], new["said"]) == ("hello", "again")
        assert new["pid"] != old["pid"]
