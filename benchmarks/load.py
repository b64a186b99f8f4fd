"""Load by wrk, and what it tells."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from benchmarks.results import BenchmarkError
from benchmarks.servers import Server
from benchmarks.settings import Settings, pinned


@dataclass(frozen=True)
class Load:
    """What wrk does."""

    path: str
    connections: int = 16
    script: str | None = None  # Lua


@dataclass(frozen=True)
class Sample:
    """One round with one contender. Times in milliseconds; ``errors`` are refused, broken and unanswered requests.

    ``cpu`` is the processor time of its worker for one request; 0 where that was not looked at.
    """

    requests_per_second: float
    p50: float
    p99: float
    errors: int
    cpu: float = 0.0


def wrk(server: Server, load: Load, settings: Settings, seconds: int | None = None) -> Sample:
    seconds = seconds or settings.seconds
    before = server.cpu_seconds()
    with wrk_running(server, load, settings, seconds) as process:
        output, _ = process.communicate()
    spent = server.cpu_seconds() - before
    settings.advance(seconds, server.name)
    answered = re.search(r"(\d+) requests in", output)
    return replace(parse(output), cpu=spent * 1000 / int(answered[1]) if answered and int(answered[1]) else 0.0)


@contextmanager
def wrk_running(server: Server, load: Load, settings: Settings, seconds: int) -> Iterator[subprocess.Popen[str]]:
    with _wrk(f"http://127.0.0.1:{server.port}", load, seconds, settings.load_core) as process:
        yield process


def ask(address: str, load: Load, seconds: int) -> Sample:
    """Load on a server that is no contender, wherever the system puts it."""
    with _wrk(address, load, seconds, None) as process:
        output, _ = process.communicate()
    return parse(output)


@contextmanager
def _wrk(address: str, load: Load, seconds: int, core: int | None) -> Iterator[subprocess.Popen[str]]:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--latency", "--timeout", "20s"]
        if load.script:
            script.write(load.script)
            script.flush()
            command += ["-s", script.name]
        process = subprocess.Popen(pinned([*command, address + load.path], core), stdout=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()


def parse(output: str) -> Sample:
    """Raises BenchmarkError when this is not what wrk prints at its end."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None:
        raise BenchmarkError(f"wrk said: {output}")
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
