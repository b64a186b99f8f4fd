"""Trips where switches.toml can't be written: a ConfigMap, a read-only file system."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from graft.errors import SwitchesReadOnly
from graft.operations.file_state import FileState
from graft.operations.locks import LockUnwritable
from graft.operations.mirror import mirror
from graft.operations.rollback import rollback
from graft.operations.shift import shift
from graft.operations.trip import trip
from graft.types import RouteKey

A = RouteKey("GET", "/a")
REASON = "5 of 5 native answers failed within 60 s"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config" / "switches.toml"
    path.parent.mkdir()
    path.write_text('["GET /a"]\nshare = 50\n')
    return path


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """The folder of switches.toml refuses every new file, for root as well."""
    from graft.operations import edits

    locked = edits.locked

    @contextmanager
    def refused(target: Path, seconds: float) -> Iterator[None]:
        if target.parent == path.parent:
            raise LockUnwritable(OSError(30, "Read-only file system"))
        with locked(target, seconds):
            yield

    monkeypatch.setattr(edits, "locked", refused)


def state_of(path: Path) -> FileState:
    return FileState(path, path.parent.parent / "var")


@pytest.mark.usefixtures("read_only")
def test_a_trip_holds_for_every_worker_of_the_host_and_after_a_restart(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert trip(state_of(path), A, REASON)
    switch = state_of(path).read()[A]
    assert switch.share == 0
    assert (switch.tripped or "").startswith(REASON)
    assert "switches.toml can't be written" in (switch.tripped or "")
    assert "The trip is kept in the data folder" in caplog.text
    assert state_of(path).follow().switches[A].share == 0
    [event] = state_of(path).history()
    assert (event.operation, event.before["share"], event.after["share"]) == ("trip", 50, 0)
    assert not trip(state_of(path), A, REASON)


@pytest.mark.usefixtures("read_only")
async def test_followers_see_it_at_once(path: Path) -> None:
    state = state_of(path)
    async with state.follow() as follower:
        trip(state_of(path), A, REASON)
        while follower.switches[A].share:
            await asyncio.sleep(0.005)


@pytest.mark.usefixtures("read_only")
def test_it_ends_with_another_entry_and_with_a_shift_to_what_the_file_says(path: Path) -> None:
    trip(state_of(path), A, REASON)
    with pytest.raises(SwitchesReadOnly, match="Read-only file system"):
        shift(state_of(path), A, 20, by="alice")
    with pytest.raises(SwitchesReadOnly):
        shift(state_of(path), RouteKey("GET", "/b"), 20, by="alice")
    assert rollback(state_of(path), A, by="alice").after.share == 0
    assert shift(state_of(path), A, 50, by="alice").before.share == 0
    assert (state_of(path).read()[A].share, state_of(path).read()[A].tripped) == (50, None)
    trip(state_of(path), A, REASON)
    path.write_text('["GET /a"]\nshare = 1\n')
    assert state_of(path).read()[A].share == 1


def test_what_was_kept_aside_goes_into_the_file_with_the_next_change_that_can_be_written(
    path: Path,
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("graft.operations.edits.locked", _refuse)
        trip(state_of(path), A, REASON)
    mirror(state_of(path), A, 20, by="alice")
    switch = state_of(path).read()[A]
    assert (switch.share, switch.mirror, (switch.tripped or "")[:8]) == (0, 20, REASON[:8])
    assert "share = 0" in path.read_text()
    assert "{}" in (path.parent.parent / "var" / "trips.json").read_text()
    shift(state_of(path), A, 5, by="alice")
    assert state_of(path).read()[A].share == 5


def _refuse(target: Path, seconds: float) -> None:
    raise LockUnwritable(OSError(30, "Read-only file system"))


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"GET /a": 3}', '{"nonsense": {}}'])
def test_a_broken_file_of_trips_is_an_empty_one(path: Path, text: str) -> None:
    (path.parent.parent / "var").mkdir()
    (path.parent.parent / "var" / "trips.json").write_text(text)
    assert state_of(path).read()[A].share == 50


@pytest.mark.usefixtures("read_only")
def test_where_nothing_can_be_written_the_trip_says_so(path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SwitchesReadOnly):
        trip(FileState(path, tmp_path / "file"), A, REASON)
