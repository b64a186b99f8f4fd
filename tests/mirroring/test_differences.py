"""One suite over both places in which differences are kept, and what only one of the two can meet."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from elastic_transport import ApiResponseMeta, BaseAsyncNode, HttpHeaders
from elasticsearch import AsyncElasticsearch

from embedded_elasticsearch.node import NodeResponse
from graft.errors import DifferencesError
from graft.figures.prometheus import REGISTRY
from graft.figures.recorder import RECORDER
from graft.mirroring.answers import Answer
from graft.mirroring.compare import Change, Difference
from graft.mirroring.differences import (
    DifferenceStore,
    DifferenceWriter,
    difference_store,
    document,
    read_report,
    writer,
)
from graft.mirroring.differences.document import KeptDifference, LearnedNoise, Origin, document_of
from graft.mirroring.differences.elasticsearch import INDEX, ElasticsearchStore
from graft.mirroring.differences.sqlite import SqliteStore
from graft.mirroring.differences.store import KEPT, oldest
from graft.mirroring.differences.writer import BATCH, PENDING, SAMPLED
from graft.mirroring.mirror import Mirror
from graft.mirroring.mirrored import Mirrored
from graft.mirroring.noise import UNTOLD
from graft.mirroring.redact import Redactor
from graft.operations.switch import Switch
from graft.search.client import open_client
from graft.settings import Settings
from graft.switching.switchboard import Switchboard
from graft.types import RouteKey, Side
from tests.parts.elasticsearch import Elasticsearch
from tests.switching.asking import KEY, Counted, Told, ask, says, scope_of, switched, until

OTHER = RouteKey("GET", "/other/{id:int}")
PLANTED = "s3cr3t-V4lue"


@pytest.fixture(params=["sqlite", "elasticsearch"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DifferenceStore]:
    real = request.getfixturevalue("real_elasticsearch") if request.param == "elasticsearch" else None
    settings = Settings.load(differences_days=3650, data=tmp_path, elasticsearch_url=(real.url,) if real else ())
    async with open_client(settings) as client:
        patient = client.options(request_timeout=30)
        if real:
            await patient.indices.delete(index=INDEX, ignore_unavailable=True)
        yield difference_store(settings, patient)
        if real:
            await patient.indices.delete(index=INDEX, ignore_unavailable=True)


@pytest.fixture
async def real(real_elasticsearch: Elasticsearch) -> AsyncIterator[AsyncElasticsearch]:
    """A client of a real Elasticsearch that has no differences yet, and none afterwards."""
    async with AsyncElasticsearch(real_elasticsearch.url, request_timeout=30) as client:
        await client.indices.delete(index=INDEX, ignore_unavailable=True)
        yield client
        await client.indices.delete(index=INDEX, ignore_unavailable=True)


def lost(why: str) -> float:
    return REGISTRY.get_sample_value("graft_differences_lost_total", {"why": why}) or 0.0


def mirrored(number: int = 0, *, key: RouteKey = KEY, path: str = "a", **more: Any) -> Mirrored:
    native, legacy = (
        Answer(side, 200, ((b"content-type", b"application/json"),), f'{{"{path}": "{side} {number}"}}'.encode(), 1.5)
        for side in (Side.NATIVE, Side.LEGACY)
    )
    found = (Difference(("body", path), Change.CHANGED, f"native {number}", f"legacy {number}"),)
    whole = {
        "native": native,
        "legacy": legacy,
        "scope": scope_of(state={"request_id": f"id-{number}"}),
        "body": b"",
        "switch": Switch(),
        "differences": found,
    }
    return Mirrored(key, Side.LEGACY, **{**whole, **more})


# Both stores


async def test_a_difference_is_kept_with_everything_a_person_needs(store: DifferenceStore) -> None:
    differences = DifferenceWriter(store)
    await differences.keep(mirrored(7))
    await differences.flush()
    [group] = (await read_report(store, KEY)).groups
    assert (group.route, group.what, group.count) == (KEY, "body.a changed", 1)
    [detail] = group.newest
    assert detail["request_id"] == "id-7"
    assert detail["answered_by"] == "legacy"
    assert detail["differences"] == [
        {"where": "body.a", "change": "changed", "native": "native 7", "legacy": "legacy 7"}
    ]
    assert detail["request"] == {"method": "GET", "url": "/thing", "headers": [], "body": ""}
    assert detail["native"]["body"] == '{"a": "native 7"}'
    assert detail["legacy"] == {
        "status": 200,
        "headers": [["content-type", "application/json"]],
        "body": '{"a": "legacy 7"}',
        "latency_ms": 1.5,
        "error": None,
    }


async def test_differences_are_grouped_and_counted_the_most_frequent_first(store: DifferenceStore) -> None:
    differences = DifferenceWriter(store)
    for number in range(6):
        await differences.keep(mirrored(number, path="b" if number % 3 else "a"))
    await differences.keep(mirrored(9, key=OTHER))
    await differences.flush()
    report = await read_report(store)
    assert [(str(group.route), group.what, group.count) for group in report.groups] == [
        ("GET /thing", "body.b changed", 4),
        ("GET /thing", "body.a changed", 2),
        ("GET /other/{id:int}", "body.a changed", 1),
    ]
    assert [group.count for group in (await read_report(store, OTHER)).groups] == [1]
    newest = report.groups[0].newest
    assert [detail["at"] for detail in newest] == sorted((detail["at"] for detail in newest), reverse=True)


async def test_the_newest_hundred_of_a_route_are_kept(store: DifferenceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(f"2025-01-01T00:00:{number // 10:02}.{number % 10}00+00:00" for number in range(1000))
    monkeypatch.setattr(document, "_now", lambda: next(times))
    differences = DifferenceWriter(store)
    await differences.keep(mirrored(1, key=OTHER))
    for number in range(240):
        await differences.keep(mirrored(number))
        if number % SAMPLED == SAMPLED - 1:
            await differences.flush()
    [group] = (await read_report(store, KEY)).groups
    assert group.count == KEPT
    assert [detail["request_id"] for detail in group.newest] == [f"id-{number}" for number in range(239, 139, -1)]
    assert len(await store.newest()) == KEPT + 1


async def test_after_an_outage_no_more_than_the_newest_hundred_are_written(store: DifferenceStore) -> None:
    kept = [KeptDifference(f"{n:03}", KEY, "x", f"2025-01-01T00:00:00.{n:03}+00:00", {}) for n in range(180)]
    for start in range(0, 180, BATCH):
        await store.write(kept[start : start + BATCH], [])
    assert [one.id for one in await store.newest(KEY)] == [f"{n:03}" for n in range(179, 79, -1)]


async def test_what_is_written_twice_is_kept_once(store: DifferenceStore) -> None:
    """A write whose answer was lost is repeated."""
    one = document_of(mirrored(1))
    for _ in range(2):
        assert await store.write([one], [LearnedNoise(KEY, "body.took", one.at)]) == []
    assert await store.newest() == [one]
    assert [learned.what for learned in await store.noise()] == ["body.took"]


async def test_a_native_traceback_and_a_note_are_kept(store: DifferenceStore) -> None:
    differences = DifferenceWriter(store)
    failed = Answer(Side.NATIVE, 500, (), b"", 3.0, f"Traceback\nValueError: password={PLANTED}")
    await differences.keep(mirrored(native=failed))
    await differences.keep(mirrored(note="not comparable: native tried to index into articles", differences=()))
    await differences.flush()
    found = {group.what: group.newest[0] for group in (await read_report(store, KEY)).groups}
    gone = Redactor().strike(PLANTED)
    assert found["body.a changed"]["native"]["error"] == f"Traceback\nValueError: password={gone}"
    assert "not comparable: native tried to index into articles" in found


async def test_half_a_surrogate_pair_in_an_answer_holds_nothing_up(store: DifferenceStore) -> None:
    differences = DifferenceWriter(store)
    header = ((b"content-type", b"application/json"),)
    answer = Answer(Side.NATIVE, 200, header, b'{"a": "\\ud800"}', 1.0)
    found = (Difference(("body", "\ud800"), Change.CHANGED, "\ud800", "é"),)
    await differences.keep(mirrored(native=answer, differences=found))
    await differences.learned(KEY, frozenset({"body.\udfff changed"}))
    await differences.flush()
    report = await read_report(store)
    assert (report.groups[0].what, report.noise) == ("body.? changed", {KEY: ["body.? changed"]})
    assert report.groups[0].newest[0]["native"]["body"] == '{"a": "?"}'


async def test_learned_noise_is_kept_once(store: DifferenceStore) -> None:
    differences = DifferenceWriter(store)
    for _ in range(2):
        await differences.learned(KEY, frozenset({"body.took changed"}))
        await differences.flush()
    report = await read_report(store)
    assert report.noise == (await read_report(store, KEY)).noise == {KEY: ["body.took changed"]}
    assert (await read_report(store, OTHER)).noise == {}
    assert report.groups == []


async def test_noise_is_listed_by_what_is_known_last(store: DifferenceStore) -> None:
    """Not where something was reported afterwards; and what could not be told, not where it could later."""
    one = document_of(mirrored(1, path="took"))
    before, after = oldest(1), (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="milliseconds")
    learned = [
        LearnedNoise(KEY, "body.took number", before),
        LearnedNoise(KEY, f"body.took text{UNTOLD}", before),
        LearnedNoise(KEY, "body.took token", after),
        LearnedNoise(KEY, f"body.rows order{UNTOLD}", before),
        LearnedNoise(KEY, f"body.ids order{UNTOLD}", before),
        LearnedNoise(KEY, "body.ids order", before),
    ]
    await store.write([one], learned)
    report = await read_report(store)
    assert report.noise == {KEY: ["body.ids order", "body.took token"]}
    assert report.as_data(1)["untold"] == {str(KEY): ["body.rows order"]}


async def test_an_empty_store_is_empty_and_reading_makes_nothing(store: DifferenceStore, tmp_path: Path) -> None:
    report = await read_report(store)
    assert (report.groups, report.noise) == ([], {})
    assert list(tmp_path.iterdir()) == []
    await DifferenceWriter(store).flush()


async def test_it_writes_by_itself_and_at_the_end(store: DifferenceStore) -> None:
    async with DifferenceWriter(store, every=0.01) as differences:
        await differences.keep(mirrored(1))
        await until(lambda: not differences.pending)
        differences._every = 60
        await differences.keep(mirrored(2))
    assert [group.count for group in (await read_report(store)).groups] == [2]


async def test_large_answers_are_cut_and_made_on_a_thread(store: DifferenceStore) -> None:
    differences = DifferenceWriter(store)
    large = Answer(Side.NATIVE, 200, ((b"content-type", b"text/plain"),), b"x" * 300_000, 1.0)
    await differences.keep(mirrored(native=large))
    await differences.flush()
    [group] = (await read_report(store)).groups
    assert group.newest[0]["native"]["body"].endswith("(cut)")


async def test_workers_that_write_at_once_lose_nothing(store: DifferenceStore) -> None:
    """Stores of their own, as in worker processes, 20 differences a second each."""
    kind = (lambda: SqliteStore(store.path)) if isinstance(store, SqliteStore) else (lambda: store)
    writers = [DifferenceWriter(kind()) for _ in range(8)]
    for each, key in zip(writers, [KEY, OTHER] * 4, strict=True):
        for number in range(SAMPLED):
            await each.keep(mirrored(number, key=key))
    await asyncio.gather(*(each.flush() for each in writers))
    assert [each.pending for each in writers] == [0] * 8
    assert [group.count for group in (await read_report(store)).groups] == [80, 80]


async def test_what_is_too_old_is_neither_read_nor_kept(store: DifferenceStore) -> None:
    store._days = 30  # type: ignore[attr-defined]
    now = document_of(mirrored(1))
    days = [KeptDifference(f"{age}", KEY, "x", oldest(age), {}) for age in (31, 29, 400)]
    noise = [LearnedNoise(KEY, "body.now", now.at), LearnedNoise(KEY, "body.then", oldest(31))]
    await store.write([now, *days], noise)
    assert [one.id for one in await store.newest(KEY)] == [one.id for one in await store.newest()] == [now.id, "29"]
    await store.forget_old()
    store._days = 1000  # type: ignore[attr-defined]
    assert [one.id for one in await store.newest()] == [now.id, "29"]
    assert [one.what for one in await store.noise()] == ["body.now"]


async def test_of_a_route_or_of_all_everything_can_be_cleared(store: DifferenceStore) -> None:
    differences = DifferenceWriter(store)
    assert await store.clear() == 0
    for number in range(3):
        await differences.keep(mirrored(number))
    await differences.keep(mirrored(9, key=OTHER))
    await differences.learned(KEY, frozenset({"body.took changed"}))
    await differences.learned(OTHER, frozenset({"body.took changed"}))
    await differences.flush()
    assert await store.clear(KEY) == 3
    report = await read_report(store)
    assert ([group.route for group in report.groups], list(report.noise)) == ([OTHER], [OTHER])
    assert await store.clear() == 1
    report = await read_report(store)
    assert (report.groups, report.noise) == ([], {})
    await differences.keep(mirrored(1))
    await differences.flush()
    assert len(await store.newest()) == 1


async def test_a_difference_says_where_it_was_found(store: DifferenceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RECORDER, "builds", {str(KEY): "4f2a91"})
    differences = DifferenceWriter(store, origin=Origin(host="shop-3", environment="staging"))
    await differences.keep(mirrored(1))
    await differences.keep(mirrored(2, key=OTHER))
    await differences.flush()
    found = {one.route: one.detail for one in await store.newest()}
    assert [found[KEY][name] for name in ("host", "environment", "version")] == ["shop-3", "staging", "4f2a91"]
    assert found[OTHER]["version"] is None


def test_what_is_cleared_is_gone_from_the_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "differences.sqlite3")
    detail = {"body": "a text that nobody shall find again"}
    asyncio.run(store.write([KeptDifference("1", KEY, "x", oldest(0), detail)], []))
    assert b"nobody shall find" in store.path.read_bytes()
    asyncio.run(store.clear())
    assert b"nobody shall find" not in store.path.read_bytes()


# The writer


class Store:
    """A DifferenceStore for tests: fails while ``fault`` is set, and refuses what ``refused`` says."""

    def __init__(self, fault: Exception | None = None, refused: Sequence[str] = ()) -> None:
        self.fault = fault
        self.refused = list(refused)
        self.written: list[list[KeptDifference]] = []
        self.learned: list[LearnedNoise] = []
        self.looks = 0

    async def write(self, differences: Sequence[KeptDifference], noise: Sequence[LearnedNoise]) -> list[str]:
        if self.fault is not None:
            raise self.fault
        self.written.append(list(differences))
        self.learned += noise
        return self.refused

    async def newest(self, route: RouteKey | None = None) -> list[KeptDifference]:
        return [one for batch in self.written for one in batch]

    async def noise(self, route: RouteKey | None = None) -> list[LearnedNoise]:
        return self.learned

    async def forget_old(self) -> None:
        self.looks += 1
        if self.fault is not None:
            raise self.fault

    async def clear(self, route: RouteKey | None = None) -> int:
        raise NotImplementedError


async def test_what_is_too_old_is_looked_for_at_the_start_and_each_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    async with DifferenceWriter(store, every=0.001):
        await until(lambda: store.looks)
        await asyncio.sleep(0.02)
        assert store.looks == 1
        monkeypatch.setattr(writer, "_FORGET", 0.0)
        await until(lambda: store.looks > 3)
        store.fault = DifferencesError("down")  # the next time
        await until(lambda: store.looks > 6)


async def test_a_flood_of_differences_is_sampled() -> None:
    differences = DifferenceWriter(Store())
    for number in range(1000):
        await differences.keep(mirrored(number))
    assert differences.pending == SAMPLED
    await differences.flush()
    await differences.keep(mirrored())
    assert differences.pending == 1


async def test_a_store_that_is_down_costs_a_line_in_the_log_and_later_writes_go_through(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "graft")
    store = Store(DifferencesError("no room"))
    async with DifferenceWriter(store, every=0.005) as differences:
        await differences.keep(mirrored())
        await until(lambda: "can't be written now" in caplog.text)
        await differences.learned(KEY, frozenset({"x"}))
        await differences.flush()
        assert caplog.text.count("can't be written now; the newest 500 wait: no room") == 1
        store.fault = None
        await until(lambda: not differences.pending)
    assert (len(store.written), [noise.what for noise in store.learned]) == (1, ["x"])
    assert caplog.text.count("Differences are written again") == 1


async def test_what_waits_for_a_store_that_is_down_is_bounded_and_the_newest_stay() -> None:
    store = Store(DifferencesError("down"))
    differences = DifferenceWriter(store)
    before = lost("waited too long")
    for number in range(PENDING + 30):
        await differences.keep(mirrored(number, key=RouteKey("GET", f"/{number}")))
    await differences.flush()
    assert (differences.pending, lost("waited too long") - before) == (PENDING, 30)
    store.fault = None
    await differences.flush()
    written = await store.newest()
    assert [one.route.path for one in written] == [f"/{number}" for number in range(30, PENDING + 30)]
    assert max(len(batch) for batch in store.written) == BATCH


async def test_refused_differences_are_counted_in_one_line_and_not_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store(refused=["mapper_parsing_exception: no", "another"])
    differences = DifferenceWriter(store)
    before = lost("refused")
    await differences.keep(mirrored())
    await differences.flush()
    assert lost("refused") - before == 2
    assert "2 differences were refused and are lost, the first: mapper_parsing_exception: no" in caplog.text
    assert differences.pending == 0


async def test_what_comes_in_while_the_store_writes_stays_for_the_next_batch() -> None:
    class Slow(Store):
        async def write(self, differences: Sequence[KeptDifference], noise: Sequence[LearnedNoise]) -> list[str]:
            if not self.written:
                await writer_.keep(mirrored(2, key=OTHER))
                await writer_.learned(KEY, frozenset({"x"}))
            return await super().write(differences, noise)

    store = Slow()
    writer_ = DifferenceWriter(store)
    await writer_.keep(mirrored(1))
    await writer_.learned(KEY, frozenset({"x"}))
    await writer_.flush()
    assert [[one.route for one in batch] for batch in store.written] == [[KEY], [OTHER]]
    assert len(store.learned) == 2


async def test_the_last_write_is_given_up_if_the_store_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 0.01)
    store = Store()
    monkeypatch.setattr(store, "write", lambda *_: anyio.sleep_forever())
    async with DifferenceWriter(store) as differences:
        await differences.keep(mirrored())


async def test_an_unexpected_failure_neither_ends_the_writing_nor_reaches_the_mirror(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store(ZeroDivisionError())
    async with DifferenceWriter(store, every=0.005) as differences:
        await differences.keep(mirrored(scope={}))
        assert "could not be kept" in caplog.text
        await differences.keep(mirrored())
        await until(lambda: "differences could not be written" in caplog.text)
        store.fault = None
        await until(lambda: not differences.pending)


# SQLite

WRITER = """
import asyncio, sys
from pathlib import Path
from graft.mirroring.differences.document import KeptDifference
from graft.mirroring.differences.sqlite import SqliteStore
from graft.types import RouteKey

