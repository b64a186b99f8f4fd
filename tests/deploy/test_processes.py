"""What becomes of workers and master when the system has no process for one, or one of them is killed."""

from __future__ import annotations

import logging
import os
import signal
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from graft import gunicorn_private as private
from tests.deploy.running import Site, site
from tests.parts import free_port, wait_until
from tests.parts.gateway import PROJECT

NO_FORK = """
import errno, os, sys
if "gunicorn" in sys.orig_argv:
    _fork = os.fork

    def fork():
        if os.path.exists({flag!r}):
            raise OSError(getattr(errno, {code!r}), os.strerror(getattr(errno, {code!r})))
        return _fork()

    os.fork = fork
"""


def answers(process: Site) -> bool:
    with process.client() as client:
        return client.get("/native").status_code == client.get("/legacy").status_code == 200


def handled(process: Site, name: str, times: int) -> bool:
    return process.output().count(f"Handling signal: {name}") == times


def test_a_fork_that_fails_is_tried_again_and_the_others_serve_on(tmp_path: Path) -> None:
    flag = tmp_path / "no fork"
    (tmp_path / "sitecustomize.py").write_text(NO_FORK.format(flag=str(flag), code="EAGAIN"))
    with site(tmp_path, f"127.0.0.1:{free_port()}", PYTHONPATH=f"{tmp_path}:{PROJECT}") as process:
        process.wait_for(lambda: len(process.workers()) == 2, 10, "two workers")
        before = process.workers()
        flag.touch()
        os.kill(min(before), signal.SIGKILL)
        process.wait_for(lambda: "Can't start another worker: Resource temp" in process.output(), 10, "the line")
        for number in (1, 2):  # the master goes on, and tries again with each signal
            os.kill(process.pid, signal.SIGTTIN)
            process.wait_for(partial(handled, process, "ttin", number), 10, "the master to hear a signal")
            assert answers(process)
        assert process.output().count("Can't start another worker") == 1
        assert process.workers() == before - {min(before)}
        flag.unlink()
        process.wait_for(lambda: len(process.workers()) == 4, 20, "the workers that were owed")
        assert "Could start another worker again" in process.output()


def test_a_reload_without_room_for_a_process_keeps_the_workers_of_before(tmp_path: Path) -> None:
    flag = tmp_path / "no fork"
    (tmp_path / "sitecustomize.py").write_text(NO_FORK.format(flag=str(flag), code="ENOMEM"))
    # After a reload Gunicorn looks for so long whether the workers of before are gone.
    options = ("--graceful-timeout", "2")
    with site(tmp_path, f"127.0.0.1:{free_port()}", *options, PYTHONPATH=f"{tmp_path}:{PROJECT}") as process:
        process.wait_for(lambda: len(process.workers()) == 2, 10, "two workers")
        before = process.workers()
        flag.touch()
        os.kill(process.pid, signal.SIGHUP)
        process.wait_for(lambda: "Cannot allocate memory. The workers of before stay" in process.output(), 10, "a line")
        os.kill(process.pid, signal.SIGUSR2)
        process.wait_for(lambda: "Can't start the next master: Cannot allocate" in process.output(), 10, "a line")
        assert answers(process)
        assert process.workers() == before
        flag.unlink()
        os.kill(process.pid, signal.SIGHUP)
        process.wait_for(lambda: len(process.workers()) == 2 and not process.workers() & before, 30, "new workers")


def test_the_workers_of_a_killed_master_drain_and_the_next_master_has_the_address(tmp_path: Path) -> None:
    bind = f"127.0.0.1:{free_port()}"
    with site(tmp_path, bind) as process:
        process.wait_for(lambda: len(process.workers()) == 2, 10, "two workers")
        workers = [psutil.Process(pid) for pid in process.workers()]
        answered: list[str] = []

        def read_slowly() -> None:
            with process.client() as client, client.stream("GET", "/stream/4/600") as answer:
                for line in answer.iter_lines():
                    answered.append(line)

        visitor = threading.Thread(target=read_slowly)
        visitor.start()
        wait_until(lambda: answered, 10, "the slow answer to begin")
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        _, left = psutil.wait_procs(workers, timeout=10)
        for worker in left:
            worker.kill()
        assert not left, process.output()
        visitor.join()
        assert answered == [f"part {number}" for number in range(4)]  # what had begun was finished
        assert "is gone: worker" in process.output()
    with site(tmp_path, bind) as following:
        assert answers(following)


