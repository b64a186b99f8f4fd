"""A native route that waits 50 ms for another service, with 200 clients, against Flask with requests."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks.comparison import Comparison, Comparisons
from benchmarks.contenders import ROOT, graft, gthread
from benchmarks.load import Load
from benchmarks.results import BenchmarkError
from benchmarks.servers import accepts, free_port
from benchmarks.settings import Settings, pinned


@contextmanager
def _upstream(settings: Settings) -> Iterator[Mapping[str, str]]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.apps.upstream.server", str(port)]
    process = subprocess.Popen(pinned(command, settings.load_core), cwd=ROOT)
    try:
        end = time.monotonic() + 10
        while not accepts(port):
            if process.poll() is not None or time.monotonic() > end:
                raise BenchmarkError("the upstream service did not start, see above")
            time.sleep(0.05)
        yield {"UPSTREAM": f"http://127.0.0.1:{port}/"}
    finally:
        process.terminate()
        process.wait()


# Under gthread a client waits 600 ms for its turn: a round of one second would see little more than its beginning.
UPSTREAM = Comparison(
    "upstream",
    "native route awaiting 50 ms upstream, 200 clients",
    Load("/upstream", 200),
    {gthread("benchmarks.apps.upstream.flask_app:app", "/upstream"): 11.0},
    graft("benchmarks.apps.upstream.native", "/upstream"),
    seconds=3,
    warm_up=2,
)
WORK = Comparisons("upstream", [UPSTREAM], _upstream)
