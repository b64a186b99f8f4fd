"""The files of the metrics, with and without room on the disk."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from prometheus_client.mmap_dict import MmapedDict

from graft.figures import prometheus
from graft.figures.prometheus import WholeFile

KEYS = [f'["metric", "metric_{"x" * length}", {{}}, "é"]' for length in range(40)]


def fill(figures: MmapedDict, keys: list[str]) -> dict[str, float]:
    for number, key in enumerate(keys):
        figures.write_value(key, float(number), 1.0)
    return {key: figures.read_value(key)[0] for key in keys}


def read(path: Path) -> dict[str, float]:
    return {key.rstrip(): value for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path))}


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many bytes still fit on the disk; memory has room."""
    append = prometheus._append_zeros
    left = 10**9

    def append_zeros(file: IO[bytes], count: int) -> None:
        nonlocal left
        if isinstance(file.name, str):
            fits = min(left, count)
            left -= fits
            append(file, fits)
            if fits < count:
                raise OSError(errno.ENOSPC, "No space left on device")
        else:
            append(file, count)

    def allow(size: int) -> None:
        nonlocal left
        left = size

    monkeypatch.setattr(prometheus, "_append_zeros", append_zeros)
    return allow


def test_it_writes_what_prometheus_reads_in_a_file_without_holes(tmp_path: Path) -> None:
    keys = [f"{key} {number}" for number in range(60) for key in KEYS]  # more than the first size holds
    figures, stock = WholeFile(str(tmp_path / "ours.db")), MmapedDict(str(tmp_path / "stock.db"))
    assert fill(figures, keys) == fill(stock, keys)
    figures.close()
    stock.close()
    ours = (tmp_path / "ours.db").read_bytes()
    assert ours == (tmp_path / "stock.db").read_bytes()
    assert len(ours) > prometheus._INITIAL
    assert os.stat(tmp_path / "ours.db").st_blocks * 512 >= len(ours)


def test_a_file_that_is_there_is_gone_on_with(tmp_path: Path) -> None:
    for keys in (KEYS[:5], KEYS[5:]):
        figures = WholeFile(str(tmp_path / "a.db"))
        fill(figures, keys)
        figures.close()
    reader = WholeFile(str(tmp_path / "a.db"), read_mode=True)
    assert {key for key, _, _ in reader.read_all_values()} >= {key for key in read(tmp_path / "a.db") if key in KEYS}
    reader.close()
    assert set(KEYS) == set(read(tmp_path / "a.db"))


@pytest.mark.parametrize("room", [0, 5000])
def test_without_room_for_a_file_the_figures_stay_in_memory(
    tmp_path: Path, disk: Callable[[int], None], room: int, caplog: pytest.LogCaptureFixture
) -> None:
    disk(room)
    figures = WholeFile(str(tmp_path / "a.db"))
    assert fill(figures, KEYS) == {key: float(number) for number, key in enumerate(KEYS)}
    assert list(tmp_path.iterdir()) == []
    assert "a.db can't be written: No space left on device" in caplog.text
    figures.close()


def test_without_room_to_grow_what_was_written_stays_readable(tmp_path: Path, disk: Callable[[int], None]) -> None:
    keys = [f"{key} {number}" for number in range(60) for key in KEYS]
    figures = WholeFile(str(tmp_path / "a.db"))
    disk(10_000)
    found = fill(figures, keys)
    assert found == {key: float(number) for number, key in enumerate(keys)}
    kept = read(tmp_path / "a.db")
    assert 100 < len(kept) < len(keys)
    assert kept.items() <= found.items()
    assert (tmp_path / "a.db").stat().st_size == prometheus._INITIAL
    figures.close()


