from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.parts import Process, accepts, free_port, missing, program, wait_until


def test_a_missing_part_skips_and_in_ci_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="nginx is missing: apt install nginx"):
        missing("nginx", "apt install nginx")
    with pytest.raises(pytest.skip.Exception) as skipped:
        missing("Elasticsearch", "mvn could not fetch it: \n[\x1b[1;31mERROR\x1b[m] no network\n")
    assert str(skipped.value) == "Elasticsearch is missing: mvn could not fetch it: [ERROR] no network"
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="nowhere-at-all is missing: install it"):
        program("nowhere-at-all", "install it")
    assert program("sh", "").endswith("/sh")


def test_waiting_ends_with_what_was_waited_for() -> None:
    with pytest.raises(AssertionError, match=r"waited 0 s for the moon; last: ZeroDivisionError"):
        wait_until(lambda: 1 / 0, 0, "the moon")
    assert wait_until(lambda: "there", 0, "it") == "there"


def test_a_program_that_ends_early_shows_its_log(tmp_path: Path) -> None:
    with Process([sys.executable, "-c", "print('no license'); exit(3)"], tmp_path / "log") as process:
        with pytest.raises(AssertionError, match=r"ended with 3 before the port(?s:.*)no license"):
            process.wait_for(lambda: False, 10, "the port")
        assert process.wait(1) == 3


def test_a_program_is_stopped_with_its_children(tmp_path: Path) -> None:
    port = free_port()
    child = f"import socket; s = socket.create_server(('127.0.0.1', {port})); [s.accept() for _ in iter(int, 1)]"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = Process([sys.executable, "-c", parent], tmp_path / "log")
    process.wait_for(lambda: accepts(port) or None, 10, "the child")
    with pytest.raises(AssertionError, match="still running"):
        process.wait(0.01)
    process.stop(timeout=2)
    assert not process.running()
    assert not accepts(port)
