"""Locks between processes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from filelock import FileLock

from graft.operations.locks import FileLease, locked


def test_the_debug_lines_about_our_locks_are_nobodys_and_those_about_the_apps_are_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        with locked(tmp_path / "switches.toml", 1.0):
            pass
        lease = FileLease(tmp_path / "lease")
        assert lease.take()
        lease.give_back()
        assert caplog.records == []
        with FileLock(tmp_path / "the app's own"):
            pass
    assert {record.name for record in caplog.records} == {"filelock"}
