"""Reloads, recycling, scaling, restarts and a killed worker under steady load: no request is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.deploy.load import Load, steady
from tests.deploy.running import DEPLOY, Site, filled_in, nginx_settings, site
from tests.parts import free_port, nginx

pytestmark = pytest.mark.slow
CHANGING = """
from tests.deploy.site.legacy import app

@app.get("/version")
def version():
    return "{version}"
"""


class Front:
    """Nginx over one or two instances of the site."""

    def __init__(self, folder: Path, port: int, sites: list[Site]) -> None:
        self.folder = folder
        self.port = port
        self.sites = sites

    @property
    def site(self) -> Site:
        return self.sites[0]

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "localhost.pem"))

    def get(self, path: str) -> str:
        with httpx.Client(verify=self.trust) as client:
            return client.get(f"https://localhost:{self.port}{path}").text

    @asynccontextmanager
    async def load(self) -> AsyncIterator[Load]:
        """Steady load, half a second before and half a second after what the test does; then the accounts."""
        async with steady(self.port, self.trust) as load:
            await asyncio.sleep(0.5)
            yield load
            await asyncio.sleep(0.5)
        print(f"{load.answered} requests, {load.rate:.0f} a second, {len(load.bad)} lost: {load.bad[:5]}")


@contextmanager
def front(folder: Path, *options: str, instances: int = 1, tcp: bool = False, **env: str) -> Iterator[Front]:
    folder.chmod(0o755)
    (folder / "changing.py").write_text(CHANGING.format(version="first"))
    nginx.certificate(folder)
    env = {"GRAFT_LEGACY": "changing:app", "PYTHONPATH": f"{DEPLOY.parent}:{folder}", **env}
    with ExitStack() as stack:
        binds = [
            f"127.0.0.1:{free_port()}" if tcp else f"unix:{folder}/graft-{number}.sock" for number in range(instances)
        ]
        sites = [stack.enter_context(site(folder, bind, *options, **env)) for bind in binds]
        http, https = free_port(), free_port()
        values = nginx_settings(folder, http=http, https=https, upstream=binds[0], second=binds[-1])
        config = filled_in(DEPLOY / "nginx" / "graft.conf.template", **values)
        stack.enter_context(nginx.running(folder, config, (http, https)))
        yield Front(folder, https, sites)


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)


def nothing_lost(front: Front, load: Load) -> None:
    assert load.bad == []
    written = (front.folder / "count").read_text().split()
    assert sorted(written) == sorted(load.counted), "a POST that was lost, or came twice"


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
async def test_a_reload_brings_new_code_and_loses_nothing(tmp_path: Path, tcp: bool) -> None:
    with front(tmp_path, tcp=tcp) as running:
        assert running.get("/version") == "first"
        async with running.load() as load:
            (tmp_path / "changing.py").write_text(CHANGING.format(version="the second"))
            old = running.site.workers()
            os.kill(running.site.pid, signal.SIGHUP)
            await until(lambda: not old & running.site.workers())
        nothing_lost(running, load)
        assert running.get("/version") == "the second"


async def test_workers_that_are_recycled_lose_nothing(tmp_path: Path) -> None:
    with front(tmp_path, "--max-requests", "150", "--max-requests-jitter", "50") as running:
        old = running.site.workers()
        async with running.load() as load:
            await until(lambda: not old & running.site.workers() and len(running.site.workers()) >= 2)
        nothing_lost(running, load)


async def test_scaling_up_and_down_loses_nothing(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        async with running.load() as load:
            os.kill(running.site.pid, signal.SIGTTIN)
            await until(lambda: len(running.site.workers()) == 3)
            for left in (2, 1):
                os.kill(running.site.pid, signal.SIGTTOU)
                await until(lambda left=left: len(running.site.workers()) == left)  # type: ignore[misc]
        nothing_lost(running, load)


async def test_a_rolling_restart_of_two_instances_loses_nothing(tmp_path: Path) -> None:
    with front(tmp_path, instances=2, WEB_CONCURRENCY="1") as running, ExitStack() as stack:
        async with running.load() as load:
            for instance in running.sites:
                instance._popen.send_signal(signal.SIGTERM)
                await until(lambda one=instance: not one.running())  # type: ignore[misc]
                env = {"GRAFT_LEGACY": "changing:app", "PYTHONPATH": f"{DEPLOY.parent}:{tmp_path}"}
                again = site(tmp_path, instance.bind, WEB_CONCURRENCY="1", **env)
                await asyncio.to_thread(stack.enter_context, again)
        nothing_lost(running, load)


async def test_what_is_under_way_at_term_is_finished(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        async with httpx.AsyncClient(verify=running.trust, base_url=f"https://localhost:{running.port}") as client:
            paths = ["/sleep/1.0", "/native-sleep/1.0", "/stream/50/20", "/native-events?wait=1"]
            tasks = [asyncio.create_task(client.get(path, timeout=30)) for path in paths * 2]
            await asyncio.sleep(0.5)
            running.site._popen.send_signal(signal.SIGTERM)
            answers = await asyncio.gather(*tasks)
        await until(lambda: not running.site.running())
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.text.count("part") == 50 for answer in answers[2::4])
    assert all("second" in answer.text for answer in answers[3::4])
    assert running.site.wait(10) == 0


async def test_a_killed_worker_costs_only_what_it_held(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        async with running.load() as load:
            victim = min(running.site.workers())
            os.kill(victim, signal.SIGKILL)
            await until(lambda: len(running.site.workers() - {victim}) >= 2)
        writes = [line for line in load.bad if line.startswith(("count", "upload"))]
        streams = [line for line in load.bad if line.startswith("stream")]
        assert set(load.bad) == {*writes, *streams}  # what only reads was asked again on the other worker
        assert len(load.bad) <= 6
        assert load.good.total() > 100


ORDERED = """
import atexit, flask, logging
from elastic_transport import AsyncTransport
from graft.legacy.mount import LegacyMount

log = logging.getLogger("order")

def told(cls, name, word):
    original = getattr(cls, name)
    async def wrapped(self, *args, **options):
        result = await original(self, *args, **options)
        log.warning("closed: %s", word)
        return result
    setattr(cls, name, wrapped)

told(AsyncTransport, "close", "elasticsearch")
told(LegacyMount, "aclose", "threads")

from tests.deploy.site.legacy import app

@app.teardown_request
def teardown(error):
    if flask.request.path.startswith("/sleep"):
        log.warning("closed: request")
"""


async def test_at_term_requests_end_before_threads_and_threads_before_elasticsearch(tmp_path: Path) -> None:
    (tmp_path / "ordered.py").write_text(ORDERED)
    env = {"GRAFT_LEGACY": "ordered:app", "PYTHONPATH": f"{DEPLOY.parent}:{tmp_path}", "WEB_CONCURRENCY": "1"}
    with site(tmp_path, f"127.0.0.1:{free_port()}", **env) as process:
        async with httpx.AsyncClient(base_url=f"http://{process.bind}", timeout=30) as client:
            task = asyncio.create_task(client.get("/sleep/1.0"))
            await asyncio.sleep(0.4)
            process._popen.send_signal(signal.SIGTERM)
            assert (await task).status_code == 200
        await until(lambda: not process.running())
        order = [line.rpartition("closed: ")[2] for line in process.output().splitlines() if "closed: " in line]
    assert order == ["request", "threads", "threads", "elasticsearch"]  # users' threads, and the mirror's
