"""The verdict of the long overload."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rich.console import Console

from benchmarks.results import BenchmarkError
from benchmarks.soak import Counted, Soak, report, seconds_until_prompt


def soak(*memory: tuple[float, int]) -> Soak:
    return Soak(60.0, idle=1.0, loaded=[1.5], memory=list(memory), counted=Counted(80, 170, 0), recovery=0.4)


def test_memory_that_grows_after_the_warm_up_is_exit_code_1() -> None:
    assert report(soak((30, 50), (60, 100), (90, 104)), Console(quiet=True)) == 0
    assert report(soak((30, 50), (60, 100), (90, 106), (120, 100)), Console(quiet=True)) == 1


def test_what_was_missed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    seen = soak((60, 100))
    seen.loaded, seen.recovery = [1.5, 2.5, 3.5], 1.2
    report(seen, Console())
    told = capsys.readouterr().out
    assert "68% refused with 503, 0 others" in told
    assert "MISS native p99: 2.50 times idle" in told
    assert "MISS back to normal 1.20 s" in told
    assert "ok   memory" in told


def test_the_counts_come_from_wrks_script() -> None:
    assert Counted.read("Running 1m test\ncounted 80 170 3\n") == Counted(80, 170, 3)
    with pytest.raises(BenchmarkError, match="unable to connect"):
        Counted.read("unable to connect")


@contextmanager
def refusing(times: int) -> Iterator[int]:
    """A server that answers 503 so many times, then 200."""
    left = [times]

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            left[0] -= 1
            self.send_response(503 if left[0] >= 0 else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_it_is_back_to_normal_from_the_last_answer_that_was_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.soak.PROMPT", 10.0)  # this machine may be busy
    with refusing(0) as port:
        at_once = seconds_until_prompt(port)
    with refusing(50) as port:
        later = seconds_until_prompt(port)
    assert at_once == 0
    assert later > 0
