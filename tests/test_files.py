"""Tests of graft/files.py."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graft import files
from graft.mirroring.differences.document import LearnedNoise
from graft.mirroring.differences.sqlite import SqliteStore
from graft.operations.history_file import HistoryFile
from graft.operations.places_file import PlacesFile
from graft.operations.state import Event
from graft.tasks.ledger import Ledger
from graft.types import RouteKey

root_only = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may do that")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A place for a file; at the end there may be nothing else in its folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    yield folder / "kept.txt"
    assert set(os.listdir(folder)) <= {"kept.txt"}


def fails(monkeypatch: pytest.MonkeyPatch, name: str, code: int, *, times: int = 1) -> None:
    """``os.name`` fails so often, then works."""
    real, left = getattr(os, name), [times]

    def failing(*args: Any, **more: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code))
        return real(*args, **more)

    monkeypatch.setattr(files.os, name, failing)


def test_a_new_file_follows_the_umask(path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.replace(path, b"new")
    finally:
        os.umask(before)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o640)


def test_mode_is_kept(path: Path) -> None:
    path.write_bytes(b"old")
    path.chmod(0o604)
    files.replace(path, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o604)


@root_only
def test_the_owner_is_kept_and_what_root_makes_is_the_folders_owners(path: Path) -> None:
    os.chown(path.parent, 1234, 2345)
    files.replace(path, b"first")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)
    os.chown(path, 3456, 4567)
    files.replace(path, b"second")
    assert (path.stat().st_uid, path.stat().st_gid) == (3456, 4567)
    path.unlink()
    files.create(path, b"third", 0o600)
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (1234, 0o600)


def test_a_symlink_is_followed_and_stays(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "real.txt"
    target.parent.mkdir()
    target.write_bytes(b"old")
    path.symlink_to(Path("..") / "elsewhere" / "real.txt")
    files.replace(path, b"new")
    assert path.is_symlink()
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["real.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"old")
    fails(monkeypatch, step, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        files.replace(path, b"new" * 1000)
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full disk at hand")
@root_only
def test_a_disk_that_really_is_full_leaves_the_old_file(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], capture_output=True).returncode:
        pytest.skip("nothing may be mounted here: run as root, with CAP_SYS_ADMIN")
    try:
        kept = tmp_path / "kept.txt"
        files.replace(kept, b"old" * 10_000)
        with pytest.raises(OSError, match="No space left"):
            files.replace(kept, b"new" * 20_000)
        assert kept.read_bytes() == b"old" * 10_000
        assert os.listdir(tmp_path) == ["kept.txt"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_folder_that_may_only_be_read_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"old")
    fails(monkeypatch, "open", errno.EROFS)
    with pytest.raises(OSError, match="Read-only"):
        files.replace(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_file_that_is_a_mount_point_is_written_in_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"a long text that gets shorter")
    fails(monkeypatch, "replace", errno.EBUSY)
    before = path.stat().st_ino
    files.replace(path, b"short")
    assert (path.read_bytes(), path.stat().st_ino) == (b"short", before)


def test_a_mount_point_on_a_full_disk_gets_its_content_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"old")
    fails(monkeypatch, "replace", errno.EBUSY)
    real = os.write
    monkeypatch.setattr(files.os, "write", lambda to, data: real(to, data[:5]) if data else 0)
    fails(monkeypatch, "ftruncate", errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        files.replace(path, b"something much longer")
    assert path.read_bytes() == b"old"


def test_of_many_makers_one_makes_the_file_and_the_others_find_it_whole(path: Path) -> None:
    found: list[tuple[bool, bytes]] = []
    start = threading.Barrier(16)

    def make(number: int) -> None:
        content = b"%d" % number * 5000
        start.wait()
        made = files.create(path, content, 0o600)
        found.append((made and path.read_bytes() == content, path.read_bytes()))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(made for made, _ in found) == 1
    assert {content for _, content in found} == {path.read_bytes()}
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_is_made_where_there_are_no_hard_links(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(monkeypatch, "link", errno.EPERM, times=2)
    assert files.create(path, b"first", 0o600)
    assert not files.create(path, b"second", 0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"first", 0o600)


def test_a_file_that_can_not_be_made_in_full_is_not_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(monkeypatch, "fsync", errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        files.create(path, b"new")
    assert not path.exists()


def test_a_writer_that_is_killed_leaves_the_old_content_or_the_new(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from graft import files\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for letter in (b'a', b'b'): files.replace(Path(sys.argv[1]), letter * 300_000)"
    )
    files.replace(path, b"b" * 300_000)
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        for _ in range(200):
            content = path.read_bytes()
            assert len(content) == 300_000
            assert len(set(content)) == 1
        writer.kill()
    assert len(set(path.read_bytes())) == 1
    for scrap in path.parent.glob(".kept.txt.*"):  # the one thing that a killed writer may leave
        scrap.unlink()


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_data_folder_that_is_made_is_its_owners_alone_and_git_leaves_it_out(tmp_path: Path) -> None:
    files.make_folder_in_data(tmp_path / "var" / "metrics")
    files.make_data_folder(tmp_path / "var")
    assert (mode_of(tmp_path / "var"), (tmp_path / "var" / ".gitignore").read_text()) == (0o700, "*\n")
    assert os.listdir(tmp_path / "var" / "metrics") == []


def test_a_data_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir(mode=0o755)
    files.make_folder_in_data(tmp_path / "var" / "tasks")
    files.make_data_folder(tmp_path / "var")
    assert mode_of(tmp_path / "var") == 0o755
    assert os.listdir(tmp_path / "var") == ["tasks"]
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        files.make_data_folder(tmp_path / "file")


async def test_what_is_kept_of_users_is_the_gateways_alone(tmp_path: Path) -> None:
    """Differences, tasks, the history with its reasons, and what the webhook has sent; also where the folder is open
    to all, and where an earlier version has left them so."""
    tmp_path.chmod(0o755)
    store, history = SqliteStore(tmp_path / "differences.sqlite3"), HistoryFile(tmp_path / "history.jsonl")
    for _ in range(2):
        await store.write([], [LearnedNoise(RouteKey("GET", "/"), "body.took number", "2026-11-28")])
        history.append([Event(RouteKey("GET", "/"), "shift", "ada", "why", {}, {})])
        PlacesFile(tmp_path / "webhook.json").keep("one", {"offset": 0, "at": "", "id": None})
        Ledger(tmp_path / "tasks.sqlite3")._connect()[0].close()
        modes = {path.name: oct(mode_of(path)) for path in tmp_path.iterdir() if not path.name.startswith(".")}
        assert modes == dict.fromkeys(
            ("differences.sqlite3", "history.jsonl", "webhook.json", "tasks.sqlite3"), oct(0o600)
        )
        for name in ("differences.sqlite3", "tasks.sqlite3"):
            (tmp_path / name).chmod(0o604)