async def main(path, who):
    store = SqliteStore(Path(path), busy_seconds=60)
    for step in range(10):
        at = f"2025-01-01T00:00:{step:02}.000+00:00"
        key = RouteKey("GET", "/" + who)
        pad = {"pad": "y" * 20_000}
        await store.write([KeptDifference(f"{who}-{step}-{n}", key, "x", at, pad) for n in range(20)], [])

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_that_start_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data" / "differences.sqlite3"
    command = [sys.executable, "-c", WRITER, str(path)]
    finished = await asyncio.gather(*(anyio.run_process([*command, f"p{number}"], check=False) for number in range(4)))
    for process in finished:
        assert process.returncode == 0, process.stderr.decode()
    store = SqliteStore(path, days=3650)
    for number in range(4):
        kept = await store.newest(RouteKey("GET", f"/p{number}"))
        assert {one.id for one in kept} == {f"p{number}-{step}-{n}" for step in range(5, 10) for n in range(20)}
    assert {file.name for file in path.parent.iterdir()} == {".gitignore", "differences.sqlite3"}


async def test_a_file_that_was_deleted_comes_back_with_the_next_difference(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "data" / "differences.sqlite3")
    await store.write([document_of(mirrored(1))], [])
    store.path.unlink()
    assert await store.newest() == []
    await store.write([one := document_of(mirrored(2))], [])
    assert await store.newest() == [one]
    shutil.rmtree(store.path.parent)
    await store.write([one], [])
    assert await store.newest() == [one]


