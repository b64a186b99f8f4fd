"""Servers under test: started in a folder of their own, waited for, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.contenders import ROOT, Contender
from benchmarks.results import BenchmarkError
from benchmarks.settings import Settings, pinned

START_SECONDS = 20
STOP_SECONDS = 15
LOG_TAIL = 3000  # characters of a server's log that are shown when it does not start
# What is set for the person who runs this shall not reach the servers.
PRIVATE = ("GRAFT_", "ELASTICSEARCH_", "PROMETHEUS_", "GUNICORN_", "FLASK_", "LOG_", "WEB_CONCURRENCY", "PORT", "HOST")


@dataclass(frozen=True)
class Server:
    contender: Contender
    port: int
    process: subprocess.Popen[bytes]

    @property
    def name(self) -> str:
        return self.contender.name

    @property
    def worker(self) -> psutil.Process:
        """The process that answers: the last child of a process manager, or the process itself."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return children[-1] if children else psutil.Process(self.process.pid)

    def cpu_seconds(self) -> float:
        """What the worker has taken of the processor so far."""
        times = self.worker.cpu_times()
        return float(times.user + times.system)


@contextmanager
def serving(contender: Contender, settings: Settings, extra: Mapping[str, str] | None = None) -> Iterator[Server]:
    """``extra`` goes into its environment. Raises BenchmarkError with the log's tail when it does not start."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="graft-benchmark-", ignore_cleanup_errors=True) as folder:
        command = pinned([part.replace("{port}", str(port)) for part in contender.command], settings.server_core)
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment_of(contender, folder, extra),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait_until_up(contender, port, process, log)
            yield Server(contender, port, process)
        finally:
            _stop(process)


@contextmanager
def all_serving(
    contenders: Iterable[Contender], settings: Settings, extra: Mapping[str, str] | None = None
) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serving(contender, settings, extra)) for contender in contenders]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def accepts(port: int) -> bool:
    """Does something listen there?"""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def environment_of(contender: Contender, folder: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)}
    own = {name: value.replace("{folder}", folder) for name, value in contender.environment}
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", **own, **(extra or {})}


def _wait_until_up(contender: Contender, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if _answers(contender, port):
            return
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-LOG_TAIL:]
    raise BenchmarkError(f"{contender.name} did not start: {' '.join(contender.command)}\n{tail}")


def _answers(contender: Contender, port: int) -> bool:
    request = f"GET {contender.probe} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode()
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(request)
            return b" 200 " in connection.recv(100)
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
