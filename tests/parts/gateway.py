"""The gateway as people start it: a real process under Gunicorn, Uvicorn or ``python gateway.py``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2 as httpx
import psutil

__all__ = ["COMMANDS", "PROJECT", "Gateway", "environment", "run_to_the_end", "serving"]

PROJECT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "gunicorn": (sys.executable, "-m", "gunicorn", "gateway:app", "-k", "uvicorn.workers.UvicornWorker"),
    "uvicorn": (sys.executable, "-m", "uvicorn", "gateway:app"),
    "python": (sys.executable, "gateway.py"),
}
PATIENCE = 30.0  # seconds; only a failing test waits that long


class Gateway:
    """A server that runs. ``base_url`` is where; ``log`` what it wrote so far, stdout and stderr together."""

    def __init__(self, process: subprocess.Popen[bytes], log_file: Path) -> None:
        self.process = process
        self.base_url = ""
        self._log_file = log_file
        self._family: set[psutil.Process] = set()

    @property
    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    @property
    def pid(self) -> int:
        return self.process.pid

    def family(self) -> set[psutil.Process]:
        """The process and all its children, those of earlier calls included."""
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.pid)
            self._family |= {parent, *parent.children(recursive=True)}
        return self._family

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the log matches ``pattern``; fails with the log when it does not, or the process ends before."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            if match := re.search(pattern, self.log):
                return match
            if ended:
                break
            time.sleep(0.02)
        raise AssertionError(f"never saw {pattern!r}; exit code {self.process.poll()}, log:\n{self.log}")

    def wait_until_ready(self, path: str) -> None:
        """Wait until the address in the log answers. The server chose its port, so no other process can have it."""
        where = self.wait_for(r"(?:Listening at: |[Rr]unning on )(http://\S+:\d+)")
        self.base_url = where[1]
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if httpx.get(self.base_url + path, timeout=PATIENCE).status_code < 500:
                    return
            assert self.process.poll() is None, self.log
            time.sleep(0.02)
        raise AssertionError(f"{self.base_url}{path} never answered, log:\n{self.log}")

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> int:
        """Send ``sent``, wait for the end, and see that no process of the family is left. Gives the exit code."""
        family = self.family()
        if self.process.poll() is None:
            self.process.send_signal(sent)
        try:
            code = self.process.wait(PATIENCE)
            _, left = psutil.wait_procs(family, timeout=PATIENCE)
            assert not left, f"left behind: {left}, log:\n{self.log}"
            return code
        finally:
            self.kill()

    def kill(self) -> None:
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


def environment(**values: str) -> dict[str, str]:
    """What a server under test sees: this machine's basics and ``values``, nothing that configures Graft by chance."""
    names = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "XDG_RUNTIME_DIR")
    kept = {name: value for name, value in os.environ.items() if name in names}
    # No mirror is left out because the machine is busy with other tests.
    ours = {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1", "PORT": "0", "GRAFT_MIRROR_BUDGET": "100"}
    return {**kept, **ours, **values}


@contextmanager
def serving(
    command: str | Sequence[str],
    *options: str,
    folder: Path,
    log: Path,
    env: dict[str, str] | None = None,
    ready: str = "/",
) -> Iterator[Gateway]:
    """``command`` (a name of COMMANDS, or words) in ``folder``, from the moment that ``ready`` answers until the end.

    ``env`` is added to ``environment()``. The port is a free one. On the way out the server gets SIGTERM, and no
    process may be left.
    """
    words = [*(COMMANDS[command] if isinstance(command, str) else command), *options]
    if command == "uvicorn":
        words += ["--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=environment(**{"GRAFT_DATA": str(log.parent / "var"), **(env or {})}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    gateway = Gateway(process, log)
    try:
        gateway.wait_until_ready(ready)
        yield gateway
        gateway.stop()
    finally:
        gateway.kill()


def run_to_the_end(
    command: Sequence[str], *, folder: Path, env: dict[str, str] | None = None, timeout: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """A start that is meant to end by itself. Fails when it is still there after ``timeout`` seconds."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
