"""The access log of a real server: every request in it once, whatever ends the server and whoever reads it."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.deploy.running import PATIENCE, site
from tests.parts import accepts, free_port, wait_until
from tests.parts.gateway import PROJECT, environment

LINE = re.compile(
    r"[\d-]{10} [\d:]{8},\d{3} INFO {4}\[(\S+)\] graft\.access: GET (/\S*) (\d{3}) (?:native|legacy) [\d.]+ ms"
)


def ask(port: int, paths: list[str]) -> None:
    """One after the other, on one connection; each has its answer before the next one is sent."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    for number, path in enumerate(paths):
        connection.request("GET", path, headers={"X-Request-ID": f"r-{number}"})
        connection.getresponse().read()
    connection.close()


def logged(output: str) -> list[str]:
    """The request ids of ``ask`` in the order of the log, each line of which is whole."""
    lines = [line for line in output.splitlines() if "graft.access" in line]
    assert [line for line in lines if LINE.fullmatch(line) is None] == []
    return [match[1] for line in lines if (match := LINE.fullmatch(line)) and match[1].startswith("r-")]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_nothing_is_lost_when_gunicorn_ends(ending: signal.Signals, tmp_path: Path) -> None:
    port = free_port()
    with site(tmp_path, f"127.0.0.1:{port}", WEB_CONCURRENCY="1") as process:
        ask(port, ["/native", "/legacy"] * 50)
        os.killpg(process.pid, ending)  # as Ctrl-C does it
        process.wait(PATIENCE)
        assert logged(process.output()) == [f"r-{number}" for number in range(100)]


@pytest.mark.parametrize("kind", ["auto", "h11"])
def test_nothing_is_lost_when_uvicorn_ends(kind: str, tmp_path: Path) -> None:
    port = free_port()
    with site(tmp_path, f"127.0.0.1:{port}", uvicorn=kind, WEB_CONCURRENCY="1") as process:
        ask(port, ["/native", "/legacy"] * 50)
        os.kill(process.pid, signal.SIGTERM)
        process.wait(PATIENCE)
        assert logged(process.output()) == [f"r-{number}" for number in range(100)]


def test_a_killed_worker_has_written_all_but_the_last_moment(tmp_path: Path) -> None:
    port = free_port()
    with site(tmp_path, f"127.0.0.1:{port}", WEB_CONCURRENCY="1") as process:
        ask(port, ["/native"] * 30)
        process.wait_for(lambda: len(logged(process.output())) == 30, PATIENCE, "the lines, without any more requests")
        (worker,) = process.workers()
        os.kill(worker, signal.SIGKILL)
        process.wait_for(lambda: process.workers() - {worker}, PATIENCE, "another worker")
        assert logged(process.output()) == [f"r-{number}" for number in range(30)]


def test_a_log_file_that_is_moved_away_is_opened_anew_at_usr1(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "gateway.log"
    options = ("--capture-output", "--error-logfile", str(log))
    with site(tmp_path, f"127.0.0.1:{port}", *options, WEB_CONCURRENCY="1") as process:
        ask(port, ["/native"] * 3)
        process.wait_for(lambda: len(logged(log.read_text())) == 3, PATIENCE, "the lines")
        log.rename(tmp_path / "gateway.log.1")
        os.kill(process.pid, signal.SIGUSR1)

        def arrives_in_the_new_file() -> bool:
            ask(port, ["/native"])
            return log.exists() and bool(logged(log.read_text()))

        process.wait_for(arrives_in_the_new_file, PATIENCE, "a line in the new file")


def test_a_log_that_nobody_reads_holds_up_no_request_and_tells_what_is_lost(tmp_path: Path) -> None:
    """As a terminal that was stopped with Ctrl-S, or a log collector that hangs."""
    port = free_port()
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "gunicorn", "gateway:app", "--bind", f"127.0.0.1:{port}"]
    settings = environment(
        GRAFT_LEGACY="tests.deploy.site.legacy:app",
        GRAFT_NATIVE="tests.deploy.site.native",
        GRAFT_DATA=str(tmp_path / "var"),
        GRAFT_SWITCHES=str(tmp_path / "switches.toml"),
        WEB_CONCURRENCY="1",
    )
    process = subprocess.Popen(command, cwd=PROJECT, env=settings, stdout=writing, stderr=writing)
    os.close(writing)
    read: list[bytes] = []

    def read_all() -> None:
        while data := os.read(reading, 65536):
            read.append(data)

    try:
        wait_until(lambda: accepts(port), PATIENCE, "the gateway to listen")
        # 6 MB of log; what waits for a reader is 4 MiB, the batch that is being written, and what a pipe holds.
        ask(port, ["/nowhere/" + "x" * 3600] * 1500)
        threading.Thread(target=read_all).start()
        wait_until(lambda: b"access records are lost" in b"".join(read), PATIENCE, "the notice")
        ask(port, ["/native"])
        wait_until(lambda: b"GET /native 200" in b"".join(read), PATIENCE, "a line after it")
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0
        os.close(reading)
    output = b"".join(read).decode()
    notice = re.search(r"(\d+) access records are lost", output)
    assert notice is not None
    lines = [line for line in output.splitlines() if "graft.access: GET /nowhere" in line]
    assert len(lines) + int(notice[1]) == 1500
    assert int(notice[1]) > 0
    kept = [match[1] for line in lines if (match := LINE.fullmatch(line))]
    assert kept == [f"r-{number}" for number in range(len(lines))]
