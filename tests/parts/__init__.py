"""Programs that tests start: how they are found, started, waited for and stopped.

A part that is missing skips the test with the mend; with ``CI=true`` it fails it, so that no pipeline is green because
it tested nothing.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn, TypeVar

import psutil
import pytest

T = TypeVar("T")
LOG_TAIL = 4000  # characters of a program's log that a failure shows


_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def missing(part: str, mend: str) -> NoReturn:
    """Skip the test, or fail it in CI, since ``part`` is not there. ``mend`` says how to get it."""
    message = in_one_line(f"{part} is missing: {mend}")
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def in_one_line(text: str) -> str:
    """Without the colours and line ends of what a program printed: a skip is one line of the summary."""
    return " ".join(_ESCAPES.sub("", text).split())


def program(name: str, mend: str) -> str:
    """The full path of a program, also in the places that are not on an ordinary user's PATH."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    return path if path is not None else missing(name, mend)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kept_port() -> int:
    """A free one for a server that is killed and started again: the system gives it to no client meanwhile."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, low)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(condition: Callable[[], T], timeout: float, what: str) -> T:
    """Call ``condition`` until it gives something true, and return that. An exception counts as not yet.

    Raises AssertionError with ``what`` and the last exception after ``timeout`` seconds.
    """
    give_up = time.monotonic() + timeout
    failure: Exception | None = None
    while True:
        try:
            found = condition()
            failure = None
            if found:
                return found
        except Exception as error:
            failure = error
        if time.monotonic() > give_up:
            last = f"; last: {type(failure).__name__}: {failure}" if failure else ""
            raise AssertionError(f"waited {timeout:g} s for {what}{last}")
        time.sleep(0.02)


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Does something listen there?"""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


class Process:
    """A program under test: its output goes to ``log``; it and its children are gone after ``stop()``.

    Use it as a context manager. ``user`` runs it as that user (only where the tests run as root).
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                user=user,
                extra_groups=[] if user else None,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def running(self) -> bool:
        return self._popen.poll() is None

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, condition: Callable[[], T], timeout: float, what: str) -> T:
        """As ``wait_until``; fails at once, and with the log's tail, when the program ends before."""

        def alive() -> T:
            if not self.running():
                raise _Ended
            return condition()

        try:
            return wait_until(alive, timeout, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._described()}") from None
        except _Ended:
            code = self._popen.returncode
            raise AssertionError(f"ended with {code} before {what}\n{self._described()}") from None

    def wait(self, timeout: float) -> int:
        """Its exit code. Raises AssertionError when it does not end in time."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout:g} s\n{self._described()}") from None

    def stop(self, timeout: float = 10.0) -> int:
        """TERM, then KILL after ``timeout`` seconds; the exit code."""
        children = self._children()
        if self.running():
            self._popen.terminate()
            try:
                self._popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        _, stubborn = psutil.wait_procs(children, timeout=timeout)
        for child in stubborn:
            child.kill()
        psutil.wait_procs(stubborn, timeout=timeout)
        return self._popen.returncode

    def _children(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def _described(self) -> str:
        return f"$ {' '.join(self.command)}\n{self.output()[-LOG_TAIL:]}"

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class _Ended(BaseException):
    """Not an Exception, so that waiting stops at once."""