async def test_a_file_whose_tables_are_not_made_yet_is_empty(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "differences.sqlite3")
    store.path.touch()
    assert (await store.newest(), await store.noise()) == ([], [])
    await store.write([one := document_of(mirrored(1))], [])
    assert await store.newest() == [one]


async def test_a_file_that_is_none_is_named_with_the_mend(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "differences.sqlite3")
    store.path.write_bytes(b"no database at all" * 500)
    for call in (store.newest(), store.noise(), store.write([], [])):
        with pytest.raises(DifferencesError, match=r"differences\.sqlite3: file is not a database; delete the file"):
            await call


async def test_a_lock_that_another_program_holds_is_waited_for_and_then_named(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "differences.sqlite3", busy_seconds=0.05)
    await store.write([document_of(mirrored(1))], [])
    holder = sqlite3.connect(store.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DifferencesError, match="database is locked"):
        await store.write([document_of(mirrored(2))], [])
    with pytest.raises(DifferencesError, match="database is locked"):
        await store.newest()
    holder.execute("COMMIT")
    holder.close()
    assert len(await store.newest()) == 1


LIMITED = """
import asyncio, logging, resource, signal, sys
from pathlib import Path
from graft.mirroring.differences import DifferenceWriter
from graft.mirroring.differences.sqlite import SqliteStore
from tests.mirroring.test_differences import mirrored

async def main(path):
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    differences = DifferenceWriter(SqliteStore(Path(path)))
    await differences.keep(mirrored(1))
    await differences.flush()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(path).stat().st_size, resource.RLIM_INFINITY))
    for number in range(2, 6):
        for _ in range(20):
            await differences.keep(mirrored(number))
        await differences.flush()
    print("waiting", differences.pending, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await differences.flush()
    print("waiting", differences.pending, "kept", len(await differences.store.newest()), flush=True)

asyncio.run(main(sys.argv[1]))
"""


