"""Whole deployments: the site of these tests under Gunicorn, with the project's own configurations in front of it."""

from __future__ import annotations

import os
import re
import socket
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx

from tests.parts import Process, accepts, program, wait_until
from tests.parts.gateway import PROJECT, environment

DEPLOY = PROJECT / "deploy"
EVENTS = {"Accept": "text/event-stream", "Accept-Encoding": "gzip"}
PATIENCE = 30.0  # seconds; only a failing test waits that long


def filled_in(template: Path, **values: str) -> str:
    """A template with each ``${WORD}`` replaced, as envsubst does it. Raises KeyError for a word without a value."""
    return re.sub(r"\$\{([A-Z0-9_]+)\}", lambda found: values[found[1]], template.read_text())


class Site(Process):
    """Gunicorn with the site; ``workers()`` are its worker processes."""

    bind: str

    def workers(self) -> set[int]:
        return {child.pid for child in self._children()}

    def client(self) -> httpx.Client:
        if self.bind.startswith("unix:"):
            transport = httpx.HTTPTransport(uds=self.bind.removeprefix("unix:"))
            return httpx.Client(transport=transport, base_url="http://localhost", timeout=PATIENCE)
        return httpx.Client(base_url=f"http://{self.bind}", timeout=PATIENCE)

    def accepts(self) -> bool:
        if not self.bind.startswith("unix:"):
            return accepts(int(self.bind.rpartition(":")[2]))
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.bind.removeprefix("unix:")) == 0

    def ready(self, path: str = "/native") -> bool:
        if not self.accepts():  # asked first: the client would leave its socket behind
            return False
        with self.client() as client:
            return client.get(path).status_code == 200


@contextmanager
def site(
    folder: Path,
    bind: str,
    *options: str,
    ready: str = "/native",
    under: Sequence[str] = (),
    uvicorn: str = "",
    **env: str,
) -> Iterator[Site]:
    """The site under Gunicorn on ``bind``: ``unix:PATH`` or ``127.0.0.1:PORT``, from the moment that it answers.

    ``under`` is a command that starts another one in its own place. ``uvicorn`` names one of Uvicorn's own protocols,
    which serves in Gunicorn's place.
    """
    command = [*under, sys.executable, "-m", "gunicorn", "gateway:app", "--bind", bind, *options]
    if uvicorn:
        command = [sys.executable, "-m", "uvicorn", "gateway:app", "--port", bind.rpartition(":")[2], "--http", uvicorn]
    settings = {
        "GRAFT_LEGACY": "tests.deploy.site.legacy:app",
        "GRAFT_NATIVE": "tests.deploy.site.native",
        "GRAFT_DATA": str(folder / "var"),
        "GRAFT_SWITCHES": str(folder / "switches.toml"),
        "FORWARDED_ALLOW_IPS": "*" if bind.startswith("unix:") else "127.0.0.1",
        "WEB_CONCURRENCY": "2",
        "SITE_COUNT": str(folder / "count"),
        **env,
    }
    name = "".join(letter if letter in string.ascii_letters + string.digits else "-" for letter in bind)[-40:]
    with Site(command, folder / f"site{name}.log", env=environment(**settings), cwd=PROJECT) as process:
        process.bind = bind
        process.wait_for(lambda: process.ready(ready), PATIENCE, "the site to answer")
        yield process


def nginx_settings(
    folder: Path, *, http: int, https: int, upstream: str, second: str = "", **more: str
) -> dict[str, str]:
    """Values for the words of graft.conf.template."""
    return {
        "NGINX_SERVER_NAME": "localhost",
        "NGINX_HTTP": f"127.0.0.1:{http}",
        "NGINX_HTTPS": f"127.0.0.1:{https}",
        "NGINX_PUBLIC_PORT": f":{https}",
        "NGINX_UPSTREAM": upstream,
        "NGINX_UPSTREAM_2": second or upstream,
        "NGINX_CERTIFICATE": str(folder / "localhost.pem"),
        "NGINX_CERTIFICATE_KEY": str(folder / "localhost.key"),
        "NGINX_STATIC": str(folder / "disk"),
        "NGINX_PAGES": str(DEPLOY / "nginx" / "pages"),
        "NGINX_STATE": str(folder),
        "NGINX_ACCESS_LOG": str(folder / "access.log"),
        **more,
    }


def seconds_to_first_events(client: Callable[[], httpx.Client], path: str) -> list[float]:
    """How long the first event of ``path`` took, twenty times over warm connections; the second has to follow it."""

    def one_visitor(_: int) -> list[float]:
        taken = []
        with client() as visitor:
            visitor.get("/native")
            for _ in range(5):
                begun = time.perf_counter()
                with visitor.stream("GET", f"{path}?wait=0.3", headers=EVENTS) as answer:
                    lines = answer.iter_lines()
                    assert next(lines) == "data: first"
                    taken.append(time.perf_counter() - begun)
                    assert "data: second" in list(lines)
        return taken

    with ThreadPoolExecutor(4) as visitors:
        return [seconds for taken in visitors.map(one_visitor, range(4)) for seconds in taken]


def graft(*words: str, folder: Path, **env: str) -> tuple[int, str, str]:
    """``graft`` in ``folder``, as a person in a shell there: its exit code, stdout and stderr."""
    settings = environment(**{"TMPDIR": str(folder.parent), **env})  # other gateways of this machine are not seen
    settings.pop("PORT")
    done = subprocess.run(
        [sys.executable, "-m", "graft", *words], cwd=folder, env=settings, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@contextmanager
def caddy(folder: Path, port: int, **settings: str) -> Iterator[Process]:
    """Caddy with the project's Caddyfile, listening on ``port``."""
    found = program("caddy", "apt install caddy")
    env = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), **settings}
    command = [found, "run", "--config", str(DEPLOY / "caddy" / "Caddyfile"), "--adapter", "caddyfile"]
    with Process(command, folder / "caddy.log", env=env) as server:
        server.wait_for(lambda: accepts(port), PATIENCE, "Caddy to listen")
        yield server


__all__ = [
    "DEPLOY",
    "PATIENCE",
    "Site",
    "caddy",
    "filled_in",
    "graft",
    "nginx_settings",
    "seconds_to_first_events",
    "site",
    "wait_until",
]
