"""Reloads, recycling, scaling, restarts and a killed worker under steady load: no request is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from itertools import groupby
from pathlib import Path

import httpx2 as httpx
import psutil
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
    def certificate(self) -> Path:
        return self.folder / "localhost.pem"

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def get(self, path: str) -> str:
        with httpx.Client(verify=self.trust) as client:
            return client.get(f"https://localhost:{self.port}{path}").text

    @asynccontextmanager
    async def load(self) -> AsyncIterator[Load]:
        """Steady load, a second before and a second after what the test does, four at least; then the accounts."""
        async with steady(self.port, self.certificate) as load:
            enough = time.monotonic() + 4
            await asyncio.sleep(1)
            yield load
            await asyncio.sleep(max(1.0, enough - time.monotonic()))
        print(load)


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


LEAST = 400
"""Requests, of the 800 and more that four seconds are meant for: on a host that stands still for half of them it is a
load all the same. How quickly it is answered is for benchmarks/."""


def steady_enough(load: Load) -> None:
    """There was a load all along; what is said of it is that none was lost, whatever the host does meanwhile."""
    assert load.offered >= LEAST, str(load)


def nothing_lost(front: Front, load: Load) -> None:
    steady_enough(load)
    assert load.lost == []
    assert load.good == load.offered
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
    with front(tmp_path, "--max-requests", "400", "--max-requests-jitter", "200") as running:
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
    """The victim is stopped first, so that what it holds can be counted, and killed then. Nothing else may be lost."""
    (tmp_path / "journaled.py").write_text(JOURNALED.format(folder=tmp_path))
    with front(tmp_path, tcp=True, GRAFT_LEGACY="journaled:app") as running:
        port = int(running.site.bind.rpartition(":")[2])
        async with running.load() as load, httpx.AsyncClient(verify=running.trust, timeout=30) as client:
            url, names = f"https://localhost:{running.port}/stream/100/20", {f"long-{number}" for number in range(4)}
            long = {name: asyncio.create_task(client.get(url, headers={"X-Request-ID": name})) for name in names}
            await until(lambda: names <= {name for pid in running.site.workers() for name in open_in(tmp_path, pid)})
            victim = psutil.Process(max(running.site.workers(), key=lambda pid: len(open_in(tmp_path, pid) & names)))
            victim.suspend()
            await until(lambda: victim.status() == psutil.STATUS_STOPPED)
            held, silent = open_in(tmp_path, victim.pid), silent_in(tmp_path, victim, port)
            victim.kill()
            await until(lambda: len(running.site.workers() - {victim.pid}) >= 2)
            await asyncio.wait(long.values())
        print(f"{len(held)} held, {silent} connections without a request yet")
        steady_enough(load)
        for name, answer in long.items():
            assert (answer.exception() is not None) == (name in held), name
        lost = {one["name"]: one["kind"] for one in load.lost}
        assert set(lost.values()) <= {"count", "upload", "stream", "events"}  # what only reads was asked once more
        strangers = {name: kind for name, kind in lost.items() if name not in held}
        assert set(strangers.values()) <= {"count", "upload"}
        assert len(strangers) <= silent
        assert load.good + len(lost) == load.offered
        written = Counter((tmp_path / "count").read_text().split())
        assert set(written.values()) == {1}
        assert set(load.counted) - set(lost) <= set(written) <= set(load.counted)


# Notes each request that a worker begins and ends, with the port of the connection's other end.
JOURNALED = """
import os
from graft.connection.protocol import Connection
from tests.deploy.site.legacy import app

journal = os.open("{folder}/journal-%d" % os.getpid(), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
began, ended = Connection.request, Connection.finished

def note(what, connection, cycle):
    name = dict(cycle.scope["headers"]).get(b"x-request-id", b"-").decode()
    os.write(journal, f"{{what}} {{connection.transport.get_extra_info('peername')[1]}} {{name}}\\n".encode())

def request(self, *head):
    cycle = began(self, *head)
    note("began", self, cycle)
    return cycle

def finished(self, cycle):
    note("ended", self, cycle)
    ended(self, cycle)

Connection.request = request
Connection.finished = finished
"""


def journal_of(folder: Path, pid: int) -> list[list[str]]:
    path = folder / f"journal-{pid}"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def open_in(folder: Path, pid: int) -> set[str]:
    """The names of the requests that a worker has begun and not ended."""
    lines = journal_of(folder, pid)
    return {name for what, _, name in lines if what == "began"} - {name for what, _, name in lines if what == "ended"}


def silent_in(folder: Path, worker: psutil.Process, port: int) -> int:
    """How many connections a worker has that never brought a request: the first may be on its way."""
    spoke = {int(peer) for _, peer, _ in journal_of(folder, worker.pid)}
    mine = {one.raddr.port for one in worker.net_connections("tcp") if one.raddr and one.laddr.port == port}
    return len(mine - spoke)


ORDERED = """
import atexit, flask, logging
from elastic_transport import AsyncTransport
from graft.threads.pool import Pool

log = logging.getLogger("order")

def told(cls, name, word):
    original = getattr(cls, name)
    async def wrapped(self, *args, **options):
        result = await original(self, *args, **options)
        log.warning("closed: %s", word)
        return result
    setattr(cls, name, wrapped)

told(AsyncTransport, "close", "elasticsearch")
told(Pool, "aclose", "threads")

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
        told = [line.rpartition("closed: ")[2] for line in process.output().splitlines() if "closed: " in line]
    assert told.count("threads") >= 2  # the users', and the mirror's
    assert [part for part, _ in groupby(told)] == ["request", "threads", "elasticsearch"]
