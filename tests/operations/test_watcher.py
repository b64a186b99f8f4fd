from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from graft.errors import SwitchesError
from graft.operations import watcher as module
from graft.operations.edits import set_switch
from graft.operations.switches import Switches
from graft.operations.watcher import Watcher
from graft.types import RouteKey

A = RouteKey("GET", "/a")
SOON = 0.5
"""Seconds within which every worker has to follow."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "switches.toml"
    path.write_text('["GET /a"]\nshare = 1\n')
    return path


async def soon(condition: Callable[[], Any], seconds: float = SOON) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.005)


async def test_a_change_by_the_command_line_arrives(path: Path) -> None:
    async with Watcher(path) as watcher:
        assert watcher.switches[A].share == 1
        set_switch(path, A, share=2)
        await soon(lambda: watcher.switches[A].share == 2)


async def test_a_change_in_place_of_the_same_size_and_time_arrives(path: Path) -> None:
    async with Watcher(path) as watcher:
        stat = path.stat()
        with path.open("r+") as file:
            file.write('["GET /a"]\nshare = 7\n')
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        await soon(lambda: watcher.switches[A].share == 7)


async def test_a_file_swapped_behind_two_symlinks_arrives(tmp_path: Path) -> None:
    """As Kubernetes does with a ConfigMap: switches.toml -> ..data/switches.toml, ..data -> a directory of its own."""

    def ship(name: str, share: int) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "switches.toml").write_text(f'["GET /a"]\nshare = {share}\n')
        (tmp_path / "..fresh").symlink_to(name)
        os.replace(tmp_path / "..fresh", tmp_path / "..data")

    ship("..first", 1)
    (tmp_path / "switches.toml").symlink_to("..data/switches.toml")
    async with Watcher(tmp_path / "switches.toml") as watcher:
        ship("..second", 30)
        await soon(lambda: watcher.switches[A].share == 30)


async def test_a_broken_edit_keeps_the_last_good_state_and_is_logged_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Watcher(path) as watcher:
        path.write_text('["GET /a"]\nshare = 500\n')
        await soon(lambda: watcher.problem)
        await anyio.sleep(3 * module.POLL_SECONDS)
        assert watcher.switches[A].share == 1
        assert "line 2" in str(watcher.problem)
        assert [record.levelno for record in caplog.records if "line 2" in record.message] == [logging.ERROR]
        path.write_text('["GET /a"]\nshare = 5\n')
        await soon(lambda: watcher.switches[A].share == 5)
        assert watcher.problem is None


async def test_going_back_to_the_text_from_before_the_breakage_clears_the_problem(path: Path) -> None:
    good = path.read_text()
    async with Watcher(path) as watcher:
        path.write_bytes(b"\xff")
        await soon(lambda: watcher.problem)
        path.write_text(good)
        await soon(lambda: watcher.problem is None)
        assert watcher.switches[A].share == 1


async def test_a_file_that_is_taken_away_leaves_every_route_dark(path: Path) -> None:
    async with Watcher(path) as watcher:
        path.unlink()
        await soon(lambda: len(watcher.switches) == 0)
        path.write_text('["GET /a"]\nshare = 9\n')
        await soon(lambda: len(watcher.switches) == 1)


async def test_a_file_that_is_still_being_written_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.1)
    async with Watcher(path) as watcher:
        watcher.subscribe(lambda switches: seen.append(switches.for_route(A).share))
        path.write_text("")
        await anyio.sleep(0.03)
        path.write_text('["GET /a"]\nshare = 9\n')
        await soon(lambda: watcher.switches.for_route(A).share == 9)
    assert seen == [1, 9]


async def test_a_subscriber_hears_now_and_later_and_one_that_fails_does_not_matter(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[float] = []
    calls: list[Switches] = []

    def failing(switches: Switches) -> None:
        calls.append(switches)
        if len(calls) > 1:
            raise ZeroDivisionError

    async with Watcher(path) as watcher:
        watcher.subscribe(failing)
        watcher.subscribe(lambda switches: heard.append(switches[A].share))
        set_switch(path, A, share=2)
        await soon(lambda: len(heard) == 2)
        path.write_text(f"# only a comment\n{path.read_text()}")
        await anyio.sleep(2 * module.POLL_SECONDS)
    assert heard == [1, 2]
    assert "a subscriber of" in caplog.text


async def test_an_unexpected_failure_does_not_end_the_watching(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = module._signature, iter([MemoryError()])

    def failing(path: Path) -> module.Signature:
        for failure in failures:
            raise failure
        return real(path)

    async with Watcher(path) as watcher:
        monkeypatch.setattr(module, "_signature", failing)
        set_switch(path, A, share=2)
        await soon(lambda: watcher.switches[A].share == 2)


def test_a_broken_file_at_the_start_is_refused(path: Path) -> None:
    path.write_text("nonsense")
    with pytest.raises(SwitchesError, match="line 1"):
        Watcher(path)


def test_a_worker_that_starts_beside_a_broken_file_is_like_the_others(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last_good = tmp_path / "last-good.toml"
    Watcher(path, last_good)
    path.write_text("nonsense")
    late = Watcher(path, last_good)
    assert late.switches[A].share == 1
    assert "line 1" in str(late.problem)
    assert "The last good state stays." in caplog.text


def test_a_last_good_copy_that_can_not_be_written_is_no_failure(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert Watcher(path, tmp_path / "file" / "last-good.toml").switches[A].share == 1
    assert "can't be written" in caplog.text


async def test_leaving_without_entering_is_fine(path: Path) -> None:
    await Watcher(path).__aexit__(None, None, None)


async def test_it_is_read_and_parsed_in_a_thread_and_a_broken_one_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    threads: dict[str, set[int]] = {"read": set(), "parse": set()}
    parsed: list[str] = []

    def noted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            threads[name].add(threading.get_ident())
            if name == "parse":
                parsed.append(args[0])
            return real(*args)

        return call

    async with Watcher(path) as watcher:
        for name in threads:
            monkeypatch.setattr(module, name, noted(name, getattr(module, name)))
        path.write_text("broken = [")
        await soon(lambda: watcher.problem is not None, 5)
        looks = len(threads["read"])
        await anyio.sleep(3 * module.POLL_SECONDS)
        assert looks
        assert parsed == ["broken = ["]  # though it is young, and read again and again
        assert watcher.switches[A].share == 1
        path.write_text('["GET /a"]\nshare = 3\n')
        await soon(lambda: watcher.switches[A].share == 3 and watcher.problem is None, 5)
    assert threading.get_ident() not in threads["read"] | threads["parse"]
    assert caplog.text.count("The last good state stays") == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFO")
@pytest.mark.parametrize("kind", ["fifo", "folder", "large"])
async def test_the_last_good_state_stays_when_it_becomes_something_else(
    path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = path.read_text()
    async with Watcher(path) as watcher:
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.write_text('["GET /b"]\nshare = 1\n' * 30_000)
        await soon(lambda: watcher.problem is not None, 5)
        assert watcher.switches[A].share == 1
        await anyio.sleep(2 * module.POLL_SECONDS)
        assert caplog.text.count("The last good state stays") == 1
        path.rmdir() if kind == "folder" else path.unlink()
        path.write_text(text)
        await soon(lambda: watcher.problem is None, 5)
