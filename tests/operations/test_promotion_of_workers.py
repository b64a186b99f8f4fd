"""A climb under Gunicorn: the command is killed, the worker that climbs is killed, and a person wins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest

from graft.operations.file_state import FileState
from graft.operations.rollback import rollback
from graft.operations.switches import load
from graft.types import RouteKey
from tests.deploy.running import Site, site
from tests.parts import free_port, wait_until
from tests.parts.gateway import PROJECT, environment

pytestmark = pytest.mark.slow

KEY = RouteKey("GET", "/read")
SWITCHES = """\
["GET /read"]
mirror = 100
ladder = [10, 50, 100]
bake = 0.2
watch = 3
gates = { compared = 5, parity = 50, errors = 50, slower = 1000, uncompared = 100, confidence = 50 }
"""
PATIENCE = 60.0


@contextmanager
def climbing(folder: Path) -> Iterator[tuple[Site, FileState, subprocess.Popen[str]]]:
    """A site of three workers with traffic, and ``graft promote --watch`` of its route."""
    (folder / "switches.toml").write_text(SWITCHES)
    bind = f"127.0.0.1:{free_port()}"
    env = {
        "GRAFT_LEGACY": "tests.switching.failing:app",
        "GRAFT_NATIVE": "tests.switching.failing.native",
        "GRAFT_DATA": str(folder / "var"),
        "GRAFT_SWITCHES": str(folder / "switches.toml"),
        "GRAFT_MIRROR_BUDGET": "100",
    }
    with site(folder, bind, "--workers", "3", ready="/read", **env) as running:
        ends = threading.Event()

        def visit() -> None:
            while not ends.wait(0.01):
                try:
                    with httpx.Client() as client:
                        client.get(f"http://{bind}/read", headers={"user-agent": os.urandom(4).hex()})
                except httpx.HTTPError:
                    continue  # by a worker that was killed

        visitor = threading.Thread(target=visit)
        visitor.start()
        words = ["promote", str(KEY), "--watch", "--every", "0.2", "--url", f"http://{bind}"]
        command = subprocess.Popen(
            [sys.executable, "-m", "graft", *words],
            env=environment(**env),
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield running, FileState(folder / "switches.toml", folder / "var"), command
        finally:
            command.kill()
            command.communicate()
            ends.set()
            visitor.join()


def driver(running: Site) -> int | None:
    """The worker that holds the lease."""
    for pid in running.workers():
        files = {os.path.basename(file.path) for file in psutil.Process(pid).open_files()}
        if ".promotion.lease" in files:
            return pid
    return None


def share(state: FileState) -> float:
    return state.read().for_route(KEY).share


def test_a_climb_survives_its_command_and_the_worker_that_drives_it(tmp_path: Path) -> None:
    with climbing(tmp_path) as (running, state, command):
        wait_until(lambda: share(state) >= 1, PATIENCE, "the climb to begin")
        command.kill()
        first = wait_until(lambda: driver(running), PATIENCE, "a worker to drive it")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: share(state) == 100, PATIENCE, "the route to be native")
        second = wait_until(lambda: driver(running), PATIENCE, "another worker to drive it")
        assert second != first
        os.kill(second, signal.SIGKILL)
        wait_until(lambda: state.read()[KEY].climb is None, PATIENCE, "the top to have been watched")
        assert share(state) == 100
        operations = [event.operation for event in reversed(state.history(KEY))]
        assert operations == ["climb", "promote", "promote", "promote", "native"]


def test_a_rollback_by_command_stays_and_the_watching_command_says_whose_it_was(tmp_path: Path) -> None:
    with climbing(tmp_path) as (_, state, command):
        wait_until(lambda: share(state) >= 1, PATIENCE, "the climb to begin")
        rollback(state, KEY, by="bob", why="wrong totals")
        output, _ = command.communicate(timeout=PATIENCE)
        assert command.returncode == 1, output
        assert "rollback by bob: wrong totals" in output
        assert load(tmp_path / "switches.toml")[KEY].share == 0
        assert state.history(KEY)[0].operation == "rollback"


def test_a_reload_ends_neither_the_climb_nor_the_command_that_watches_it(tmp_path: Path) -> None:
    with climbing(tmp_path) as (running, state, command):
        wait_until(lambda: share(state) >= 1, PATIENCE, "the climb to begin")
        before = running.workers()
        os.kill(running.pid, signal.SIGHUP)
        wait_until(lambda: not before & running.workers(), PATIENCE, "other workers")
        output, _ = command.communicate(timeout=PATIENCE)
        assert (command.returncode, share(state)) == (0, 100), output
        assert "native: share 100" in output
        assert [event.by for event in state.history(KEY)][:-1] == ["promotion"] * 4