def test_where_nothing_can_be_kept_in_memory_the_fault_is_the_disks(
    tmp_path: Path, disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    disk(0)
    with pytest.raises(OSError, match="No space left"):
        WholeFile(str(tmp_path / "a.db"))


WITHOUT_INITIAL_SIZE = "from prometheus_client import mmap_dict; del mmap_dict._INITIAL_MMAP_SIZE"
WITHOUT_INIT_VALUE = """
from prometheus_client import mmap_dict
mmap_dict.MmapedDict._begin_value = mmap_dict.MmapedDict._init_value
del mmap_dict.MmapedDict._init_value
"""
WITHOUT_VALUES = """
from prometheus_client import metrics, values
def init(self): original(self)
original = metrics.Counter._metric_init
metrics.Counter._metric_init = init
"""
OTHER_STATE = "from prometheus_client import mmap_dict; mmap_dict.MmapedDict.__init__ = lambda self, name: None"
USED = """
import asyncio
from graft.figures import prometheus
from graft.figures.reader import exposition
from graft.figures.recorder import RECORDER

async def main():
    RECORDER.answered("GET /a", "native", 200, 0.003)
    RECORDER.answered("GET /a", "native", 200, 40.0)
    print((await exposition())[0].decode())
    print(prometheus.MISSING)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("removed", "worse"),
    [
        ("", "[]"),
        (WITHOUT_INITIAL_SIZE, "on a full disk workers may be killed by SIGBUS"),
        (WITHOUT_INIT_VALUE, "on a full disk workers may be killed by SIGBUS"),
        (WITHOUT_VALUES, "each worker counts those for itself"),
        (OTHER_STATE, "on a full disk workers may be killed by SIGBUS"),
    ],
    ids=["nothing", "initial size", "init value", "values", "state"],
)
def test_without_a_private_part_of_prometheus_client_the_figures_are_right_and_it_is_said(
    removed: str, worse: str
) -> None:
    ran = subprocess.run([sys.executable, "-c", f"{removed}\n{USED}"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert worse in lines[-1]
    assert 'graft_request_seconds_bucket{le="0.005",route="GET /a",side="native"} 1.0' in lines
    assert 'graft_request_seconds_count{route="GET /a",side="native"} 2.0' in lines
    assert 'graft_request_seconds_sum{route="GET /a",side="native"} 40.003' in lines
    assert 'graft_requests_total{route="GET /a",side="native",status="2xx"} 2.0' in lines


THE_APPS_OWN = """
import os, sys
from pathlib import Path
from graft.figures import folders
folders.shared = Path(sys.argv[1]) / "graft"
from graft.figures.prometheus import Counter, Gauge, Histogram, REGISTRY, merged
import prometheus_client
ours = Counter("ours", "Graft's.", registry=REGISTRY)
live = Gauge("live", "Graft's.", registry=REGISTRY, multiprocess_mode="livesum")
seconds = Histogram("seconds", "Graft's.", ("route",), registry=REGISTRY)
apps = prometheus_client.Counter("apps", "The app's.")
ours.inc(100)
for number in range(2):
    if not (child := os.fork()):
        ours.inc(3), live.set(5), apps.inc(), seconds.labels("/").observe(1)
        os._exit(0)
    os.waitpid(child, 0)
told = prometheus_client.generate_latest(merged()).decode()
print(told, prometheus_client.generate_latest().decode(), os.environ.get("PROMETHEUS_MULTIPROC_DIR"))
"""


def test_forked_workers_count_together_and_leave_the_values_of_the_app_alone(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", THE_APPS_OWN, tmp_path], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert {"ours_total 106.0", "live 10.0", 'seconds_count{route="/"} 2.0'} <= set(lines)
    assert "apps_total 0.0" in lines  # each process its own, as the app has asked for nothing else
    assert lines[-1] == " None"


def test_a_file_that_is_deleted_is_put_back_with_all_its_figures(tmp_path: Path) -> None:
    keys = [f"{key} {number}" for number in range(60) for key in KEYS]
    (tmp_path / "metrics").mkdir()
    figures = WholeFile(str(tmp_path / "metrics" / "a.db"))
    found = fill(figures, keys)
    assert not figures.is_gone
    shutil.rmtree(tmp_path / "metrics")
    assert figures.is_gone
    figures.restore(threading.Lock())
    assert not figures.is_gone
    assert read(tmp_path / "metrics" / "a.db") == found
    figures.write_value(keys[0], 42.0, 1.0)
    figures.write_value("another", 43.0, 1.0)
    assert read(tmp_path / "metrics" / "a.db") == {**found, keys[0]: 42.0, "another": 43.0}
    assert [path.name for path in (tmp_path / "metrics").iterdir()] == ["a.db"]
    figures.close()


def test_a_file_that_can_not_be_put_back_counts_on(tmp_path: Path, disk: Callable[[int], None]) -> None:
    figures = WholeFile(str(tmp_path / "a.db"))
    fill(figures, KEYS)
    (tmp_path / "a.db").unlink()
    disk(100)
    with pytest.raises(OSError, match="No space left"):
        figures.restore(threading.Lock())
    assert list(tmp_path.iterdir()) == []
    figures.write_value(KEYS[0], 42.0, 1.0)
    disk(10**9)
    figures.restore(threading.Lock())
    assert read(tmp_path / "a.db")[KEYS[0].rstrip()] == 42.0
    figures.close()
