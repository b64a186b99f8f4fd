"""What wrk prints, read."""

from __future__ import annotations

import pytest

from benchmarks.load import Sample, parse
from benchmarks.results import BenchmarkError

OUTPUT = """Running 1s test @ http://127.0.0.1:8000/small
  1 threads and 16 connections
  Latency Distribution
     50%  650.00us
     75%    0.91ms
     99%    1.22s
  7302 requests in 1.01s, 1.19MB read
{errors}Requests/sec:   7253.92
Transfer/sec:      1.18MB
"""


def test_times_are_milliseconds_whatever_wrk_calls_them() -> None:
    assert parse(OUTPUT.format(errors="")) == Sample(7253.92, 0.65, 1220.0, 0)


def test_all_kinds_of_errors_are_counted() -> None:
    errors = "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 10\n"
    assert parse(OUTPUT.format(errors=errors)).errors == 20


def test_anything_else_is_refused_with_what_was_said() -> None:
    with pytest.raises(BenchmarkError, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1")
