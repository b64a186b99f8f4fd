"""The socket of a WebSocket as blocking code has it: the client's own connection, or one end of a pair.

It is what Werkzeug's server and Gunicorn's threads put into the environ. The code that has it speaks the whole of
RFC 6455 itself, and nothing stands between it and the client. This class adds what a server has to know and to do
around that: whether anything was sent yet, and how to end a WebSocket when the server leaves.

**The end.** Only the code that has the socket knows where in its output a frame ends, so nobody else can send a close
frame. It answers one, though: so the close frame comes from the other side. ``end`` puts one, as if the client had sent
it, between two of the client's frames; the code echoes it, with its status, and winds up as it always does. A thread
that waits for the client is woken by shutting the socket down for reading. On a Unix socket that is the second try: a
proxy that sends its client's next frame would be told that the connection is broken, and would cut the client off
before it has passed the close frame on. There a thread that waits in ``recv`` is woken through ``LastCall``.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, SupportsIndex

__all__ = ["ClientSocket"]

_TCP = socket.IPPROTO_TCP
_PEEK = int(socket.MSG_PEEK)
_LONG = 6 + 126  # bytes of the first masked frame whose length stands in further bytes of its head
_SHORT = 128 - 6  # what the second byte of a shorter one is above its bytes: the bit of the mask, without the head
_LITTLE = 448
"""Bytes of a read for which Python's own allocator has room (512 with an object's head), not the system's: 0.1 us."""
_SECOND_BYTE = tuple(size + _SHORT if 5 < size < _LONG else -1 for size in range(_LITTLE + 1))
"""Of a masked frame by its size, head and payload; of a size that no short one has, what no byte is."""
_recv, _send, _sendall = socket.socket.recv, socket.socket.send, socket.socket.sendall  # quicker than by super()


