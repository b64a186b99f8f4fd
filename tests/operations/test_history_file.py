from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from graft import files
from graft.errors import GraftError
from graft.operations import history_file
from graft.operations.history_file import HistoryFile
from graft.operations.state import Event
from graft.types import RouteKey

A = RouteKey("GET", "/a")
B = RouteKey("GET", "/b")


def event(key: RouteKey = A, share: float = 1, why: str | None = None) -> Event:
    return Event(key, "shift", "alice", why, {"share": 0}, {"share": share})


@pytest.fixture
def history(tmp_path: Path) -> HistoryFile:
    return HistoryFile(tmp_path / "var" / "history.jsonl")


def test_what_is_appended_is_read_newest_first(history: HistoryFile) -> None:
    assert history.newest(None, 10) == []
    events = [event(A, 1), event(B, 2, "ünï \u2028"), event(A, 3)]
    history.append(events[:2])
    history.append(events[2:])
    assert [each.as_data() for each in history.newest(None, 10)] == [each.as_data() for each in reversed(events)]
    assert [each.after["share"] for each in history.newest(A, 1)] == [3]
    assert len(history.path.read_text().splitlines()) == 3


def test_a_torn_line_is_passed_over_and_spoils_no_other(history: HistoryFile) -> None:
    history.append([event(A, 1)])
    with history.path.open("ab") as file:
        file.write(b'{"at": "2026-01-01T00:00:00+00:00", "route": "GE')
    history.append([event(A, 2)])
    with history.path.open("ab") as file:
        file.write(b'\xff\n[]\n{}\n"text"\n{"route": 7}\nnull\n')
    history.append([event(A, 3)])
    assert [each.after["share"] for each in history.newest(None, 10)] == [3, 2, 1]


def test_it_never_grows_beyond_two_files(history: HistoryFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "LARGEST", 4000)
    for number in range(200):
        history.append([event(A, number)])
    files = {path.name: path.stat().st_size for path in history.path.parent.iterdir() if not path.name.startswith(".")}
    assert files.keys() == {"history.jsonl", "history.1.jsonl"}
    assert max(files.values()) <= 4000
    shares = [each.after["share"] for each in history.newest(None, 1000)]
    assert shares == list(range(199, 199 - len(shares), -1))
    assert len(shares) > 4000 // 300


def test_a_file_that_is_renamed_while_it_is_read_is_not_read_twice(
    history: HistoryFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.append([event(A, 1)])
    real = os.fstat

    def rotate(descriptor: int) -> os.stat_result:
        if history.path.exists():
            os.replace(history.path, history._previous)
        return real(descriptor)

    monkeypatch.setattr(history_file.os, "fstat", rotate)
    assert len(history.newest(None, 10)) == 1


_WRITER = """
import sys
from pathlib import Path
from graft.errors import GraftError
from graft.operations.history_file import HistoryFile
from graft.operations.state import Event
from graft.types import RouteKey
history = HistoryFile(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    key = RouteKey("GET", f"/{sys.argv[2]}")
    try:
        history.append([Event(key, "shift", "alice", "x" * 400, {"share": number - 1}, {"share": number})])
    except GraftError:  # on a busy machine the others may have had the lock for too long
        number -= 1
        continue
    print(number, flush=True)
"""


def test_writers_that_are_killed_lose_nothing_that_was_said_to_be_written(history: HistoryFile) -> None:
    writers = {
        name: subprocess.Popen([sys.executable, "-c", _WRITER, str(history.path), name], stdout=subprocess.PIPE)
        for name in "pqr"
    }
    written = {}
    for name, writer in writers.items():
        assert writer.stdout is not None
        for _ in range(20):
            assert writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read()
        writer.wait()
        writer.stdout.close()
        written[name] = 20 + len(rest.split())
    history.append([event(B, 1)])
    for name, least in written.items():
        found = [each.after["share"] for each in history.newest(RouteKey("GET", f"/{name}"), 100_000)]
        assert found == list(range(len(found), 0, -1))
        assert least <= len(found) <= least + 1
    assert len(history.newest(B, 10)) == 1


def test_threads_of_one_process_share_it(history: HistoryFile) -> None:
    threads = [threading.Thread(target=history.append, args=([event(A, number)],)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.after["share"] for each in history.newest(None, 100)} == set(range(20))


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")
    history = HistoryFile(tmp_path / "var" / "history.jsonl")
    with pytest.raises(GraftError, match=r"history\.jsonl can't be written: "):
        history.append([event()])
    with pytest.raises(GraftError, match=r"history\.jsonl can't be read: "):
        history.newest(None, 1)


def test_a_lock_that_is_held_or_can_not_be_opened_is_named(
    history: HistoryFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_file, "LOCK_SECONDS", 0.05)
    history.path.parent.mkdir()
    lock = history.path.with_name(".history.jsonl.lock")
    with FileLock(lock), pytest.raises(GraftError, match="another process has held"):
        history.append([event()])
    lock.unlink(missing_ok=True)
    lock.mkdir()
    with pytest.raises(GraftError, match="can't be written"):
        history.append([event()])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_what_root_makes_belongs_to_the_owner_of_the_folder(history: HistoryFile) -> None:
    history.path.parent.mkdir()
    os.chown(history.path.parent, 1234, 1234)
    history.append([event()])
    assert {path.stat().st_uid for path in history.path.parent.iterdir()} == {1234}


def test_others_than_root_give_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(files.os, "chown", lambda *_, **__: pytest.fail("chown"))
    files.give_to_owner_of_folder(tmp_path)


def test_an_event_has_the_fields_of_the_api(history: HistoryFile) -> None:
    history.append([event(A, 2, "why")])
    line = json.loads(history.path.read_text())
    assert set(line) == {"id", "at", "route", "operation", "from", "to", "by", "why", "host", "pid"}
