"""The file is missing, broken, full, locked or of another version: a clear error that names it, and recovery."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest
from elasticsearch import ApiError, AsyncElasticsearch

from embedded_elasticsearch import connect
from embedded_elasticsearch.database import Database, Interrupted
from embedded_elasticsearch.errors import EngineError


def embedded(folder: Path) -> AsyncElasticsearch:
    return connect(folder / "search.sqlite3", request_timeout=30)


async def fault_of(client: AsyncElasticsearch) -> str:
    """The reason that a write gets, which is a fault of the server and not of the request."""
    with pytest.raises(ApiError) as caught:
        await client.index(index="docs", document={"a": 1})
    assert caught.value.status_code >= 500
    return str(caught.value.body["error"]["reason"])


async def test_a_file_that_is_no_database_is_named_with_the_mend(tmp_path: Path) -> None:
    file = tmp_path / "search.sqlite3"
    file.write_bytes(b"no database at all " * 500)
    async with embedded(tmp_path) as client:
        told = await fault_of(client)
        assert str(file) in told
        assert "index again" in told
        file.unlink()
        assert (await client.index(index="docs", document={"a": 1}))["result"] == "created"


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "search.sqlite3"
    async with embedded(tmp_path) as client:
        for number in range(50):
            await client.index(index="docs", id=str(number), document={"text": "words " * 200})
    content = bytearray(file.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    file.write_bytes(content)
    async with embedded(tmp_path) as client:
        assert str(file) in await fault_of(client)


async def test_a_file_of_another_version_is_named(tmp_path: Path) -> None:
    file = tmp_path / "search.sqlite3"
    with sqlite3.connect(file) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    async with embedded(tmp_path) as client:
        assert "its format is 99" in await fault_of(client)


async def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    async with embedded(tmp_path / "data") as client:
        assert str(tmp_path / "data") in await fault_of(client)


async def test_a_file_that_was_removed_under_a_running_process_is_made_anew(tmp_path: Path) -> None:
    async with embedded(tmp_path) as client:
        await client.index(index="old", document={})
        await client.count(index="old")
        for file in tmp_path.iterdir():
            file.unlink()
        await client.index(index="new", document={})
        assert list((await client.indices.get(index="*")).body) == ["new"]
    async with embedded(tmp_path) as client:
        assert list((await client.indices.get(index="*")).body) == ["new"]


async def test_a_lock_that_is_never_let_go_ends_in_an_error_that_says_so(tmp_path: Path) -> None:
    database = Database(tmp_path / "search.sqlite3", busy_seconds=0.1)
    with database.write():
        pass
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(EngineError, match="being written by another process") as caught, database.write():
        pass
    assert caught.value.status == 503
    other.execute("ROLLBACK")
    with database.write():
        pass
    other.close()
    database.close()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (sqlite3.OperationalError("database or disk is full"), "free some space"),
        (OSError(28, "No space left on device"), "free some space"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "writable for this user"),
        (sqlite3.OperationalError("unable to open database file"), "the folder exists"),
        (PermissionError(13, "Permission denied"), "the folder exists"),
        (sqlite3.OperationalError("disk I/O error"), "remove the file and index again"),
        (sqlite3.ProgrammingError("something else"), "something else"),
    ],
)
def test_what_sqlite_says_is_explained(tmp_path: Path, error: sqlite3.Error | OSError, told: str) -> None:
    database = Database(tmp_path / "search.sqlite3")
    explained = database._explained(error)
    assert isinstance(explained, EngineError)
    assert explained.status == 500
    assert told in explained.reason
    assert str(database.path) in explained.reason
    assert isinstance(database._explained(sqlite3.OperationalError("interrupted")), Interrupted)


def test_an_old_sqlite_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(EngineError, match="too old"), Database(tmp_path / "search.sqlite3").read():
        pass


async def test_a_write_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "search.sqlite3")

    def write_half() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO fields (index_id, path) VALUES (1, 'a')")
            connection.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(EngineError, match="no such table"):
        write_half()
    with database.read() as connection:
        assert connection.execute("SELECT count(*) FROM fields").fetchone() == (0,)
    database.close()


async def test_an_unexpected_failure_is_an_elasticsearch_error_and_is_logged(
    client: AsyncElasticsearch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("embedded_elasticsearch.store.aliases", lambda *_: 1 / 0)
    await client.indices.create(index="docs")
    with pytest.raises(ApiError) as caught:
        await client.indices.get(index="docs")
    assert caught.value.body["error"]["reason"] == "ZeroDivisionError: division by zero"
    assert "failed on GET /docs" in caplog.text


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs another user, so only as root")
def test_a_file_that_may_only_be_read_says_so_on_writes_and_is_still_searched(tmp_path: Path) -> None:
    async def make() -> None:
        async with embedded(tmp_path) as client:
            await client.index(index="docs", document={"a": 1})

    asyncio.run(make())
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == 0 and "pytest" in str(folder):
            folder.chmod(0o755)
    child = os.fork()
    if child == 0:
        os.setgid(65534)
        os.setuid(65534)
        os._exit(asyncio.run(_as_reader(tmp_path)))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


async def _as_reader(folder: Path) -> int:
    async with embedded(folder) as client:
        told = await fault_of(client)
        if str(folder) not in told:
            return 1
        return 0 if "writable" in told else 2
