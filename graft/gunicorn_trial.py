"""A trial: new code and settings are loaded in a process of their own before a reload gives up the workers that serve.

It is a fork of Gunicorn's master that does what a new worker does until the app is there, and then ends. What it says
on stdout and stderr is dropped: workers will say it once more, or the one line that is logged says why there are none.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from graft.errors import GraftError
from graft.figures import folders

__all__ = ["Trial", "reason_of"]

LONGEST = 4000
"""Characters of a reason. A pipe takes them at once, so the child never waits for the master."""

_LIBRARIES = re.compile(r"(^|[/\\])(site-packages|dist-packages|importlib|gunicorn)[/\\]|<frozen ").search


class Trial:
    """One trial, from its fork on. Raises OSError where there is no process to be had. (master)"""

    def __init__(self, load: Callable[[], object], signals: Iterable[int], seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._seconds = seconds
        self._text = b""
        self._scratch = tempfile.mkdtemp(prefix="graft-trial-")
        self._pipe, pipe = os.pipe()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(pipe)
            self._close()
            raise
        if self._pid == 0:
            _run(load, signals, pipe, self._scratch)
        os.close(pipe)

    def outcome(self) -> str | None:
        """None while it goes on, empty when all could be loaded, else why not. Never waits."""
        if self._is_over():
            text = self._text.decode(errors="replace").strip()
            late = time.monotonic() >= self._deadline
            self.end()
            if not text:
                return f"it took more than {self._seconds:g} s" if late else "the process that tried it was killed"
            return "" if text == "ok" else text
        return None

    def end(self) -> None:
        """Give it up."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # Gunicorn has seen its end already
            os.waitpid(self._pid, 0)
        self._close()

    def _is_over(self) -> bool:
        while select.select([self._pipe], [], [], 0)[0]:
            part = os.read(self._pipe, 65536)
            self._text += part
            if not part or part.endswith(b"\n"):
                return True
        return time.monotonic() >= self._deadline

    def _close(self) -> None:
        os.close(self._pipe)
        shutil.rmtree(self._scratch, ignore_errors=True)


def _run(load: Callable[[], object], signals: Iterable[int], pipe: int, scratch: str) -> NoReturn:
    """Load, tell ``pipe``, and be gone: without the exit handlers of what was loaded. (child)"""
    try:
        for each in (*signals, signal.SIGCHLD):
            signal.signal(each, signal.SIG_DFL)  # the master's would be handled by the master
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        # Counters of a process that never serves are nobody's.
        folders.shared = None
        if folders.SETTING in os.environ:
            os.environ[folders.SETTING] = scratch
        try:
            load()
            text = "ok"
        except BaseException as error:
            text = reason_of(error)
        os.write(pipe, f"{' '.join(text.split())[:LONGEST]}\n".encode(errors="replace"))
    finally:
        os._exit(0)


def reason_of(error: BaseException) -> str:
    """One line: what a person may have to mend, and where in the user's own code it was."""
    cause = error
    while isinstance(cause, SystemExit) and cause.__context__ is not None:  # what was told before the exit
        cause = cause.__context__
    if isinstance(cause, GraftError):
        return str(cause)
    if isinstance(cause, SystemExit):
        return f"it exits with {cause.code}"
    last = traceback.format_exception_only(cause)[-1].strip()
    place = _place(cause)
    return f"{last} ({place})" if place else last


def _place(error: BaseException) -> str:
    """The last line of the user's own that is on the way to the error."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename)}:{error.lineno}"
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame in frames if not _LIBRARIES(frame[0]) and not Path(frame[0]).is_relative_to(_GRAFT)]
    return "".join(f"{_short(file)}:{line}" for file, line in (own or frames)[-1:])


_GRAFT = Path(__file__).parent


def _short(file: str) -> str:
    """As seen from the project's folder; what lies elsewhere whole."""
    with suppress(ValueError, OSError):
        return str(Path(file).relative_to(Path.cwd()))
    return file
