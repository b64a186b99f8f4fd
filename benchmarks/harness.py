"""Servers side by side, load by wrk in alternating rounds, ratios of medians.

Absolute figures move by 2x between hours on a shared machine, so no figure here stands alone: every round asks each
contender once, in turn, and a result is the ratio of the medians over the rounds.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
DEFAULTS = "benchmarks/apps/gunicorn_defaults.py"


@dataclass(frozen=True)
class Contender:
    """A server: ``command`` has ``{port}`` in it. One process answers."""

    name: str
    command: tuple[str, ...]
    probe: str = "/small"
    environment: tuple[tuple[str, str], ...] = ()


def uvicorn_worker(app: str, config: str = DEFAULTS) -> tuple[str, ...]:
    """Gunicorn's own defaults: the gunicorn.conf.py of this folder is the gateway's, and no peer's."""
    return (
        f"{BIN}/gunicorn", "-c", config, "-k", "uvicorn.workers.UvicornWorker", "-w", "1", "-b", "127.0.0.1:{port}",
        "--log-level", "error", "--keep-alive", "60", app,
    )  # fmt: skip


LEGACY = "benchmarks.apps.legacy:app"
# The gateway itself, as it is run, with an app and native routes of the benchmark's own.
GRAFT = Contender(
    "graft",
    uvicorn_worker("gateway:app", "gunicorn.conf.py"),
    environment=(
        ("GRAFT_LEGACY", LEGACY),
        ("GRAFT_NATIVE", "benchmarks.apps.native"),
        ("GRAFT_DATA", str(Path(tempfile.gettempdir()) / "graft-benchmarks")),
        ("LOG_LEVEL", "error"),
    ),
)
PLAIN = Contender("plain a2wsgi", uvicorn_worker("benchmarks.apps.mounted:plain"))
GTHREAD = Contender(
    "gunicorn gthread",
    (
        f"{BIN}/gunicorn", "-c", DEFAULTS, "-k", "gthread", "--threads", "16", "-w", "1", "-b", "127.0.0.1:{port}",
        "--log-level", "error", "--keep-alive", "60", LEGACY,
    ),
)  # fmt: skip
GRANIAN = Contender(
    "granian",
    (
        f"{BIN}/granian", "--interface", "wsgi", "--workers", "1", "--blocking-threads", "16",
        "--port", "{port}", "--no-access-log", "--log-level", "error", LEGACY,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Load:
    """What wrk does."""

    path: str
    connections: int = 16
    script: str | None = None  # Lua


@dataclass(frozen=True)
class Sample:
    """One round with one contender. Times in milliseconds."""

    requests_per_second: float
    p50: float
    p99: float
    errors: int


@dataclass(frozen=True)
class Goal:
    """``value`` is to be at least, or at most, ``limit``; both are ratios unless ``unit`` says otherwise."""

    label: str
    value: float
    limit: float
    at_most: bool = False
    unit: str = "x"

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit


@dataclass
class Result:
    """What came of one work."""

    work: str
    title: str
    goals: list[Goal]
    medians: dict[str, dict[str, float]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Settings:
    """How long and how often; which cores. None as a core: the system chooses."""

    rounds: int
    seconds: int
    server_core: int | None
    load_core: int | None

    @property
    def cores(self) -> str:
        if self.server_core is None:
            return "not pinned"
        return f"servers on core {self.server_core}, wrk on core {self.load_core}"


def pinned(command: list[str], core: int | None) -> list[str]:
    return command if core is None else ["taskset", "-c", str(core), *command]


@dataclass(frozen=True)
class Server:
    contender: Contender
    port: int
    process: subprocess.Popen[bytes]

    @property
    def worker(self) -> psutil.Process:
        """The process that answers: the last child of a process manager, or the process itself."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return children[-1] if children else psutil.Process(self.process.pid)


@contextmanager
def serving(contender: Contender, settings: Settings) -> Iterator[Server]:
    port = _free_port()
    command = [part.replace("{port}", str(port)) for part in contender.command]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "PYTHONWARNINGS": "ignore",
        **dict(contender.environment),
    }
    process = subprocess.Popen(pinned(command, settings.server_core), cwd=ROOT, env=environment, start_new_session=True)
    try:
        _wait_until_up(contender, port, process)
        yield Server(contender, port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def all_serving(contenders: Iterable[Contender], settings: Settings) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serving(contender, settings)) for contender in contenders]


def wrk(server: Server, load: Load, settings: Settings, seconds: int | None = None) -> Sample:
    with wrk_running(server, load, settings, seconds or settings.seconds) as process:
        output, _ = process.communicate()
    return _parse(output)


@contextmanager
def wrk_running(server: Server, load: Load, settings: Settings, seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--latency", "--timeout", "20s"]
    if load.script:
        path = Path(tempfile.gettempdir()) / f"graft-wrk-{os.getpid()}-{abs(hash(load.script))}.lua"
        path.write_text(load.script)
        command += ["-s", str(path)]
    command.append(f"http://127.0.0.1:{server.port}{load.path}")
    process = subprocess.Popen(pinned(command, settings.load_core), stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()


def alternate(servers: list[Server], load: Load, settings: Settings, warm_up: int = 1) -> dict[str, list[Sample]]:
    """Each round asks every contender once; every other round in the opposite order."""
    for server in servers:
        wrk(server, load, settings, warm_up)
    samples: dict[str, list[Sample]] = {server.contender.name: [] for server in servers}
    for number in range(settings.rounds):
        for server in servers if number % 2 == 0 else reversed(servers):
            samples[server.contender.name].append(wrk(server, load, settings))
    return samples


def medians(samples: dict[str, list[Sample]]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "requests_per_second": statistics.median(sample.requests_per_second for sample in each),
            "p50_ms": statistics.median(sample.p50 for sample in each),
            "p99_ms": statistics.median(sample.p99 for sample in each),
            "errors": sum(sample.errors for sample in each),
        }
        for name, each in samples.items()
    }


def compare(
    work: str,
    title: str,
    load: Load,
    goals: dict[Contender, float],
    settings: Settings,
    *,
    p99_lowest: bool = False,
    ours: Contender = GRAFT,
) -> Result:
    """Throughput of graft against each peer, as a ratio of medians, with the least ratio that is wanted."""
    with all_serving([ours, *goals], settings) as servers:
        found = medians(alternate(servers, load, settings))
    our_figures = found[ours.name]
    results = [
        Goal(f"throughput / {peer.name}", _ratio(our_figures, found[peer.name], "requests_per_second"), limit)
        for peer, limit in goals.items()
    ]
    if p99_lowest:
        results += [
            Goal(f"p99 / {peer.name}", _ratio(our_figures, found[peer.name], "p99_ms"), 1.0, at_most=True)
            for peer in goals
        ]
    return Result(work, title, results, found)


def _ratio(ours: dict[str, float], theirs: dict[str, float], what: str) -> float:
    return ours[what] / theirs[what] if theirs[what] else 0.0


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_until_up(contender: Contender, port: int, process: subprocess.Popen[bytes]) -> None:
    request = f"GET {contender.probe} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(request)
                if b" 200 " in connection.recv(100):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"{contender.name} did not start: {' '.join(contender.command)}")


def _parse(output: str) -> Sample:
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None:
        raise SystemExit(f"wrk said: {output}")
    errors = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", output))
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    if sockets:
        errors += sum(int(number) for number in sockets.groups())
    return Sample(float(rate[1]), _percentile(output, 50), _percentile(output, 99), errors)


def _percentile(output: str, percent: int) -> float:
    found = re.search(rf"\s{percent}%\s+([\d.]+)(us|ms|s|m)\b", output)
    if found is None:
        return float("nan")
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[found[2]]


def require_tools() -> None:
    missing = [tool for tool in ("wrk",) if shutil.which(tool) is None]
    missing += [tool for tool in ("gunicorn", "granian") if not (BIN / tool).exists()]
    if missing:
        raise SystemExit(f"missing: {', '.join(missing)}; see benchmarks/README.md")