def test_a_worker_without_a_thread_ends_as_one_that_crashed_not_as_one_that_halts_the_server(tmp_path: Path) -> None:
    """A replacement that finds no thread must not take the workers along that serve."""
    flag = tmp_path / "no threads"
    (tmp_path / "sitecustomize.py").write_text(NO_THREADS.format(flag=str(flag)))
    with site(tmp_path, f"127.0.0.1:{free_port()}", PYTHONPATH=f"{tmp_path}:{PROJECT}") as process:
        process.wait_for(lambda: sum(serves(process, pid) for pid in process.workers()) == 2, 30, "two workers")
        before = process.workers()
        flag.touch()
        os.kill(min(before), signal.SIGKILL)
        process.wait_for(lambda: "can't start: the system has no thread" in process.output(), 20, "the line")
        with process.client() as client:
            for _ in range(5):  # of a worker that has no legacy thread yet
                assert client.get("/native").status_code == 200
                refused = client.get("/legacy")
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert refused.json()["error"]["code"] == "legacy_full"
        assert process.output().count("can't start another thread") == 1
        assert "Traceback" not in process.output()
        flag.unlink()
        process.wait_for(lambda: any(serves(process, pid) for pid in process.workers() - before), 30, "another worker")
        assert answers(process)


BROKEN_IMPORT = """
import importlib.abc, os, sys

class Broken(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {module!r} and os.path.exists({flag!r}):
            raise RuntimeError("half a release")

if "gunicorn" in sys.orig_argv:
    sys.meta_path.insert(0, Broken())
"""


@pytest.mark.parametrize(("module", "code"), [("tests.deploy.site.legacy", 4), ("gateway", 3)])
def test_a_worker_that_cannot_start_takes_nobody_along_who_serves(tmp_path: Path, module: str, code: int) -> None:
    flag = tmp_path / "broken"
    (tmp_path / "sitecustomize.py").write_text(BROKEN_IMPORT.format(module=module, flag=str(flag)))
    with site(tmp_path, f"127.0.0.1:{free_port()}", PYTHONPATH=f"{tmp_path}:{PROJECT}") as process:
        process.wait_for(lambda: sum(serves(process, pid) for pid in process.workers()) == 2, 30, "two workers")
        before = process.workers()
        flag.touch()
        os.kill(min(before), signal.SIGKILL)
        process.wait_for(lambda: process.output().count("can't start. Another one is tried") == 2, 30, "two tries")
        assert "half a release" in process.output()
        assert answers(process)
        flag.unlink()
        process.wait_for(lambda: any(serves(process, pid) for pid in process.workers() - before), 30, "another worker")
        flag.touch()
        for pid in process.workers():  # nobody serves: whoever watches over the server has to see it
            os.kill(pid, signal.SIGKILL)
        assert process.wait(30) == code


class _Worker(SimpleNamespace):
    tmp = SimpleNamespace(close=lambda: None)


def test_of_several_that_cannot_start_the_first_is_the_reason_and_the_stop_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    master = Arbiter.__new__(Arbiter)
    master.WORKERS = {pid: _Worker() for pid in (2**22 + 1, 2**22 + 2, 2**22 + 3)}
    master.cfg = SimpleNamespace(child_exit=lambda *_: None)
    master.log = logging.getLogger("of a test")
    master.reexec_pid = master.dirty_arbiter_pid = 0
    endings = iter([(2**22 + 1, 3 << 8), (2**22 + 2, 4 << 8), (2**22 + 3, 3 << 8), (0, 0)])
    monkeypatch.setattr(os, "waitpid", lambda *_: next(endings))
    stopped = []
    master.stop = lambda graceful=True: stopped.append((graceful, master.reap_workers()))
    private.keep_stopping(master)
    with pytest.raises(HaltServer) as first:
        master.reap_workers()  # while it serves
    assert first.value.exit_status == 3
    master.stop(False)
    assert (stopped, master.WORKERS) == ([(False, None)], {})
    private.keep_stopping(SimpleNamespace())  # of a release that does without


def serves(process: Site, pid: int) -> bool:
    return f"Started server process [{pid}]" in process.output()


NO_THREADS = """
import _thread, os, threading
_start = threading._start_new_thread if hasattr(threading, "_start_new_thread") else None

def start(*args, **kwargs):
    if os.path.exists({flag!r}):
        raise RuntimeError("can't start new thread")
    return _start(*args, **kwargs)

if _start is not None:
    threading._start_new_thread = start
else:
    _joinable = threading._start_joinable_thread

    def joinable(*args, **kwargs):
        if os.path.exists({flag!r}):
            raise RuntimeError("can't start new thread")
        return _joinable(*args, **kwargs)

    threading._start_joinable_thread = joinable
"""
