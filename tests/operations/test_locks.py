"""Locks between processes."""

from __future__ import annotations

import logging
import subprocess
import sys
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


def test_a_lease_that_was_made_before_a_fork_is_taken_behind_it(tmp_path: Path) -> None:
    """As with Gunicorn's --preload, also where the parent has it, and gives it back."""
    code = """
import os, sys
from pathlib import Path
from graft.operations.locks import FileLease

lease = FileLease(Path(sys.argv[1]))
assert lease.take()
for held in (True, False):
    if not held:
        lease.give_back()
    child = os.fork()
    if not child:
        os._exit(0 if lease.take() is not held else 1)
    assert os.waitpid(child, 0)[1] == 0, held
    assert lease.take()
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "lease"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
