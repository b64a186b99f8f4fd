"""The files of the metrics, with and without room on the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from prometheus_client.mmap_dict import MmapedDict

from graft.figures import mapped_files
from graft.figures.mapped_files import WholeFile

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
    append = mapped_files._append_zeros
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

    monkeypatch.setattr(mapped_files, "_append_zeros", append_zeros)
    return allow


def test_it_writes_what_prometheus_reads_in_a_file_without_holes(tmp_path: Path) -> None:
    keys = [f"{key} {number}" for number in range(60) for key in KEYS]  # more than the first size holds
    figures, stock = WholeFile(str(tmp_path / "ours.db")), MmapedDict(str(tmp_path / "stock.db"))
    assert fill(figures, keys) == fill(stock, keys)
    figures.close()
    stock.close()
    ours = (tmp_path / "ours.db").read_bytes()
    assert ours == (tmp_path / "stock.db").read_bytes()
    assert len(ours) > mapped_files._INITIAL
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
    assert (tmp_path / "a.db").stat().st_size == mapped_files._INITIAL
    figures.close()


def test_where_nothing_can_be_kept_in_memory_the_fault_is_the_disks(
    tmp_path: Path, disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    disk(0)
    with pytest.raises(OSError, match="No space left"):
        WholeFile(str(tmp_path / "a.db"))
