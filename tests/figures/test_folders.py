from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from uvicorn.config import Config

from graft.errors import SettingError
from graft.figures import folders


def test_the_metrics_folder_is_empty_and_those_of_dead_servers_go(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    metrics, host = tmp_path / "metrics", socket.gethostname()
    kept = {f"{host}-1", "elsewhere-1", f"{host}-notes", f"{host}-{os.getpid()}"}
    for name in {*kept, f"{host}-{ended.pid}"}:
        (metrics / name).mkdir(parents=True)
        (metrics / name / "counter.db").write_bytes(b"x")
    folder = folders.fresh(tmp_path)
    assert {entry.name for entry in metrics.iterdir()} == kept
    assert folder == metrics / f"{host}-{os.getpid()}"
    assert list(folder.iterdir()) == []


def test_a_folder_that_can_not_be_made_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("no folder")
    with pytest.raises(SettingError, match=r"GRAFT_DATA: .*/var/metrics/.* can't be made: Not a directory\. Make room"):
        folders.fresh(tmp_path / "var")


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert folders.is_running(Path(f"{socket.gethostname()}-1"))


def test_a_running_server_s_folder_comes_before_newer_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folders.newest(tmp_path) is None
    ours = folders.fresh(tmp_path)
    os.utime(ours, (0, 0))
    for name in ("elsewhere-1", f"{socket.gethostname()}-999999999", f"{socket.gethostname()}-{9**40}", "notes"):
        (tmp_path / "metrics" / name).mkdir()
    assert folders.newest(tmp_path) == ours
    assert folders.is_running(ours)
    assert not any(folders.is_running(folder) for folder in ours.parent.iterdir() if folder != ours)
    monkeypatch.setattr(folders, "shared", tmp_path / "metrics" / "notes")
    assert folders.newest(tmp_path) == tmp_path / "metrics" / "notes"


class Child:
    """A process as Uvicorn's supervisor makes it."""

    def __init__(self, number: int, workers: int, reload: bool = False) -> None:
        self.name = f"SpawnProcess-{number}"
        self._kwargs = {"config": Config("gateway:app", workers=workers, reload=reload)}


@pytest.mark.parametrize(
    ("child", "warned"),
    [
        (Child(1, 4), True),
        (Child(2, 4), False),  # the first one has said it
        (Child(11, 4), False),
        (Child(1, 1), False),
        (Child(1, 4, reload=True), False),
    ],
)
def test_workers_of_uvicorn_that_count_each_for_itself_say_so_once(
    child: Child, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(folders, "shared", None)
    monkeypatch.setattr(multiprocessing, "current_process", lambda: child)
    folders.warn_if_unshared()
    assert ("Set PROMETHEUS_MULTIPROC_DIR" in caplog.text) is warned


def test_gunicorn_without_its_configuration_is_told_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(folders, "shared", None)
    monkeypatch.setitem(sys.modules, "gunicorn.arbiter", sys)
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/27.0.1")
    folders.warn_if_unshared()
    assert "each worker counts for itself" in caplog.text


def test_workers_that_share_their_counters_and_single_ones_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(folders, "shared", None)
    folders.warn_if_unshared()
    monkeypatch.setattr(folders, "shared", tmp_path)
    monkeypatch.setattr(multiprocessing, "current_process", lambda: Child(1, 4))
    folders.warn_if_unshared()
    assert caplog.text == ""
