"""Edits of switches.toml by hand are in the history, once, whoever sees them."""

from __future__ import annotations

import asyncio
import getpass
import os
from pathlib import Path
from typing import Any

import pytest

from graft.operations.file_state import FileState
from graft.operations.shift import shift
from graft.operations.state import Event
from graft.types import RouteKey

A, B = RouteKey("GET", "/a"), RouteKey("GET", "/b")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "switches.toml"
    path.write_text('["GET /a"]\nshare = 10\n')
    return path


def state_of(path: Path) -> FileState:
    return FileState(path, path.parent / "var")


async def seen_by(path: Path, workers: int = 1) -> list[Event]:
    """The history when so many workers have looked at the file, the oldest first."""
    states = [state_of(path) for _ in range(workers)]
    await asyncio.gather(*(asyncio.to_thread(state._edited.look) for state in states))
    return list(reversed(states[0].history()))


def told(events: list[Event]) -> list[tuple[str, str, Any, Any]]:
    return [(str(event.key), event.operation, dict(event.before), dict(event.after)) for event in events]


async def test_what_the_file_said_when_the_gateway_came_is_no_edit(path: Path) -> None:
    assert await seen_by(path) == []


async def test_an_edit_is_recorded_once_with_the_files_owner_however_many_workers_see_it(path: Path) -> None:
    await seen_by(path)
    path.write_text('["GET /a"]\nshare = 0\nignore = ["body.took"]\n["GET /b"]\nshare = 5\n')
    events = await seen_by(path, workers=8)
    assert told(events) == [
        ("GET /a", "edit", {"share": 10, "ignore": []}, {"share": 0, "ignore": ["body.took"]}),
        ("GET /b", "edit", {"share": 0}, {"share": 5}),
    ]
    assert {event.by for event in events} == {f"{getpass.getuser()} (by hand)"}
    assert await seen_by(path, workers=2) == events
    assert events[0].as_data()["to"] == {"share": 0, "ignore": ["body.took"]}


async def test_comments_and_spaces_are_no_change(path: Path) -> None:
    await seen_by(path)
    path.write_text('# ours\n["GET /a"]\nshare = 10.0   # a tenth\n')
    assert await seen_by(path) == []


async def test_an_operation_is_no_edit_and_an_edit_before_it_comes_before_it(path: Path) -> None:
    await seen_by(path)
    path.write_text('["GET /a"]\nshare = 20\n')
    shift(state_of(path), A, 30, by="alice")
    events = await seen_by(path, workers=4)
    assert [(event.operation, event.before["share"], event.after["share"]) for event in events] == [
        ("edit", 10, 20),
        ("shift", 20, 30),
    ]


async def test_a_file_that_is_taken_away_is_an_edit_of_every_route(path: Path) -> None:
    await seen_by(path)
    path.unlink()
    [event] = await seen_by(path)
    assert (event.before, event.after, event.by) == ({"share": 10}, {"share": 0}, "somebody (by hand)")


async def test_a_broken_edit_is_none_until_it_is_mended(path: Path) -> None:
    await seen_by(path)
    path.write_text("broken")
    assert await seen_by(path) == []
    path.write_text('["GET /a"]\nshare = 11\n')
    assert [event.after for event in await seen_by(path)] == [{"share": 11}]


async def test_where_it_can_not_be_kept_nothing_is_recorded_twice(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seen_by(path)
    path.write_text('["GET /a"]\nshare = 0\n')

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("graft.operations.edited.files.replace", full)
    assert await seen_by(path, workers=3) == []
    assert "edits of" in caplog.text
    monkeypatch.undo()
    assert len(await seen_by(path)) == 1


async def test_followers_record_what_was_edited_while_they_run_and_before(path: Path) -> None:
    async with state_of(path).follow():
        pass
    path.write_text('["GET /a"]\nshare = 1\n')
    state = state_of(path)
    async with state.follow(), state_of(path).follow():
        while len(state.history()) < 1:
            await asyncio.sleep(0.01)
        path.write_text('["GET /a"]\nshare = 2\n')
        while len(state.history()) < 2:
            await asyncio.sleep(0.01)
    assert [event.after["share"] for event in state.history()] == [2, 1]


async def test_an_operation_that_is_killed_before_it_is_recorded_is_no_edit_by_hand(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seen_by(path)

    class Killed(BaseException):
        """As by kill -9: nothing of the process runs after it."""

    def kill(*_: Any) -> None:
        raise Killed

    for moment in ("graft.operations.edited.Edited.settle", "graft.operations.edited.Edited._write_kept"):
        with monkeypatch.context() as context:
            context.setattr(moment, kill)
            with pytest.raises(Killed):
                shift(state_of(path), A, 30 if "settle" in moment else 40, by="alice", why="first users")
        events = await seen_by(path, workers=4)
    assert [(event.operation, event.by, event.why, event.after["share"]) for event in events] == [
        ("shift", "alice", "first users", 30),
        ("shift", "alice", "first users", 40),
    ]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone may give files away")
async def test_an_owner_without_a_name_is_told_by_the_number(path: Path) -> None:
    await seen_by(path)
    path.write_text('["GET /a"]\nshare = 0\n')
    os.chown(path, 54321, 54321)
    assert [event.by for event in await seen_by(path)] == ["uid 54321 (by hand)"]