def test_a_full_disk_costs_one_line_and_writing_goes_on_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "differences.sqlite3"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == ["waiting 80", "waiting 0 kept 81"]
    first, *others = done.stderr.splitlines()
    assert first.startswith(f"Differences can't be written now; the newest 500 wait: {path}: ")
    assert others == ["Differences are written again"]


async def test_a_folder_that_may_only_be_read_is_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "differences.sqlite3")
    await store.write([one := document_of(mirrored(1))], [])
    connect = sqlite3.connect

    def read_only(path: Any, **options: Any) -> sqlite3.Connection:
        # As on a file system that is mounted for reading: root may write to any file, whatever its mode.
        address = path if str(path).startswith("file:") else f"{Path(path).as_uri()}?mode=ro"
        return connect(address, **{**options, "uri": True})

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(DifferencesError, match="attempt to write a readonly database"):
        await store.write([document_of(mirrored(2))], [])
    assert await store.newest() == [one]


async def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    store = SqliteStore(tmp_path / "data" / "differences.sqlite3")
    with pytest.raises(DifferencesError, match=r"data/differences\.sqlite3: .*File exists"):
        await store.write([document_of(mirrored(1))], [])


# Elasticsearch


async def test_an_index_that_was_deleted_comes_back_by_itself_with_its_mappings(real: AsyncElasticsearch) -> None:
    store = ElasticsearchStore(real)
    await store.write([document_of(mirrored(1))], [])
    noise = LearnedNoise(KEY, "body.took", oldest(1))
    for write in (lambda: store.write([document_of(mirrored(2))], []), lambda: store.write([], [noise])):
        await real.indices.delete(index=INDEX)
        assert (await store.newest(), await store.noise()) == ([], [])
        await write()
        mapping = (await real.indices.get_mapping(index=INDEX))[INDEX]["mappings"]
        assert mapping["properties"]["route"] == {"type": "keyword"}
        assert len(await store.newest(KEY)) + len(await store.noise(KEY)) == 1


