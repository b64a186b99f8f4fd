from __future__ import annotations

import os
from pathlib import Path

import pytest

from graft.tasks.presence import Presence


def test_a_worker_is_alive_from_show_to_end(tmp_path: Path) -> None:
    one, other = Presence(tmp_path / "workers"), Presence(tmp_path / "workers")
    assert not other.is_alive(one.worker)
    one.show()
    one.show()
    assert other.is_alive(one.worker)
    assert one.is_alive(one.worker)
    one.end()
    one.end()
    assert not other.is_alive(one.worker)
    assert list((tmp_path / "workers").iterdir()) == []


def test_a_forked_child_does_not_keep_its_parent_alive(tmp_path: Path) -> None:
    one, other = Presence(tmp_path), Presence(tmp_path)
    one.show()
    one.let_go()  # what a fork does in the child
    assert not other.is_alive(one.worker)


def test_a_file_that_can_not_be_opened_counts_as_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Presence(tmp_path), Presence(tmp_path)
    one.show()

    def refuse(*_: object) -> int:
        raise PermissionError("not yours")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert other.is_alive(one.worker)
    one.end()


def test_an_end_without_the_file_is_no_error(tmp_path: Path) -> None:
    one = Presence(tmp_path)
    one.show()
    (tmp_path / f"{one.worker}.lock").unlink()
    one.end()
