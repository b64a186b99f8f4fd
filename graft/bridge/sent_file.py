"""The file that an app's answer is: taken over from it, so that its thread is free while the loop sends it."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from contextlib import suppress
from typing import Any

from graft.bridge.environ import FILE_BLOCK, FileWrapper


class SentFile:
    """``count`` bytes from ``offset`` of an open regular file. Who has it last closes it."""

    __slots__ = ("_descriptors", "count", "offset")

    def __init__(self, descriptor: int, offset: int, count: int) -> None:
        self._descriptors = [descriptor]
        self.offset = offset
        self.count = count

    @property
    def descriptor(self) -> int:
        return self._descriptors[0]

    def close(self) -> None:
        """(any thread) ``pop`` is one step: of two threads that close it in the same moment, one has the descriptor."""
        with suppress(IndexError):
            os.close(self._descriptors.pop())


def sent_file(iterable: Any, length: int) -> SentFile | None:
    """The part of a file that ``iterable`` would give, with a descriptor of its own: the app may close its file.

    None where that is not exactly ``length`` bytes of a regular file, or where one block is all of it: that is quicker.
    """
    if length <= FILE_BLOCK:
        return None
    part = _part(iterable)
    if part is None:
        return None
    wrapper, offset, count = part
    descriptor = _regular(wrapper.filelike)
    if descriptor is None or count not in (None, length):
        return None
    if offset is None:
        offset = wrapper.filelike.tell()
    if os.fstat(descriptor).st_size - offset < length:
        return None
    return SentFile(os.dup(descriptor), offset, length)


def _part(iterable: Any) -> tuple[FileWrapper, int | None, int | None] | None:
    """The wrapper, the first byte and the number of bytes; None: from where it stands, to its end."""
    kind = type(iterable)
    if kind is FileWrapper:
        return iterable, None, None
    # What Werkzeug puts around it for a request with Range. It is private; read in 3.0 to 3.1.
    if (kind.__module__, kind.__name__) == ("werkzeug.wsgi", "_RangeWrapper"):
        told = vars(iterable)
        wrapper = told.get("iterable")
        if type(wrapper) is FileWrapper and told.get("seekable") and told.get("read_length") == 0:
            return wrapper, told.get("start_byte"), told.get("byte_range")
    return None


def _regular(file: Any) -> int | None:
    """The descriptor, where the bytes of ``file`` are those of a regular file: a GzipFile has a descriptor, too."""
    if type(file) is tempfile._TemporaryFileWrapper:
        file = file.file
    if type(file) is io.BufferedRandom:
        file.flush()
    raw = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file
    if type(raw) is not io.FileIO:
        return None
    descriptor = raw.fileno()
    return descriptor if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
