from __future__ import annotations

from graft.operations.switch import Trip
from graft.switching.trips import Window


def test_it_trips_above_the_rate_and_not_below_the_least() -> None:
    window = Window(Trip(percent=50, least=3, window=60))
    assert [window.failed(1.0), window.failed(2.0)] == [None, None]
    assert window.failed(3.0) == "3 of 3 native answers failed within 60 s"


def test_successes_keep_it_open() -> None:
    window = Window(Trip(percent=50, least=3, window=60))
    for second in range(6):
        window.succeeded(second)
    assert [window.failed(6.0 + step) for step in range(6)] == [None] * 6
    assert window.failed(20.0) == "7 of 13 native answers failed within 60 s"


def test_failures_are_forgotten_as_the_window_slides() -> None:
    window = Window(Trip(percent=1, least=3, window=60))
    window.failed(0.0)
    window.failed(1.0)
    assert window.failed(100.0) is None
    assert window.failed(101.0) is None
    assert window.failed(102.0) is not None


def test_old_successes_do_not_hide_a_new_breakage() -> None:
    window = Window(Trip(percent=50, least=5, window=60))
    for tenth in range(10_000):
        window.succeeded(tenth / 10)
    found = [window.failed(1000.0 + second) for second in range(61)]
    assert found[-1] is not None
    assert found[0] is None
