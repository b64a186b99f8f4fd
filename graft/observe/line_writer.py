"""Lines on their way to stderr: put down without waiting, made and written in batches by a thread of their own.

Whoever puts a line never waits for who reads the log. A batch is written ``DELAY`` seconds after its first line, in
whole lines: into a file at once, elsewhere in writes of ``PIPE_BUF`` bytes at most, which no other worker's come in
between of. When the reader stops, ``LIMIT`` bytes wait; what comes above them is dropped, and a line says how many
there were.
"""

from __future__ import annotations

import io
import os
import queue
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TextIO, TypeVar

Entry = TypeVar("Entry")

DELAY = 0.05
"""Seconds that a line waits for others. What a process loses at most that is killed without a word."""

LIMIT = 4 * 1024 * 1024
"""Bytes that may wait for a reader who has stopped: some 10,000 access records."""

PIPE_BUF = 4096
"""Bytes that Linux writes into a pipe in one piece, whoever else writes into it."""


PIECE = 256 * 1024
"""Bytes that go into a file in one piece: the system writes them under its lock."""

SLICE = 200
"""Lines that are made at a time. They are quick to make one after the other; more would hold up the event loop."""


class LineWriter(Generic[Entry]):
    """``stream()`` is where the lines go; ``make(entry)`` makes one, with its line break, of what was put;
    ``notice(count)`` is the line that tells of ``count`` lines that are lost.

    Each attribute has one writer: the thread that puts entries (the event loop's), or whoever holds ``_writing``. Only
    ``_awake`` has two.
    """

    def __init__(
        self,
        stream: Callable[[], TextIO],
        make: Callable[[Entry], str],
        notice: Callable[[int], str],
        limit: int = LIMIT,
    ) -> None:
        self.stream = stream
        self._make = make
        self._notice = notice
        self._limit = limit
        self.reset()

    def reset(self) -> None:
        """Forget what waits, and the thread: this is the child of a fork, and the lines are its parent's."""
        # By whoever puts entries.
        self._entries: list[tuple[Entry, int]] = []
        self._put = 0  # bytes
        self.dropped = 0  # lines that found no room
        # By whoever holds _writing.
        self._taken = 0  # bytes
        self._pieces: deque[tuple[bytes, int]] = deque()  # made, and not written yet; of how many lines
        self._failed = 0  # lines that could not be written
        self._told = 0  # of dropped and failed, how many a notice has told of
        self._writing = threading.Lock()
        # By both, see ``put``.
        self._awake = False
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, entry: Entry, size: int) -> None:
        """Have the line of ``entry``, which takes about ``size`` bytes, written soon. Never waits. (event loop)"""
        if self._put - self._taken + size > self._limit:
            self.dropped += 1
            return
        self._put += size
        self._entries.append((entry, size))
        # The entry is there before this look at ``_awake``; the thread clears that before it takes entries. So either
        # the thread takes this one, or it is woken again.
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
        return not self._entries and not self._pieces

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
        size = PIECE if _is_file(stream) else PIPE_BUF
        while self._pieces or self._take(stream, size):
            try:
                if not self._write_piece(stream, deadline):
                    return False
            except (OSError, ValueError):  # a full disk, a closed stream
                self._failed += self._pieces.popleft()[1]
        lost = self.dropped + self._failed - self._told
        if lost:
            self._pieces.append((_encoded(stream, self._notice(lost)), 0))
            try:
                if not self._write_piece(stream, deadline):
                    return False  # it is the next piece
            except (OSError, ValueError):  # there is nobody to be told now; the next batch tries it again
                self._pieces.clear()
                return True
            self._told += lost
        return True

    def _take(self, stream: TextIO, size: int) -> bool:
        """Make the next lines, and pieces of them that are no bigger than ``size`` bytes. False when there are none."""
        taken = self._entries[:SLICE]
        del self._entries[:SLICE]
        make = self._make
        lines = [make(entry) for entry, _ in taken]
        self._taken += sum([counted for _, counted in taken])
        text = "".join(lines)
        if len(text) * 4 <= size:  # nearly always in a file: one piece, however many bytes a character takes
            if lines:
                self._pieces.append((_encoded(stream, text), len(lines)))
            return bool(taken)
        piece: list[bytes] = []
        length = 0
        for text in lines:
            line = _encoded(stream, text)
            if piece and length + len(line) > size:
                self._pieces.append((b"".join(piece), len(piece)))
                piece, length = [], 0
            piece.append(line)
            length += len(line)
        if piece:
            self._pieces.append((b"".join(piece), len(piece)))
        return bool(taken)

    def _write_piece(self, stream: TextIO, deadline: float | None) -> bool:
        """The first of them; what is left of it when the deadline comes stays the first."""
        rest, count = self._pieces[0]
        if type(stream) is not io.TextIOWrapper:  # somebody's own, put in the place of stderr
            stream.write(rest.decode(stream.encoding or "utf-8", "replace"))
            stream.flush()
            rest = b""
        while rest:
            descriptor = stream.fileno()
            if deadline is not None and not _is_ready(descriptor, deadline - time.monotonic()):
                return False
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:  # somebody has made stderr a non-blocking one
                if not _is_ready(descriptor, None if deadline is None else deadline - time.monotonic()):
                    return False
            self._pieces[0] = rest, count
        self._pieces.popleft()
        return True


def _encoded(stream: TextIO, line: str) -> bytes:
    return line.encode(stream.encoding or "utf-8", "backslashreplace")


def _is_file(stream: TextIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # it is closed, or somebody's own, without a descriptor
        return False


def _is_ready(descriptor: int, seconds: float | None) -> bool:
    """Whether a write would not wait: at once, or within ``seconds``. None: for as long as it takes."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(None if seconds is None else max(seconds, 0.0) * 1000))