class ClientSocket(socket.socket):
    """A blocking stream socket. Its methods belong to the app's threads, but for ``end`` and ``revoke`` (loop).

    ``shared`` is the same object in all copies that ``dup`` makes.
    """

    __slots__ = ("_has_long_frames", "_is_open", "shared")

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        super().__init__(family, type, proto, fileno)
        self.shared = Shared()
        self._is_open = True

    def dup(self) -> ClientSocket:
        self.shared.has_copies = True
        self.__class__ = ClientSocket
        copy = super().dup()
        copy.shared = self.shared
        self.shared.add_copy()
        return copy

    def close(self) -> None:
        super().close()
        if self._is_open:
            self._is_open = False
            self.shared.remove_copy()

    def detach(self) -> int:
        """Who takes the descriptor takes the connection, and says itself what the client is told."""
        if not self.shared.sent:
            self.shared.before_first_send()
        return super().detach()

    # -- What goes out -------------------------------------------------------------------------------------------------

    def send(self, data: Any, flags: int = 0, /) -> int:
        shared = self.shared
        if not shared.sent:
            shared.before_first_send()
            if not shared.has_copies and shared.last_call is None and not shared.end_frame:
                self._has_long_frames = not shared.frames.between
                self.__class__ = _OpenSocket
                if shared.end_frame:  # announced since: who announces it looks at the class after that
                    self.__class__ = ClientSocket
        sent = _send(self, data, flags)
        if shared.ended:
            shared.end_answered = True
        return sent

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        shared = self.shared
        if not shared.sent:
            shared.before_first_send()
        _sendall(self, data, flags)
        if shared.ended:
            shared.end_answered = True

    def sendmsg(self, *args: Any) -> int:
        shared = self.shared
        if not shared.sent:
            shared.before_first_send()
        sent = super().sendmsg(*args)
        if shared.ended:
            shared.end_answered = True
        return sent

    # -- What comes in -------------------------------------------------------------------------------------------------

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        shared = self.shared
        if shared.last_call is not None and not shared.end_frame:
            self._wait(shared.last_call, flags)
        if shared.end_frame or shared.ended:
            if (frame := shared.take_end_frame(size)) or shared.ended:
                return frame
            size = min(size, shared.frames.left or size)  # not past the end of the frame that is being read
        data = _recv(self, size, flags)
        if not flags & _PEEK:
            shared.frames.feed(data)
        return data or shared.take_end_frame(size)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        view = memoryview(buffer).cast("B")
        shared, size = self.shared, nbytes or len(view)
        if shared.last_call is not None and not shared.end_frame:
            self._wait(shared.last_call, flags)
        if shared.end_frame or shared.ended:
            if (frame := shared.take_end_frame(size)) or shared.ended:
                view[: len(frame)] = frame
                return len(frame)
            size = min(size, shared.frames.left or size)
        count = super().recv_into(view, size, flags)
        if count and not flags & _PEEK:
            shared.frames.feed(view[:count])
        if not count and (frame := shared.take_end_frame(size)):
            view[: len(frame)] = frame
            return len(frame)
        return count

    def _wait(self, last_call: LastCall, flags: int) -> None:
        """For bytes, or for the last call. Not where the app would rather wait in its own way, or not at all."""
        descriptor = self.fileno()
        if flags or descriptor == -1 or self.gettimeout() is not None:
            return
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        waiting.register(last_call.reader, select.POLLIN)
        waiting.poll()

    # -- What an end of a pair can't tell ------------------------------------------------------------------------------

    def getpeername(self) -> Any:
        return self.shared.peer or super().getpeername()

    def getsockname(self) -> Any:
        return self.shared.name or super().getsockname()

    def setsockopt(self, level: int, *args: Any) -> None:
        if level == _TCP and self.family not in (socket.AF_INET, socket.AF_INET6):
            return  # TCP_NODELAY and its kind: a pair sends at once
        super().setsockopt(level, *args)

    # -- What the loop does --------------------------------------------------------------------------------------------

    def announce_end(self, status: int) -> None:
        """Have the app's code receive a close frame when it next looks; ring the LastCall then. (loop)"""
        shared = self.shared
        if not shared.ended:
            shared.end_frame = shared.end_frame or close_frame(status)
        self.__class__ = ClientSocket

    def end(self, status: int) -> bool:
        """Have the app's code receive a close frame with ``status``. False in the middle of a frame: ask again. (loop)

        A thread that waits in ``recv`` has set no ``end_frame`` aside: shut down for reading, its call returns at once,
        and it looks for one then. A thread that comes later finds it before it waits.
        """
        shared = self.shared
        self.announce_end(status)
        if shared.ended:
            return True
        if not shared.frames.between:
            return False
        with suppress(OSError):  # the app has closed it, or the client has
            self.shutdown(socket.SHUT_RD)
        return True

    def revoke(self) -> bool:
        """Nothing may be sent any more; False when something was. (loop)

        First the flag, then the look; a thread that sends sets ``sent`` before it looks at the flag. So either this
        sees that it sends, or the thread sees the flag and raises, or both: then nobody sends, and nobody is answered.
        """
        self.shared.revoked = True
        return not self.shared.sent


class _OpenSocket(ClientSocket):
    """A ClientSocket without copies or LastCall, from its first ``send`` until its end is announced: as little as can
    be stands between a frame and the code that has the socket.

    It is the class that changes, both ways: then there is nothing to ask in each call. A call that has begun before the
    end is announced goes on as one of the other class would that has looked before.

    As long as the client sends short frames, they come whole and each read begins between two: nothing is noted then,
    and _LITTLE is read. After a longer one, reads of the size that the app asks for are worth more, for good.
    """

    __slots__ = ()

    send = socket.socket.send

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if flags or self._has_long_frames:
            return self._recv_any(size, flags)
        data = _recv(self, size if size < _LITTLE else _LITTLE)
        try:
            if data[1] == _SECOND_BYTE[len(data)]:
                return data
        except IndexError:
            pass  # not even a head, or the end
        shared = self.shared
        shared.frames.feed(data)
        self._has_long_frames = len(data) == _LITTLE or not shared.frames.between
        return data or shared.take_end_frame(size)

    def _recv_any(self, size: int, flags: int) -> bytes:
        self._has_long_frames = True  # who sets flags may read a part
        if flags:
            return ClientSocket.recv(self, size, flags)
        data = _recv(self, size)
        self.shared.frames.feed(data)
        return data or self.shared.take_end_frame(size)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        self._has_long_frames = True  # it may read a part
        return ClientSocket.recv_into(self, buffer, nbytes, flags)


