"""Views that hang for ever: a worker that they have taken the threads of is replaced, under Gunicorn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2 as httpx

from tests.deploy.running import Site, site
from tests.parts import free_port
from tests.parts.gateway import PROJECT

HANGING = """
import threading
from graft.threads import stuck_threads
from tests.deploy.site.legacy import app

stuck_threads.SECONDS = {seconds}

@app.get("/hang")
def hang():
    threading.Event().wait()
"""
STUCK = re.compile(r"(\d) of the 4 threads of worker (\d+) have been stuck for [\d.]+ s: (.*)")
SETTINGS = {"GRAFT_LEGACY": "hanging:app", "GRAFT_LEGACY_TIMEOUT": "0.5", "GRAFT_LEGACY_THREADS": "4"}


def settings(folder: Path, seconds: float) -> dict[str, str]:
    (folder / "hanging.py").write_text(HANGING.format(seconds=seconds))
    return {**SETTINGS, "PYTHONPATH": f"{PROJECT}:{folder}"}


@contextmanager
def connected(process: Site, worker: int) -> Iterator[httpx.Client]:
    """A client whose connection leads to ``worker``."""
    while True:
        with process.client() as client:
            if client.get("/native").json()["pid"] == worker:
                yield client
                return


def hang(process: Site, worker: int, times: int) -> None:
    """Takes so many threads of ``worker`` for ever."""
    with connected(process, worker) as client:
        for _ in range(times):
            assert client.get("/hang").status_code == 504


def lines(process: Site) -> list[tuple[str, int, str]]:
    return [(number, int(pid), rest) for number, pid, rest in STUCK.findall(process.output())]


def test_a_worker_whose_threads_hang_for_ever_is_replaced_one_at_a_time(tmp_path: Path) -> None:
    with site(tmp_path, f"127.0.0.1:{free_port()}", **settings(tmp_path, 2.0)) as process, ExitStack() as stack:
        process.wait_for(lambda: len(process.workers()) == 2, 10, "two workers")
        first, second = before = sorted(process.workers())
        visitor = stack.enter_context(connected(process, first))
        hang(process, first, 2)
        events = stack.enter_context(visitor.stream("GET", "/native-events?wait=8"))
        told = events.iter_lines()
        assert next(told) == "data: first"
        hang(process, second, 2)
        process.wait_for(lambda: len(lines(process)) == 1, 20, "the line")
        number, pid, rest = lines(process)[0]
        assert (number, pid) == ("2", first)
        assert re.search(r"it drains and exits, and .* place\. 2 x it is in .*threading\.py:\d+, wait", rest)
        process.wait_for(lambda: len(process.workers() - {*before}) == 1, 20, "another worker, while the first drains")
        assert "data: second" in list(told)  # nothing that had begun is cut
        process.wait_for(lambda: not process.workers() & {*before}, 30, "the end of both")
        process.wait_for(lambda: len(process.workers()) == 2 and process.ready("/legacy"), 30, "two others")
        output = process.output()
        assert [pid for _, pid, _ in lines(process)] == [first, second]
        assert output.index(f"Finished server process [{first}]") < output.index(f"of worker {second} have been stuck")
        assert "Traceback" not in output


def test_under_uvicorn_alone_it_only_says_so(tmp_path: Path) -> None:
    alone = {**settings(tmp_path, 0.5), "WEB_CONCURRENCY": "1"}
    with site(tmp_path, f"127.0.0.1:{free_port()}", uvicorn="h11", **alone) as process:
        with process.client() as client:
            pid = client.get("/native").json()["pid"]
        hang(process, pid, 3)
        process.wait_for(lambda: "Restart it" in process.output(), 20, "the line")
        assert len(lines(process)) == 1
        with process.client() as client:
            assert client.get("/legacy").json()["pid"] == pid
        assert "Shutting down" not in process.output()
