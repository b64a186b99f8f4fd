"""Who holds a port, and which one is free."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

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


def test_the_command_line_of_a_hostile_process_is_one_harmless_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = tmp_path / "77"
    process.mkdir()
    (process / "comm").write_text("evil\n")
    (process / "cmdline").write_bytes(b"evil\0\x1b[2Jrm\n\xff" + b"x" * 5000)
    monkeypatch.setattr(ports, "PROC", tmp_path)
    shown = str(ports._described(77))
    assert shown.isprintable()
    assert len(shown) < 200


def _program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_without_proc_lsof_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "PROC", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ports.holder_of(8000) is None
    _program(tmp_path, "lsof", "echo 501; echo 400")
    assert ports.holder_of(8000) == ports.Holder(400, "a process", "")


def test_an_ipv6_address_has_brackets() -> None:
    assert ports.address("::1", 80) == "[::1]:80"
    assert str(ports.Holder(1, "init", "")) == "init (pid 1)"