class LastCall:
    """Wakes all threads that wait in ``recv`` of a server's ClientSockets, and lets none wait from then on."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        self._rung = False

    def ring(self) -> None:
        """After the end was announced: a thread that wakes looks for it. (loop)"""
        if not self._rung:
            self._rung = True
            os.write(self._writer, b"!")

    def __del__(self) -> None:
        os.close(self.reader)
        os.close(self._writer)


class Shared:
    """What the copies of one ClientSocket share."""

    __slots__ = (
        "_copies",
        "_counting",
        "end_answered",
        "end_frame",
        "ended",
        "frames",
        "has_copies",
        "last_call",
        "name",
        "on_close",
        "on_first_send",
        "on_over",
        "peer",
        "revoked",
        "sent",
    )

    def __init__(self) -> None:
        self.sent = False  # written by the thread that sends first
        self.revoked = False  # written by the loop
        self.has_copies = False  # written by the thread that makes one
        self.end_frame = b""  # written by the loop, emptied by the thread that receives it
        self.ended = False  # it was received: nothing comes after it
        self.end_answered = False  # and something was sent afterwards
        self.last_call: LastCall | None = None
        self.frames = Frames()
        self.peer: Any = None
        self.name: Any = None
        self.on_first_send: Callable[[], None] | None = None
        """Called in the thread that sends, before it does."""
        self.on_close: Callable[[], None] | None = None
        """Called in the thread that closes the last copy."""
        self.on_over: Callable[[], None] | None = None
        """Called on the loop when the connection is over, whatever the app's code does."""
        self._copies = 1
        self._counting = threading.Lock()

    def before_first_send(self) -> None:
        self.sent = True
        if self.revoked:
            raise ConnectionAbortedError("The handshake of this WebSocket was answered with 504 already")
        if self.on_first_send is not None:
            self.on_first_send()

    def take_end_frame(self, size: int) -> bytes:
        """As much of it as fits; empty in the middle of another frame."""
        if self.ended or not self.end_frame or not self.frames.between:
            return b""
        frame = self.end_frame[:size]
        # First: a loop that looked before, and puts the frame there once more, has it read by nobody.
        self.ended = len(frame) == len(self.end_frame)
        self.end_frame = self.end_frame[size:]
        return frame

    def add_copy(self) -> None:
        with self._counting:
            self._copies += 1

    def remove_copy(self) -> None:
        with self._counting:
            self._copies -= 1
            is_last = self._copies == 0
        if is_last and self.on_close is not None:
            self.on_close()


class Frames:
    """Where in a stream of WebSocket frames its reader is. Fed by the thread that reads."""

    __slots__ = ("_head", "between", "left")

    def __init__(self) -> None:
        self.left = 0
        """Bytes that are missing of the payload of the current frame."""
        self.between = True
        """Whether its reader stands at the beginning of one."""
        self._head = b""  # of a frame whose length is not known yet

    def feed(self, data: bytes | memoryview) -> None:
        size = len(data)
        if self.between and 5 < size < _LONG and data[1] == size + _SHORT:
            return  # one small frame, and all of it
        self._follow(data, size)
        self.between = not self.left and not self._head

    def _follow(self, data: bytes | memoryview, size: int) -> None:
        if self.left >= size:  # the middle of a big frame
            self.left -= size
            return
        at = self.left
        self.left = 0
        while at < size:
            head = self._head + bytes(data[at : at + 14])
            length = frame_length(head)
            if length is None:
                self._head = head
                return
            at += length - len(self._head)
            self._head = b""
        self.left = at - size


def frame_length(head: bytes) -> int | None:
    """Bytes of a frame, head and payload; None while ``head`` is too short to tell."""
    if len(head) < 2:
        return None
    length, mask = head[1] & 127, 4 if head[1] & 128 else 0
    if length < 126:
        return 2 + mask + length
    if length == 126:
        return 4 + mask + int(struct.unpack(">H", head[2:4])[0]) if len(head) >= 4 else None
    return 10 + mask + int(struct.unpack(">Q", head[2:10])[0]) if len(head) >= 10 else None


def close_frame(status: SupportsIndex) -> bytes:
    """A client's, masked as those have to be: with zeros."""
    return struct.pack(">BBIH", 0x88, 0x80 | 2, 0, status)
