from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest

from graft.observe.line_writer import PIPE_BUF, LineWriter


class Writer(LineWriter[str]):
    def __init__(self, stream: TextIO, limit: int) -> None:
        super().__init__(lambda: stream, str, lambda count: f"{count} lost\n", limit)

    def write(self, line: str) -> None:
        self.put(line, len(line))


def writer_to(stream: TextIO, limit: int = 1_000_000) -> Writer:
    return Writer(stream, limit)


@contextmanager
def pipe() -> Iterator[tuple[int, TextIO]]:
    """The end that is read, and a stream like sys.stderr on the other one."""
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    try:
        yield reading, stream
    finally:
        os.close(reading)
        stream.close()


def read_until(reading: int, is_over: Callable[[bytes], bool]) -> list[str]:
    read = b""
    while not is_over(read):
        read += os.read(reading, 100_000)
    return read.decode().splitlines()


def test_lines_arrive_in_their_order_without_anybody_asking_for_it() -> None:
    with pipe() as (reading, stream):
        writer = writer_to(stream)
        expected = [f"line {number} {'x' * (number % 300)}" for number in range(2000)]
        threading.Thread(target=lambda: [writer.write(f"{line}\n") for line in expected]).start()
        assert read_until(reading, lambda read: read.count(b"\n") == 2000) == expected


def test_a_line_that_comes_after_the_thread_has_taken_all_is_written_too() -> None:
    with pipe() as (reading, stream):
        writer = writer_to(stream)
        for number in range(3):
            writer.write(f"{number}\n")
            assert os.read(reading, 100) == f"{number}\n".encode()


def test_a_reader_who_stops_keeps_nobody_waiting_and_is_told_what_is_lost() -> None:
    with pipe() as (reading, stream):
        writer = writer_to(stream, limit=100_000)
        count = 5000
        begun = time.monotonic()
        for number in range(count):
            writer.write(f"{number:05d} {'x' * 94}\n")
        assert time.monotonic() - begun < 5  # it would be for ever
        assert writer.dropped >= count - 1000 - 700  # what waits here, and what a pipe holds
        lines = read_until(reading, lambda read: b"lost\n" in read)
        assert lines[-1] == f"{writer.dropped} lost"
        assert [int(line[:5]) for line in lines[:-1]] == list(range(count - writer.dropped))
        writer.write("on\n")
        assert os.read(reading, 100) == b"on\n"


def test_writers_of_one_pipe_never_come_in_between_a_line() -> None:
    """As the workers of one server do, which have stderr in common."""
    with pipe() as (reading, stream):
        expected = {f"{name}{number:04d}{name * (number % 1500)}" for name in "abc" for number in range(500)}

        def write(name: str) -> None:
            writer = writer_to(stream)
            for line in sorted(expected):
                if line[0] == name:
                    writer.write(f"{line}\n")

        for name in "abc":
            threading.Thread(target=write, args=name).start()
        assert set(read_until(reading, lambda read: read.count(b"\n") == 1500)) == expected


def test_a_flush_gives_up_on_a_reader_who_has_stopped_and_loses_and_repeats_nothing() -> None:
    with pipe() as (reading, stream):
        writer = writer_to(stream)
        expected = [f"{number:04d}{'é' * 100}" for number in range(1000)]
        for line in expected:
            writer.write(f"{line}\n")
        assert writer.flush(0.1) is False
        assert read_until(reading, lambda read: read.count(b"\n") == 1000) == expected
        assert writer.flush(5) is True


def test_a_flush_writes_at_once_what_the_thread_would_write_later() -> None:
    with pipe() as (reading, stream):
        writer = writer_to(stream)
        writer.write("now\n")
        assert writer.flush(5) is True
        os.set_blocking(reading, False)
        assert os.read(reading, 100) == b"now\n"


def test_a_pipe_that_does_not_block_gets_every_line() -> None:
    with pipe() as (reading, stream):
        os.set_blocking(stream.fileno(), False)
        writer = writer_to(stream)
        for number in range(2000):
            writer.write(f"{number:0100d}\n")
        assert [int(line) for line in read_until(reading, lambda read: read.count(b"\n") == 2000)] == [*range(2000)]


def test_what_a_full_disk_refuses_is_counted_and_told_when_there_is_room_again(tmp_path: os.PathLike[str]) -> None:
    with open("/dev/full", "w") as full:
        writer = writer_to(full)
        writer.write("one\n")
        writer.write("two\n")
        assert writer.flush(5) is True
        os.dup2(os.open(f"{tmp_path}/log", os.O_CREAT | os.O_WRONLY), full.fileno())
        writer.write("three\n")
        assert writer.flush(5) is True
    with open(f"{tmp_path}/log") as log:
        assert log.read() == "three\n2 lost\n"


def test_a_stream_of_somebody_elses_in_the_place_of_stderr_is_written_by_its_own_write() -> None:
    class Own(io.StringIO):
        encoding = "ascii"

    writer = writer_to(stream := Own())
    writer.write("é\n")
    writer.flush(5)
    assert stream.getvalue() == "\\xe9\n"
    stream.close()
    writer.write("to nobody\n")
    assert writer.flush(5) is True


@pytest.mark.parametrize("size", [PIPE_BUF - 1, PIPE_BUF, PIPE_BUF + 1, 3 * PIPE_BUF])
def test_lines_of_any_size_go_out(size: int) -> None:
    with pipe() as (reading, stream):
        writer = writer_to(stream)
        for _ in range(3):
            writer.write("x" * (size - 1) + "\n")
        assert [len(line) for line in read_until(reading, lambda read: read.count(b"\n") == 3)] == [size - 1] * 3
