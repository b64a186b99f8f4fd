from __future__ import annotations

import os
import signal
import threading

import pytest

from graft.tasks.shutdown import Deadline


def test_the_time_runs_from_the_signal_and_the_servers_handler_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("graft.tasks.shutdown.time.monotonic", lambda: now[0])
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    server = signal.getsignal(signal.SIGTERM)
    try:
        with Deadline(30) as deadline:
            os.kill(os.getpid(), signal.SIGTERM)
            now[0] += 12
            os.kill(os.getpid(), signal.SIGTERM)
            assert deadline.left() == 18
        assert heard == [signal.SIGTERM] * 2
        assert signal.getsignal(signal.SIGTERM) is server
    finally:
        signal.signal(signal.SIGTERM, before)


def test_without_a_signal_it_runs_from_the_first_question(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("graft.tasks.shutdown.time.monotonic", lambda: now[0])
    with Deadline(30) as deadline:
        now[0] += 100
        assert deadline.left() == 30
        now[0] += 40
        assert deadline.left() == -10


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def run() -> None:
        with Deadline(1) as deadline:
            seen.append((signal.getsignal(signal.SIGINT), deadline.left() <= 1))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(before, True)]