async def test_a_document_that_the_index_refuses_is_told_and_the_others_are_kept(real: AsyncElasticsearch) -> None:
    store = ElasticsearchStore(real)
    good, bad = document_of(mirrored(1)), KeptDifference("1", KEY, "x", "no date", {})
    [reason] = await store.write([bad, good], [])
    assert reason.startswith("document_parsing_exception: ")
    assert await store.newest() == [good]


async def test_an_index_that_takes_no_writes_now_is_tried_again(real: AsyncElasticsearch) -> None:
    """As Elasticsearch itself blocks an index on a disk that is nearly full."""
    store = ElasticsearchStore(real)
    await store.write([document_of(mirrored(1))], [])
    await real.indices.put_settings(index=INDEX, settings={"index.blocks.read_only_allow_delete": True})
    with pytest.raises(DifferencesError, match="read-only"):
        await store.write([document_of(mirrored(2))], [])
    await real.indices.put_settings(index=INDEX, settings={"index.blocks.read_only_allow_delete": None})
    await store.write([document_of(mirrored(2))], [])
    assert len(await store.newest()) == 2


async def test_a_server_that_is_gone_is_named() -> None:
    async with AsyncElasticsearch("http://127.0.0.1:9", max_retries=0) as client:
        store = ElasticsearchStore(client)
        for call in (store.newest(), store.noise(), store.write([], [])):
            with pytest.raises(DifferencesError, match=r"Elasticsearch at http://127\.0\.0\.1:9 can't be reached"):
                await call


