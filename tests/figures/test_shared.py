"""What workers write for each other, with real processes and real faults of the disk."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from graft.figures import folders, recorder, shared
from graft.figures.reader import of_folder, read
from graft.figures.recorder import RECORDER, Recorder
from graft.figures.route_figures import RouteFigures
from graft.types import RouteKey, Side

KEY = RouteKey("GET", "/shared/{id:int}")
WORKER = """
import asyncio, sys
from pathlib import Path
from graft.figures import folders
folders.shared = Path(sys.argv[1])
from graft.figures.recorder import RECORDER
from graft.types import RouteKey
RECORDER.builds = {"GET /shared/{id:int}": sys.argv[2]}
async def main():
    for milliseconds in range(1, 101):
        RECORDER.answered("GET /shared/{id:int}", "native", 200, milliseconds / 1000)
    RECORDER.compared(RouteKey.parse("GET /shared/{id:int}"), True)
    RECORDER.publish()
asyncio.run(main())
"""


def worker(folder: Path, build: str) -> None:
    subprocess.run([sys.executable, "-c", WORKER, folder, build], check=True)


def test_workers_add_up_and_each_build_counts_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "shared", tmp_path)
    for build in ("old", "new", "new"):
        worker(tmp_path, build)
    name = str(KEY)
    shown, evidence = read({}, {name: "new"})
    assert (shown[name].requests, shown[name].compared, shown[name].build) == (300, 2, "new")
    assert shown[name].latency == evidence[name].latency
    assert (evidence[name].requests, evidence[name].compared, evidence[name].build) == (200, 2, "new")
    assert evidence[name].latency[Side.NATIVE].quantile_ms(0.95) == pytest.approx(95, rel=0.005)
    assert (of_folder(tmp_path)[name].requests, of_folder(tmp_path)[name].compared) == (300, 2)
    assert read({}, {name: "newest"})[1] == {name: RouteFigures(build="newest")}


async def test_what_is_counted_is_written_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "shared", tmp_path)
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.01)
    one = Recorder()
    one._pause = 0.01
    for number in range(3):  # again and again, also after the first time
        one.answered(str(KEY), "legacy", 200, 0.01)
        async with asyncio.timeout(10):
            while (await asyncio.to_thread(_written, tmp_path)) != number + 1:
                await asyncio.sleep(0.01)
    one.compared(KEY, False)
    async with asyncio.timeout(10):
        while "different" not in next(tmp_path.glob("*.figures")).read_text():
            await asyncio.sleep(0.01)


def _written(folder: Path) -> int:
    """As another process reads it. Under the lock: a write meanwhile would go to a file without a name."""
    with shared._writing:
        own, shared._own = shared._own, (os.getpid(), "")
        try:
            return sum(each.requests for each in of_folder(folder).values())
        finally:
            shared._own = own


def test_a_folder_that_was_deleted_and_a_full_disk_lose_nothing_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "metrics"
    monkeypatch.setattr(folders, "shared", folder)
    shared.write(RECORDER.figures(), RECORDER.metrics.packed())
    shutil.rmtree(folder)
    (tmp_path / "metrics").write_text("in the way")
    with caplog.at_level(logging.ERROR):
        shared.write(RECORDER.figures(), RECORDER.metrics.packed())
        shared.write(RECORDER.figures(), RECORDER.metrics.packed())
    assert caplog.text.count("can't be written") == 1
    (tmp_path / "metrics").unlink()
    shared.write(RECORDER.figures(), RECORDER.metrics.packed())
    assert len(list(folder.iterdir())) == 1


def test_a_file_that_was_deleted_is_there_again_without_any_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "shared", tmp_path / "metrics")
    RECORDER.publish()
    [file] = (tmp_path / "metrics").iterdir()
    content = file.read_bytes()
    shutil.rmtree(tmp_path / "metrics")
    shared.restore()
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"nonsense", b'{"figures": {"GET /": {}}}', b'{"figures": {"GET /": 3}}']
)
def test_a_file_that_is_none_of_ours_is_left_out(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "1-a.figures").write_bytes(content)
    worker(tmp_path, "new")
    assert list(of_folder(tmp_path)) == [str(KEY)]
    assert "can't be read" in caplog.text


def test_where_workers_share_no_folder_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "shared", None)
    shared.write(RECORDER.figures(), RECORDER.metrics.packed())


def test_what_there_was_no_time_for_is_told_apart_from_what_can_not_be_mirrored() -> None:
    one = Recorder()
    one.skipped(KEY, "dropped")
    one.skipped(KEY, "stream")
    one.failed(KEY, "error")
    assert one.figures()[str(KEY)].mirrored == {"shed": 1, "skipped": 1, "failed": 1}
