"""Lines on their way to stderr: put down without waiting, written in batches by a thread of their own.

Whoever puts a line never waits for who reads the log. A batch is written ``DELAY`` seconds after its first line, in
whole lines and in writes of ``PIPE_BUF`` bytes at most, which no other worker's come in between of. When the reader
stops, ``LIMIT`` bytes wait; what comes above them is dropped, and a line says how many there were.
"""

from __future__ import annotations

import io
import os
import queue
import select
import threading
import time
from collections.abc import Callable
from typing import TextIO

DELAY = 0.05
"""Seconds that a line waits for others. What a process loses at most that is killed without a word."""

LIMIT = 2 * 1024 * 1024
"""Characters that may wait for a reader who has stopped: some 17,000 lines."""

PIPE_BUF = 4096
"""Bytes that Linux writes into a pipe in one piece, whoever else writes into it."""


class LineWriter:
    """``stream()`` is where the lines go; ``notice(count)`` is the line that tells of ``count`` lines that are lost.

    Each attribute has one writer: the thread that puts lines (the event loop's), or whoever holds ``_writing``. Only
    ``_awake`` has two.
    """

    def __init__(self, stream: Callable[[], TextIO], notice: Callable[[int], str], limit: int = LIMIT) -> None:
        self.stream = stream
        self._notice = notice
        self._limit = limit
        self.reset()

    def reset(self) -> None:
        """Forget what waits, and the thread: this is the child of a fork, and the lines are its parent's."""
        # By whoever puts lines.
        self._lines: list[str] = []
        self._put = 0  # characters
        self.dropped = 0  # lines that found no room
        # By whoever holds _writing.
        self._taken = 0  # characters
        self._rest = b""  # taken, and not written yet
        self._rest_lines = 0
        self._failed = 0  # lines that could not be written
        self._told = 0  # of dropped and failed, how many a notice has told of
        self._telling = 0  # and how many the one that is being written tells of
        self._writing = threading.Lock()
        # By both, see ``put``.
        self._awake = False
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, line: str) -> None:
        """Have ``line``, with its line break, written soon. Never waits. (event loop)"""
        size = len(line)
        if self._put - self._taken + size > self._limit:
            self.dropped += 1
            return
        self._put += size
        self._lines.append(line)
        # The line is there before this look at ``_awake``; the thread clears that before it takes lines. So either the
        # thread takes this one, or it is woken again.
        if not self._awake:
            self._wake()

    def flush(self, patience: float = 0.0) -> bool:
        """Write what waits now, as far as the reader takes it within ``patience`` seconds. (any thread)

        False when something is left. Takes no line twice: one at a time writes.
        """
        deadline = time.monotonic() + patience
        if not self._writing.acquire(timeout=patience):
            return False
        try:
            return self._write_all(deadline)
        finally:
            self._writing.release()

    @property
    def is_empty(self) -> bool:
        return not self._lines

    def _wake(self) -> None:
        self._awake = True
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="graft-access-log", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no thread left, or Python is about to end
                self._awake = False
                self.flush()
                return
            self._thread = thread
        self._wakes.put(None)

    # In the thread.

    def _work(self) -> None:
        while True:
            self._wakes.get()
            time.sleep(DELAY)
            self._awake = False
            with self._writing:
                self._write_all(None)

    # By whoever holds _writing.

    def _write_all(self, deadline: float | None) -> bool:
        """False when ``deadline`` has come before the end."""
        stream = self.stream()
        while True:
            try:
                if self._rest and not self._write(stream, deadline):
                    return False
                self._told += self._telling
            except (OSError, ValueError):  # a full disk, a closed stream
                self._rest = b""
                self._failed += self._rest_lines
                if self._telling:  # there is nobody to be told now; the next batch tries it again
                    self._telling = 0
                    return True
            self._telling = 0
            if not self._take(stream):
                return True

    def _take(self, stream: TextIO) -> bool:
        """The next lines, as many as go out in one write; a notice when those before it are written."""
        lines = self._lines
        count = size = 0
        for line in lines:
            if count and size + len(line) > PIPE_BUF:
                break
            count += 1
            size += len(line)
        text = "".join(lines[:count])
        if not count:
            lost = self.dropped + self._failed - self._told
            if not lost:
                return False
            self._telling = lost
            text = self._notice(lost)
        encoded = text.encode(stream.encoding or "utf-8", "backslashreplace")
        if len(encoded) > PIPE_BUF and count > 1:  # not all of it is ASCII
            text = lines[0]
            count, size = 1, len(text)
            encoded = text.encode(stream.encoding or "utf-8", "backslashreplace")
        self._rest, self._rest_lines = encoded, count
        del lines[:count]
        self._taken += size
        return True

    def _write(self, stream: TextIO, deadline: float | None) -> bool:
        if type(stream) is not io.TextIOWrapper:  # somebody's own, put in the place of stderr
            stream.write(self._rest.decode(stream.encoding or "utf-8", "replace"))
            stream.flush()
            self._rest = b""
            return True
        descriptor = stream.fileno()
        while self._rest:
            if deadline is not None and not _is_ready(descriptor, deadline - time.monotonic()):
                return False
            try:
                self._rest = self._rest[os.write(descriptor, self._rest) :]
            except BlockingIOError:  # somebody has made stderr a non-blocking one
                if not _is_ready(descriptor, None if deadline is None else deadline - time.monotonic()):
                    return False
        return True


def _is_ready(descriptor: int, seconds: float | None) -> bool:
    """Whether a write would not wait: at once, or within ``seconds``. None: for as long as it takes."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(None if seconds is None else max(seconds, 0.0) * 1000))
