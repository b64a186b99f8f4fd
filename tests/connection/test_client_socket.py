"""ClientSocket: where its reader is in the stream of frames, and the close frame that the server puts into it."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator

import pytest

from graft.connection.client_socket import ClientSocket, Frames, LastCall
from tests.bridge.websocket_apps import frame
from tests.bridge.wire import until

END = b"\x88\x82\x00\x00\x00\x00\x03\xf4"  # 1012


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, ClientSocket]]:
    client, theirs = socket.socketpair()
    app = ClientSocket(fileno=theirs.detach())
    client.settimeout(10)
    with client, app:
        yield client, app


def test_the_end_of_each_frame_is_known_however_the_stream_is_cut() -> None:
    chance = random.Random(7)
    sizes = [0, 1, 5, 125, 126, 127, 4096, 65535, 65536, 70_000]
    for _ in range(300):
        stream, ends = b"", {0}
        for _ in range(chance.randint(1, 6)):
            stream += frame(bytes(chance.choice(sizes)), chance.choice([0, 1, 2, 8, 9]))
            ends.add(len(stream))
        frames, at = Frames(), 0
        while at < len(stream):
            size = chance.choice([1, 2, 3, 7, 13, 4096, 100_000])
            frames.feed(memoryview(stream)[at : at + size])
            at = min(at + size, len(stream))
            assert frames.between == (at in ends)


def test_a_longer_frame_that_comes_in_two_parts_is_no_short_one_at_any_cut() -> None:
    for size in (126, 127, 132, 250, 65_535, 65_536):
        stream = frame(bytes(size), 1)
        for cut in (*range(1, 160), len(stream) - 1):
            if cut < len(stream):
                frames = Frames()
                frames.feed(stream[:cut])
                assert not frames.between, (size, cut)
                frames.feed(stream[cut:])
                assert frames.between, (size, cut)


@pytest.mark.parametrize("sent_before", [False, True])
def test_between_the_first_send_and_the_end_all_is_followed_as_before(
    sent_before: bool, pair: tuple[socket.socket, ClientSocket]
) -> None:
    client, app = pair
    chance = random.Random(3)
    if sent_before:
        app.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        assert type(app) is not ClientSocket
    for _ in range(200):
        part = whole = frame(bytes(chance.choice([0, 5, 125, 126, 127, 4096])), 2)
        client.sendall(part)
        while part:
            flags = chance.choice([0, 0, 0, socket.MSG_PEEK])
            got = app.recv(chance.choice([1, 2, 7, 100, 8192]), flags)
            assert part.startswith(got)
            part = part if flags else part[len(got) :]
            assert app.shared.frames.between == (part in (b"", whole))
    whole = frame(b"half", 1)
    client.sendall(whole[:5])
    app.recv(100)
    assert not app.end(1012)
    assert type(app) is ClientSocket
    client.sendall(whole[5:] + frame(b"later", 1))
    assert app.recv(100) == whole[5:]
    assert app.end(1012)
    assert app.recv(100) == END
    app.send(b"the answer to it")
    assert app.shared.end_answered


@pytest.mark.parametrize("way", ["cut", "long", "flags", "buffer"])
def test_a_part_of_a_frame_that_looks_like_a_short_one_is_none(
    way: str, pair: tuple[socket.socket, ClientSocket]
) -> None:
    client, app = pair
    app.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    for size in range(126):
        whole = frame(bytes(size), 1)
        client.sendall(whole)
        assert app.recv(4096) == whole
    deceitful = b"\x81\xa0" + bytes(36)
    size = 1000 if way == "long" else 60
    head = b"\x82\xfe" + (size + len(deceitful) + 10).to_bytes(2, "big") + bytes(4)
    client.sendall(head + bytes(size))
    left = len(head) + size
    while left:
        if way == "flags":
            left -= len(app.recv(left, socket.MSG_WAITALL))
        elif way == "buffer":
            left -= app.recv_into(bytearray(left))
        else:
            left -= len(app.recv(4096))
    client.sendall(deceitful)
    assert app.recv(4096) == deceitful
    assert not app.shared.frames.between
    assert not app.end(1012)
    client.sendall(bytes(10) + frame(b"later", 1))
    assert app.recv(4096) == bytes(10)
    assert app.end(1012)
    assert app.recv(4096) == END


def test_after_more_than_short_frames_as_much_is_read_as_the_app_asks_for(
    pair: tuple[socket.socket, ClientSocket],
) -> None:
    client, app = pair
    app.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    many = frame(bytes(50), 1) * 8  # they end where a short read does
    client.sendall(many)
    assert app.recv(4096) == many
    assert app.shared.frames.between
    client.sendall(many * 9)
    assert app.recv(4096) == many * 9
    assert app.shared.frames.between


@pytest.mark.parametrize("size", [1, 2, 7, 38])
def test_no_more_is_read_of_short_frames_than_was_asked_for(
    size: int, pair: tuple[socket.socket, ClientSocket]
) -> None:
    client, app = pair
    app.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    stream = frame(bytes(32), 1) * 5
    client.sendall(stream)
    while stream:
        got = app.recv(size)
        assert len(got) == size or got == stream
        assert stream.startswith(got)
        stream = stream[len(got) :]
        assert app.shared.frames.between == (len(stream) % 38 == 0)


def test_a_copy_and_its_original_are_followed_together(pair: tuple[socket.socket, ClientSocket]) -> None:
    client, app = pair
    app.send(b"x")
    with app.dup() as copy:
        assert type(app) is type(copy) is ClientSocket
        whole = frame(b"one", 1)
        client.sendall(whole[:3])
        copy.recv(3)
        assert not app.end(1012)
        client.sendall(whole[3:])
        app.recv(100)
        assert app.end(1012)
        assert copy.recv(100) == END
        app.send(b"y")
        assert copy.shared.end_answered


@pytest.mark.parametrize("into_a_buffer", [False, True])
def test_a_thread_that_waits_receives_the_close_frame_and_then_the_end(
    pair: tuple[socket.socket, ClientSocket], into_a_buffer: bool
) -> None:
    _, app = pair
    received: list[bytes] = []

    def receive() -> None:
        while True:
            if into_a_buffer:
                buffer = bytearray(3)
                data = bytes(buffer[: app.recv_into(buffer)])
            else:
                data = app.recv(4096)
            received.append(data)
            if not data:
                return

    waiting = threading.Thread(target=receive)
    waiting.start()
    assert app.end(1012)
    waiting.join(10)
    assert b"".join(received) == END
    assert received[-1] == b""


@pytest.mark.parametrize("into_a_buffer", [False, True])
def test_what_a_client_sends_meanwhile_finds_no_broken_connection(
    pair: tuple[socket.socket, ClientSocket], into_a_buffer: bool
) -> None:
    """A proxy before a Unix socket would cut its client off, and never pass the close frame on."""
    client, app = pair
    app.shared.last_call = LastCall()
    received, go_on = [], threading.Event()

    def read() -> bytes:
        if into_a_buffer:
            buffer = bytearray(4096)
            return bytes(buffer[: app.recv_into(buffer)])
        return app.recv(4096)

    def receive() -> None:
        received.append(read())
        go_on.wait(10)
        received.append(read())

    waiting = threading.Thread(target=receive)
    waiting.start()
    app.announce_end(1012)
    app.shared.last_call.ring()
    until(lambda: received)
    client.sendall(frame(b"one more"))
    go_on.set()
    waiting.join(10)
    assert received == [END, b""]
    assert app.end(1012)
    client.sendall(frame(b"and another"))
    assert app.recv(100) == b""


def test_it_waits_for_the_end_of_the_frame_that_is_being_received(pair: tuple[socket.socket, ClientSocket]) -> None:
    client, app = pair
    text = frame(bytes(1000))
    client.sendall(text[:500])
    assert app.recv(4096) == text[:500]
    assert not app.end(1012)
    client.sendall(text[500:] + frame(b"next"))
    assert app.recv(4096) == text[500:]  # and no byte of the next
    assert app.recv(4096) == END


def test_a_look_at_what_comes_counts_for_nothing(pair: tuple[socket.socket, ClientSocket]) -> None:
    client, app = pair
    client.sendall(frame(b"one")[:5])
    assert app.recv(3, socket.MSG_PEEK) == app.recv(5)[:3]
    assert app.shared.frames.left == 4


def test_it_is_closed_with_its_last_copy(pair: tuple[socket.socket, ClientSocket]) -> None:
    client, app = pair
    closed: list[bool] = []
    app.shared.on_close = lambda: closed.append(True)
    copy = app.dup()
    app.close()
    assert not closed
    copy.sendall(b"still open")
    assert client.recv(100) == b"still open"
    copy.close()
    until(lambda: closed)
    assert client.recv(100) == b""


def test_what_an_end_of_a_pair_can_not_do_harms_nobody(pair: tuple[socket.socket, ClientSocket]) -> None:
    _, app = pair
    app.shared.peer, app.shared.name = ("192.0.2.7", 4711), ("127.0.0.1", 80)
    app.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert (app.getpeername(), app.getsockname()) == (("192.0.2.7", 4711), ("127.0.0.1", 80))


def test_who_was_too_slow_sends_nothing_any_more(pair: tuple[socket.socket, ClientSocket]) -> None:
    _, app = pair
    assert app.revoke()
    with pytest.raises(ConnectionAbortedError):
        app.send(b"HTTP/1.1 101 Switching Protocols\r\n")


def test_who_has_sent_can_not_be_revoked(pair: tuple[socket.socket, ClientSocket]) -> None:
    client, app = pair
    app.sendmsg([b"one"])
    assert client.recv(10) == b"one"
    assert not app.revoke()
