"""Tests of graft/threads/gc.py."""

from __future__ import annotations

import gc

from graft.threads.gc import frozen


def test_what_was_there_before_is_frozen_and_thawed_in_the_end() -> None:
    before = gc.get_freeze_count()
    with frozen():
        assert gc.get_freeze_count() > before + 1000
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_garbage_made_meanwhile_is_still_collected() -> None:
    with frozen():
        gc.collect()
        cycle: list[object] = []
        cycle.append(cycle)
        del cycle
        assert gc.collect() >= 1
