"""Who holds a port, and which one is free."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from graft.cli import ports
from graft.errors import SettingError


@pytest.fixture
def held() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_passes_and_stays_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ports.check("127.0.0.1", port)
    ports.check("127.0.0.1", port)
    ports.check("127.0.0.1", 0)


def test_a_held_port_names_this_process_and_the_next_free_port(held: int) -> None:
    with pytest.raises(ports.PortInUse, match=r"in use by .* \(pid") as raised:
        ports.check("127.0.0.1", held)
    assert raised.value.holder is not None
    assert raised.value.holder.pid == os.getpid()
    assert raised.value.free is not None
    assert raised.value.free > held
    ports.check("127.0.0.1", raised.value.free)


def test_a_holder_that_may_not_be_seen_is_said_to_be_another_process(
    held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "holder_of", lambda port: None)
    monkeypatch.setattr(ports, "next_free", lambda host, port: None)
    with pytest.raises(ports.PortInUse, match=r"another process.*Stop that process"):
        ports.check("127.0.0.1", held)


def test_nobody_holds_a_free_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert ports.holder_of(port) is None


def test_above_the_last_port_nothing_is_free() -> None:
    assert ports.next_free("127.0.0.1", 65535) is None


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1", "not a host"])
def test_a_host_of_somewhere_else_is_named(host: str) -> None:
    with pytest.raises(SettingError, match=f"HOST: .*{host}.*127.0.0.1 is this machine only"):
        ports.check(host, 8000)


@pytest.mark.parametrize(("number", "name"), [(errno.EACCES, "PORT: 80 may only"), (errno.EPERM, "HOST: can't listen")])
def test_what_the_system_forbids_is_said(number: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(host: str, port: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(ports, "_listen_once", refuse)
    with pytest.raises(SettingError, match=name):
        ports.check("127.0.0.1", 80)


def test_the_command_line_of_a_hostile_process_is_one_harmless_line() -> None:
    command = ["evil", "-c", "import time; print('up', flush=True); time.sleep(60)", "\x1b[2Jrm\n" + "x" * 5000]
    with subprocess.Popen(command, executable=sys.executable, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        shown = str(ports._described(psutil.Process(process.pid)))
        process.kill()
    assert "evil" in shown
    assert shown.isprintable()
    assert len(shown) < 200


@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "pids have wrapped"])
def test_of_an_arbiter_and_its_workers_the_arbiter_is_named(
    held: int, descending: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = psutil.process_iter
    monkeypatch.setattr(
        psutil,
        "process_iter",
        lambda: sorted(processes(), key=lambda process: process.pid, reverse=descending),
    )
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        holder = ports.holder_of(held)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert holder is not None
    assert holder.pid == os.getpid()


def test_an_ipv6_address_has_brackets() -> None:
    assert ports.address("::1", 80) == "[::1]:80"
    assert str(ports.Holder(1, "init", "")) == "init (pid 1)"
