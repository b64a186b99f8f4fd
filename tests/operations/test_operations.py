"""The operations over a state: what each one changes, refuses and records. Every implementation of State passes it."""

from __future__ import annotations

import errno
import os
import threading
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest

from graft.errors import RouteHeld, SwitchesError
from graft.operations import edits, open_state
from graft.operations.hold import hold, release
from graft.operations.mirror import mirror
from graft.operations.rollback import rollback, rollback_all
from graft.operations.shift import shift
from graft.operations.state import Cause, Change, State
from graft.operations.switches import Switches
from graft.operations.trip import trip
from graft.settings import Settings
from graft.types import RouteKey

A = RouteKey("GET", "/a/{id:int}")
B = RouteKey("POST", "/b")
IN_A_FILE = pytest.mark.parametrize("state", ["file"], indirect=True)


@pytest.fixture(params=["file", "real"])
def state(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """In a file, and in a fleet on a real Elasticsearch."""
    settings = {"switches": tmp_path / "switches.toml", "data": tmp_path / "var"}
    if request.param == "file":
        return open_state(Settings.load(**settings))
    monkeypatch.setattr("graft.fleet.connection.REQUEST_SECONDS", 30.0)  # a test machine may be busy
    url = request.getfixturevalue("real_elasticsearch").url
    return open_state(Settings.load(fleet=f"operations-{uuid.uuid4().hex}", elasticsearch_url=(url,), **settings))


def test_a_shift_says_what_was_and_what_is(state: State) -> None:
    transition = shift(state, A, 12.5, by="alice", why="a tenth and a bit")
    assert (transition.key, transition.before.share, transition.after.share) == (A, 0, 12.5)
    assert (state.read()[A].share, state.read()[A].mirror) == (12.5, 100)
    [event] = state.history()
    assert (event.key, event.operation, event.by, event.why) == (A, "shift", "alice", "a tenth and a bit")
    assert (event.before, event.after) == ({"share": 0}, {"share": 12.5})
    assert event.host
    assert event.pid > 0


def test_a_shift_takes_back_a_trip_and_says_so_in_the_history(state: State) -> None:
    shift(state, A, 50, by="alice")
    assert trip(state, A, "5 of 5 native answers failed within 60 s")
    assert state.read()[A].tripped == "5 of 5 native answers failed within 60 s"
    shift(state, A, 1, by="alice")
    assert (state.read()[A].tripped, state.read()[A].tripped_at) == (None, None)
    again, tripped, _ = state.history(A)
    assert (tripped.by, tripped.operation, tripped.before["share"], tripped.after["share"]) == ("trip", "trip", 50, 0)
    assert again.after["tripped"] is None


def test_a_trip_of_what_is_at_0_already_changes_nothing(state: State) -> None:
    mirror(state, A, 5, by="alice")
    assert not trip(state, A, "late")
    assert state.read()[A].tripped is None
    assert [event.operation for event in state.history()] == ["mirror"]


def test_a_rollback_keeps_the_mirror_and_one_of_all_is_one_change(state: State) -> None:
    shift(state, A, 50, by="alice", mirror=20)
    shift(state, B, 100, by="alice")
    mirror(state, RouteKey("GET", "/dark"), 1, by="alice")
    back = rollback_all(state, by="bob", why="all is slow")
    assert [(each.key, each.before.share, each.after.share) for each in back] == [(A, 50, 0), (B, 100, 0)]
    assert state.read()[A].mirror == 20
    assert {(event.key, event.by, event.why) for event in state.history(last=2)} == {
        (A, "bob", "all is slow"),
        (B, "bob", "all is slow"),
    }
    assert rollback_all(state, by="bob") == ()


def test_a_hold_lets_the_share_go_down_and_not_up(state: State) -> None:
    shift(state, A, 50, by="alice")
    hold(state, A, "not above 50\nbefore Monday", by="alice")
    with pytest.raises(RouteHeld, match="not above 50 before Monday"):
        shift(state, A, 51, by="bob")
    assert shift(state, A, 50, by="bob").after.share == 50
    assert shift(state, A, 10, by="bob").after.share == 10
    assert trip(state, A, "too many failures")
    with pytest.raises(RouteHeld):
        shift(state, A, 10, by="bob")
    assert release(state, A, by="alice").before.hold == "not above 50 before Monday"
    assert release(state, A, by="alice").before.hold is None
    assert shift(state, A, 10, by="bob").after.share == 10
    assert [event.operation for event in state.history()] == ["shift", "release", "trip", "shift", "hold", "shift"]


def test_a_rollback_with_a_hold_is_one_event_with_its_reason(state: State) -> None:
    shift(state, A, 50, by="alice")
    rollback(state, A, by="bob", hold="wrong totals")
    event = state.history()[0]
    assert (event.operation, event.by, event.why) == ("rollback", "bob", "wrong totals")
    assert (event.before["share"], event.after["share"], event.after["hold"]) == (50, 0, "wrong totals")


def test_nothing_is_changed_and_nothing_recorded_where_the_decision_raises(state: State) -> None:
    def decide(switches: Switches) -> list[Change]:
        raise RouteHeld("no")

    with pytest.raises(RouteHeld):
        state.change(decide, Cause("shift", "alice"))
    with pytest.raises(SwitchesError):
        shift(state, A, 101, by="alice")
    assert (dict(state.read()), state.history()) == ({}, [])


def test_of_several_who_expect_the_same_state_one_changes_it(state: State) -> None:
    """Compare and set: 8 threads climb from what they saw, 10 steps each; no step is taken twice, none is lost."""
    seen: list[float] = []

    def climb() -> None:
        for _ in range(10):
            expected = state.read().for_route(A)
            step = expected.share + 1

            def decide(switches: Switches) -> list[Change]:
                return [Change(A, {"share": step})] if switches.for_route(A) == expected else []  # noqa: B023

            seen.extend(each.after.share for each in state.change(decide, Cause("promote", "promotion")))

    threads = [threading.Thread(target=climb) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [float(step) for step in range(1, len(seen) + 1)]
    assert state.read()[A].share == len(seen) >= 10
    recorded = [(event.before["share"], event.after["share"]) for event in reversed(state.history(A))]
    assert recorded == [(step - 1, step) for step in range(1, len(seen) + 1)]


def test_what_people_write_as_a_reason_is_one_line_of_text(state: State) -> None:
    shift(state, A, 1, by="eve\x1b]0;x\x07", why="a\r\n\x1b[31mb " + "x" * 5000)
    [event] = state.history()
    assert event.by == "eve ]0;x"
    assert event.why is not None
    assert event.why.startswith("a [31mb xxx")
    assert len(event.why) == 500


async def test_a_follower_hears_of_an_operation(state: State) -> None:
    import anyio

    shift(state, A, 1, by="alice")
    heard: list[float] = []
    follower = state.follow()
    follower.subscribe(lambda switches: heard.append(switches.for_route(A).share))
    async with follower:
        shift(state, A, 2, by="alice")
        with anyio.fail_after(5):
            while heard != [1, 2]:
                await anyio.sleep(0.005)
    assert follower.problem is None


BROKEN = '["GET /a/{id:int}"]\nshare = 100\nnonsense = [[[\n'


def broken(state: State, text: bytes = BROKEN.encode()) -> list[Path]:
    """Breaks the file by hand; the files beside it that were set aside so far."""
    path = Path(state.place)
    path.write_bytes(text)
    return sorted(path.parent.glob("switches.toml.broken-*"))


@IN_A_FILE
@pytest.mark.parametrize("text", [BROKEN.encode(), b'["GET /a"]\nshare = 200\n', b"\xff\xfe", b"#" * 600_000])
def test_a_broken_file_is_set_aside_for_the_last_good_one(state: State, text: bytes) -> None:
    shift(state, A, 50, by="alice")
    shift(state, B, 100, by="alice")
    assert broken(state, text) == []
    with pytest.raises(SwitchesError):
        state.read()
    assert [state.last_good()[key].share for key in (A, B)] == [50, 100]
    kept = state.set_broken_aside(or_empty=True)
    assert kept is not None
    assert Path(kept).read_bytes() == text
    assert Path(kept).parent == Path(state.place).parent
    assert rollback(state, A, by="bob").after.share == 0
    assert [state.read()[key].share for key in (A, B)] == [0, 100]
    assert state.set_broken_aside(or_empty=True) is None
    assert [event.operation for event in state.history()] == ["rollback", "shift", "shift"]


@IN_A_FILE
@pytest.mark.parametrize("kind", ["folder", "fifo", "link to a device"])
def test_what_is_no_file_is_set_aside_as_it_is(state: State, kind: str) -> None:
    shift(state, A, 50, by="alice")
    shift(state, B, 100, by="alice")
    path = Path(state.place)
    path.unlink()
    if kind == "folder":
        path.mkdir()
        (path / "something").write_text("of somebody")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(SwitchesError, match=r"no plain file|Is a directory"):
        state.read()
    kept = Path(state.set_broken_aside(or_empty=True) or "")
    assert kept.parent == path.parent
    assert kept.is_dir() == (kind == "folder")
    assert kept.is_fifo() == (kind == "fifo")
    assert kept.is_symlink() == (kind == "link to a device")
    assert Path("/dev/zero").is_char_device()
    assert rollback(state, A, by="bob").after.share == 0
    assert [state.read()[key].share for key in (A, B)] == [0, 100]


@IN_A_FILE
def test_a_mount_point_stays_and_is_named(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's runtime makes a folder where the file that it is to mount is not there."""
    Path(state.place).mkdir()

    def busy(self: Path, target: Path) -> Path:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(self))

    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(SwitchesError, match="Device or resource busy"):
        state.set_broken_aside(or_empty=True)
    assert Path(state.place).is_dir()


@IN_A_FILE
def test_without_a_last_good_one_only_a_rollback_of_all_is_taken(state: State) -> None:
    broken(state)
    with pytest.raises(SwitchesError, match="rollback --all"):
        state.set_broken_aside(or_empty=False)
    assert Path(state.place).read_text() == BROKEN
    assert state.set_broken_aside(or_empty=True) is not None
    assert rollback_all(state, by="bob") == ()
    assert dict(state.read()) == {}


@IN_A_FILE
def test_what_an_editor_is_just_writing_is_not_set_aside(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    shift(state, A, 50, by="alice")
    good = Path(state.place).read_text()
    broken(state)
    editor = SimpleNamespace(sleep=lambda _: Path(state.place).write_text(good))
    monkeypatch.setattr(edits, "time", editor)
    assert state.set_broken_aside(or_empty=True) is None
    assert Path(state.place).read_text() == good
    assert broken(state) == []