class Red(BaseAsyncNode):
    """A cluster of which one shard of three is gone: it takes what is written, and finds a part of what there is."""

    async def perform_request(self, method: str, target: str, **_: Any) -> NodeResponse:
        body: dict[str, Any] = {"errors": False, "items": []}
        if "/_search" in target:
            shards = {"total": 3, "successful": 2, "failed": 1}
            body = {"_shards": shards, "timed_out": False, "hits": {"hits": []}}
        headers = HttpHeaders({"content-type": "application/json", "x-elastic-product": "Elasticsearch"})
        meta = ApiResponseMeta(200, "1.1", headers, 0.0, self.config)
        return NodeResponse(meta, json.dumps(body).encode())

    async def close(self) -> None:
        pass


async def test_a_red_cluster_that_answers_with_what_is_left_gives_no_answer() -> None:
    async with AsyncElasticsearch("http://127.0.0.1:9", node_class=Red) as client:
        store = ElasticsearchStore(client)
        for call in (store.newest(), store.noise(), store.write([document_of(mirrored(1))], []), store.clear()):
            with pytest.raises(DifferencesError, match="1 of the 3 shards of graft-differences give no answer now"):
                await call


# Secrets and sizes


async def test_no_planted_secret_is_in_the_store(store: DifferenceStore, tmp_path: Path) -> None:
    """Whatever the two sides do with them: echo them, raise them, set them as cookies."""
    headers = {
        "authorization": f"Bearer {PLANTED}",
        "cookie": f"session={PLANTED}-cookie; theme={PLANTED}-theme",
        "x-api-key": f"{PLANTED}-key",
        "x-own": f"{PLANTED}-own",
        "content-type": "application/json",
    }
    body = json.dumps(
        {"user": "ada", "password": f"{PLANTED}-password", "deep": [{"token": f"{PLANTED}-token"}]}
    ).encode()

    def echo(name: str) -> Told:
        async def keep(request: Any) -> None:
            echoed.update({"headers": dict(request.headers), "body": (await request.body()).decode(), "from": name})

        echoed: dict[str, Any] = {}
        return Told(lambda: dict(echoed), before=keep)

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError(f"no user has {PLANTED}-cookie, password {PLANTED}-password and {PLANTED}")

    counted = Counted()
    async with DifferenceWriter(store) as writer, Mirror(recorder=counted, keeper=writer) as mirror:
        for native, legacy in [
            (echo("native"), echo("legacy")),
            (broken, Told(1)),
            (says(1, headers={"set-cookie": f"session={PLANTED}-set"}), Told({"now": f"{PLANTED}-set"})),
        ]:
            board = Switchboard(KEY, native, legacy, mirror=mirror)
            board.follow(switched(mirror=100, redact=("x-own",)))
            before = counted["different"]
            scope = scope_of(headers=headers, query_string=f"q=1&access_token={PLANTED}-query".encode())
            await ask(board, scope, body)
            await until(lambda before=before: counted["different"] > before)
        for _ in range(500):  # counted first, then kept; a new index has no shard for a moment
            with suppress(DifferencesError):
                if len(await store.newest()) == 3:
                    break
            await asyncio.sleep(0.01)
    assert len(await store.newest()) == 3
    assert PLANTED not in repr(await store.newest())
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or PLANTED.encode() not in file.read_bytes()


def test_a_document_is_small_whatever_was_compared() -> None:
    many = tuple(Difference(("body", n), Change.CHANGED, "x" * 200, "y" * 200) for n in range(100))
    huge = Answer(Side.NATIVE, 200, ((b"a", b"b" * 60_000),), b"\x00" * 256_000, 1.0)
    assert len(json.dumps(document_of(mirrored(native=huge, legacy=huge, differences=many)).detail)) < 200_000
