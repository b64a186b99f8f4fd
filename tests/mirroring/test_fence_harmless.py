"""What mirrored work may do: read, log, make temporary files, import; and what other work sees of the fence."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import logging.handlers
import os
import pickle
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import Context
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
import httpx
import pytest
from elasticsearch import AsyncElasticsearch
from flask import Flask
from flask import request as flask_request
from jinja2 import DictLoader, Environment, FileSystemBytecodeCache
from starlette.requests import Request

import graft
from graft.mirroring import fence
from graft.mirroring.fence import Kind, MirroredWrite, Tried, current
from graft.mirroring.fences import watch
from graft.mirroring.fences.elasticsearch_calls import reads
from graft.mirroring.fences.statements import change
from graft.settings import Settings
from graft.tasks import Runner
from graft.types import Receive, Scope, Send
from tests.mirroring.test_fence import legacy_board
from tests.mirroring.test_mirror import Desk
from tests.switching.asking import Told, ask, says, until

T = TypeVar("T")


@pytest.fixture
def run() -> Tried:
    watch()
    return Tried()


def within(run: Tried, call: Callable[..., T], *args: Any) -> T:
    """``call`` as mirrored work."""
    context = Context()
    context.run(current.set, run)
    return context.run(call, *args)


def test_a_log_handler_writes_and_rotates_its_file(run: Tried, tmp_path: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(tmp_path / "app.log", maxBytes=100, backupCount=2, delay=True)
    logger = logging.getLogger("an.app.of.this.test")
    logger.addHandler(handler)
    try:
        for _ in range(10):
            within(run, logger.warning, "a line that is long enough for a file of a hundred bytes")
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert run.what == []
    assert len(list(tmp_path.iterdir())) == 3


def test_no_mail_is_sent_for_a_log_line(run: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = logging.handlers.SMTPHandler(("127.0.0.1", 1), "a@example.org", ["b@example.org"], "an error")
    logger = logging.getLogger("another.app.of.this.test")
    logger.addHandler(handler)
    try:
        within(run, logger.error, "broken")
    finally:
        logger.removeHandler(handler)
    assert run.what == ["send mail through 127.0.0.1"]


def test_temporary_files_are_the_runs_own(run: Tried, tmp_path: Path) -> None:
    def work() -> None:
        with tempfile.TemporaryFile() as file, tempfile.NamedTemporaryFile("w") as named:
            file.write(b"x")
            named.write("x")
        with tempfile.SpooledTemporaryFile(1) as spooled:
            spooled.write(b"more than it keeps in memory")
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "a.txt").write_text("x")
            (Path(folder) / "a.txt").rename(Path(folder) / "b.txt")
            (Path(folder) / "deep").mkdir()
        descriptor, path = tempfile.mkstemp()
        os.close(descriptor)
        Path(path).write_text("x")
        os.remove(path)

    within(run, work)
    assert run.what == []


def test_what_is_there_already_or_not_at_all_is_no_change(run: Tried, tmp_path: Path) -> None:
    def work() -> None:
        os.makedirs(tmp_path, exist_ok=True)
        (tmp_path / "none").unlink(missing_ok=True)
        with pytest.raises(FileNotFoundError):
            os.rename(tmp_path / "none", tmp_path / "other")
        with open(os.devnull, "w") as null:
            null.write("x")
        assert Path(__file__).read_text()

    within(run, work)
    assert run.what == []


def test_a_module_may_be_imported_with_its_bytecode_written(
    run: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported_by_a_mirror.py").write_text(
        "import pathlib, threading\n"
        "pathlib.Path(__file__).with_suffix('.txt').write_text('once a process')\n"
        "threading.Thread(target=print).start()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    within(run, importlib.import_module, "imported_by_a_mirror")
    assert run.what == []
    assert (tmp_path / "__pycache__").is_dir()


def test_a_bytecode_cache_of_templates_is_filled(run: Tried, tmp_path: Path) -> None:
    templates = Environment(loader=DictLoader({"a": "{{ 1 }}"}), bytecode_cache=FileSystemBytecodeCache(str(tmp_path)))
    assert within(run, lambda: templates.get_template("a").render()) == "1"
    assert (run.what, len(list(tmp_path.iterdir()))) == ([], 1)


def test_a_database_in_memory_of_the_runs_own_may_be_written(run: Tried, tmp_path: Path) -> None:
    shared = sqlite3.connect(":memory:")

    def work() -> None:
        with closing(sqlite3.connect(":memory:")) as own:
            own.execute("create table t (a)")
            own.executemany("insert into t values (?)", [(1,), (2,)])
            assert own.execute("select count(*) from t").fetchone() == (2,)
        with pytest.raises(MirroredWrite):
            shared.execute("create table t (a)")

    within(run, work)
    shared.close()
    assert run.what == ["CREATE TABLE t"]


def test_sqlite_is_read_copied_into_memory_and_told_not_to_make_its_file(run: Tried, tmp_path: Path) -> None:
    shared = sqlite3.connect(":memory:")
    shared.execute("create table rows (name)")
    (tmp_path / "rows.db").touch()
    whole = shared.serialize() if hasattr(shared, "serialize") else b""

    def work() -> None:
        with closing(sqlite3.connect(tmp_path / "rows.db")) as rows, closing(sqlite3.connect(":memory:")) as copy:
            rows.backup(copy)
            if whole:
                copy.deserialize(whole)
        for uri in (f"file:{tmp_path}/none.db?mode=ro", "file:shared?mode=memory&cache=shared"):
            with suppress(sqlite3.OperationalError), closing(sqlite3.connect(uri, uri=True)):
                pass
        with closing(sqlite3.connect("")):
            pass

    within(run, work)
    assert run.what == []
    for refused in (
        lambda: sqlite3.connect(tmp_path / "new.db"),
        lambda: sqlite3.connect(f"file:{tmp_path}/new.db?cache=shared", uri=True),
        lambda: sqlite3.connect(":memory:").backup(shared),
    ):
        with pytest.raises(MirroredWrite):
            within(run, refused)
    assert not (tmp_path / "new.db").exists()


def test_a_view_may_run_a_loop_of_its_own(run: Tried) -> None:
    async def read() -> bool:
        return await asyncio.to_thread(graft.is_mirrored)

    assert within(run, lambda: asyncio.run(read())) is True
    assert run.what == []


def test_a_refusal_that_comes_out_elsewhere_is_no_error_in_the_log(
    run: Tried, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        within(run, open, "new.txt", "w")
    except MirroredWrite:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    [record] = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert record.getMessage().startswith(
        "mirror: Task exception was never retrieved: graft.mirroring.fence.MirroredWrite:"
    )


def test_what_a_run_leaves_running_is_its_own_for_a_while_and_then_serves_all(
    run: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> bool:
        (tmp_path / "late.txt").write_text("x")
        return graft.is_mirrored()

    run.end()
    with pytest.raises(MirroredWrite):
        within(run, work)
    monkeypatch.setattr(fence, "LEFT_RUNNING", -1)
    assert within(run, work) is False


def test_threads_of_pools_start_and_read(run: Tried) -> None:
    def work() -> str:
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(lambda _: graft.is_mirrored(), range(4))) == [True] * 4
            return pool.submit(Path(__file__).read_text).result()

    assert within(run, work)
    assert run.what == []
    with ThreadPoolExecutor(1) as pool:
        within(run, lambda: pool.submit(graft.is_mirrored)).result()
        assert pool.submit(graft.is_mirrored).result() is False, "a pool's thread keeps no mark"


async def test_threads_of_the_loop_and_of_anyio_read(run: Tried) -> None:
    async def work() -> list[bool]:
        loop = asyncio.get_running_loop()
        return [
            await asyncio.to_thread(graft.is_mirrored),
            await loop.run_in_executor(None, graft.is_mirrored),
            await anyio.to_thread.run_sync(graft.is_mirrored),
            await asyncio.create_task(asyncio.to_thread(graft.is_mirrored)),
        ]

    context = Context()
    context.run(current.set, run)
    assert await asyncio.get_running_loop().create_task(work(), context=context) == [True] * 4
    assert run.what == []
    assert await anyio.to_thread.run_sync(graft.is_mirrored) is False


def test_an_http_client_that_reads_goes_through(run: Tried) -> None:
    client = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, text="read")))
    assert within(run, client.get, "http://example.org").text == "read"
    with pytest.raises(MirroredWrite, match=r"native tried to send POST to example.org while it ran as a mirror"):
        within(run, client.post, "http://example.org")


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("SELECT 1", None),
        ("select * from a where b = 'DELETE FROM x' -- drop table a", None),
        ("with recursive t as (select 1) select * from t", None),
        ('select "update" from t', None),
        ("(SELECT 1) UNION (SELECT 2)", None),
        ("PRAGMA foreign_keys=ON", None),
        ("EXPLAIN DELETE FROM a", None),
        ("COPY a TO STDOUT", None),
        ("BEGIN", None),
        ("SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;", None),
        ("SELECT pg_try_advisory_xact_lock(1)", "SELECT pg_try_advisory_xact_lock()"),
        ("SET search_path TO x", None),
        ('insert or ignore into "my table" values (1)', "INSERT INTO my table"),
        ("/* x */ UPDATE a SET b = 1", "UPDATE a"),
        ("delete from public.articles where id = 1", "DELETE FROM public.articles"),
        ("WITH x AS (INSERT INTO a VALUES (1) RETURNING *) SELECT * FROM x", "INSERT INTO a"),
        ("WITH a AS (SELECT 1) UPDATE t SET x = 1", "UPDATE t"),
        ("SELECT * FROM a FOR UPDATE", "SELECT ... FOR UPDATE"),
        ("SELECT nextval('s')", "SELECT nextval()"),
        ("SELECT * INTO new FROM old", "SELECT ... INTO new"),
        ("CREATE TABLE IF NOT EXISTS a (x int)", "CREATE TABLE a"),
        ("PRAGMA user_version = 3", "PRAGMA user_version"),
        ("EXPLAIN ANALYZE DELETE FROM a", "DELETE FROM a"),
        ("COPY a FROM STDIN", "COPY a"),
        ("COMMIT; DELETE FROM b", "DELETE FROM b"),
        ("do $$ begin delete from x; end $$", "DO"),
        ("CALL f()", "CALL f"),
        ("NOTIFY ch", "NOTIFY ch"),
        ("", "run a statement"),
    ],
)
def test_a_statement_is_judged_by_its_words(statement: str, what: str | None) -> None:
    assert change(statement) == what


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.search(index="a", query={"match_all": {}}),
        lambda c: c.msearch(searches=[{}, {}]),
        lambda c: c.get(index="a", id="1"),
        lambda c: c.mget(index="a", ids=["1"]),
        lambda c: c.count(index="a"),
        lambda c: c.clear_scroll(scroll_id="x"),
        lambda c: c.open_point_in_time(index="a", keep_alive="1m"),
        lambda c: c.close_point_in_time(id="x"),
        lambda c: c.field_caps(index="a", fields="*"),
        lambda c: c.indices.analyze(text="x"),
        lambda c: c.options(request_timeout=3).search(index="a"),
    ],
)
async def test_what_reads_in_elasticsearch_is_asked(call: Callable[[AsyncElasticsearch], Any], run: Tried) -> None:
    async with AsyncElasticsearch("http://127.0.0.1:1", retry_on_timeout=False, max_retries=0) as client:
        current.set(run)
        with pytest.raises(Exception, match="Connection error"):
            await call(client)
    assert run.what == []


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda c: c.index(index="articles", document={}), "index into articles"),
        (lambda c: c.create(index="articles", id="1", document={}), "index into articles"),
        (lambda c: c.update(index="articles", id="1", doc={}), "update a document of articles"),
        (lambda c: c.delete(index="articles", id="1"), "delete a document of articles"),
        (lambda c: c.bulk(index="articles", operations=[]), "write in bulk to articles"),
        (lambda c: c.indices.create(index="a"), "create the index a"),
        (lambda c: c.indices.delete(index=["a", "b"]), "delete the index a,b"),
        (lambda c: c.indices.refresh(index="a"), "refresh a"),
        (lambda c: c.delete_by_query(index="a", query={"match_all": {}}), "delete documents of a"),
        (lambda c: c.reindex(source={}, dest={}), "call POST /_reindex"),
        (lambda c: c.options(request_timeout=3).options(max_retries=1).index(index="x", document={}), "index into x"),
        (lambda c: c.perform_request("POST", "/a/_doc"), "index into a"),
        (lambda c: c.transport.perform_request("PUT", "/a/_doc/1?refresh=true"), "index into a"),
        (lambda c: c.ingest.put_pipeline(id="p", processors=[]), "call PUT /_ingest/pipeline/p"),
    ],
)
async def test_what_writes_to_elasticsearch_is_refused(
    call: Callable[[AsyncElasticsearch], Any], what: str, run: Tried
) -> None:
    async with AsyncElasticsearch("http://127.0.0.1:1") as client:
        current.set(run)
        with pytest.raises(MirroredWrite, match=r"native tried to .* while it ran as a mirror"):
            await call(client)
    assert run.note == f"not comparable: native tried to {what}"


def test_an_index_that_is_called_like_a_read_is_still_written_to() -> None:
    assert not reads("POST", "/_search_index/_doc")
    assert not reads("POST", "/a/_search_and_destroy")
    assert not reads("PUT", "/a/_search")
    assert not reads("DELETE", "/a")


# Who can tell


async def test_mirrored_work_of_the_native_side_can_tell() -> None:
    told: list[Any] = []

    async def tell(request: Request) -> None:
        told.append(
            (graft.is_mirrored(), request.scope.get("graft.mirrored"), await asyncio.to_thread(graft.is_mirrored))
        )

    async with Desk(Told(1, before=tell), Told(1, before=tell)) as desk:
        await ask(desk.board)
        await desk.until("matched")
    assert told == [(False, None, False), (True, True, True)]


async def test_mirrored_work_of_the_legacy_side_can_tell() -> None:
    app, told = Flask(__name__), []

    @app.before_request
    def before() -> None:
        told.append((graft.is_mirrored(), flask_request.environ.get("graft.mirrored")))

    @app.get("/thing")
    async def thing() -> Any:
        told.append(graft.is_mirrored())
        return "1", {"content-type": "application/json"}

    async with legacy_board(app, says(1)) as (desk, board):
        await ask(board)
        await desk.until("matched")
    assert told == [(True, True), True]
    await asyncio.to_thread(app.test_client().get, "/thing")
    assert told[2:] == [(False, None), False]


def test_without_a_gateway_nothing_is_mirrored() -> None:
    assert graft.is_mirrored() is False


# What other work sees


def test_the_fence_is_not_in_a_process_that_mirrors_nothing() -> None:
    code = (
        "import sys, threading, sqlite3, logging, http.client, concurrent.futures.thread\n"
        "import graft.application, graft.mirroring.mirror\n"
        "assert 'graft' not in threading.Thread.start.__code__.co_filename\n"
        "assert type(sqlite3.Cursor.execute).__name__ == 'method_descriptor'\n"
        "assert logging.getLogRecordFactory() is logging.LogRecord\n"
        "before = set(sys.modules)\n"
        "from graft.mirroring.fences import watch\n"
        "watch()\n"
        "new = {name for name in set(sys.modules) - before if not name.startswith('graft.')}\n"
        "assert new <= {'ctypes', '_ctypes', 'ctypes._endian', 'ctypes._aix'}, new\n"
        "assert type(sqlite3.Cursor.execute).__name__ == 'function'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_is_wrapped_is_what_it_was(run: Tried) -> None:
    assert pickle.loads(pickle.dumps(threading.Thread.start)) is threading.Thread.start
    assert threading.Thread.start.__qualname__ == "Thread.start"
    assert list(inspect.signature(httpx.Client.send).parameters)[:2] == ["self", "request"]
    assert inspect.iscoroutinefunction(httpx.AsyncClient.send)
    assert sqlite3.Cursor.execute.__name__ == "execute"
    assert type(sqlite3.connect(":memory:")) is sqlite3.Connection


def test_a_library_that_a_mirrored_run_imports_first_is_kept_from_writing(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from graft.mirroring.fence import MirroredWrite, Tried, current\n"
        "from graft.mirroring.fences import watch\n"
        "watch()\n"
        "current.set(Tried())\n"
        "assert 'redis' not in sys.modules and 'httpx' not in sys.modules\n"
        "import httpx, redis\n"
        "for call in (lambda: httpx.post('http://127.0.0.1:1'), lambda: redis.Redis(port=1).connection_pool):\n"
        "    try:\n"
        "        call()\n"
        "    except MirroredWrite as error:\n"
        "        print(error)\n"
        "print('graft' in redis.connection.AbstractConnection.send_packed_command.__code__.co_filename)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert ran.stdout.splitlines() == ["native tried to send POST to 127.0.0.1 while it ran as a mirror", "True"]


def test_each_kind_can_be_named() -> None:
    assert " ".join(Kind) == "database elasticsearch files http mail mongodb processes queue redis tasks"


# What has no server here


def test_mongodb_is_read_and_not_written(run: Tried) -> None:
    import pymongo
    from pymongo.errors import ServerSelectionTimeoutError

    watch()
    client: Any = pymongo.MongoClient("127.0.0.1", 1, serverSelectionTimeoutMS=1, connect=False)
    rows = client.shop.rows
    writes: list[Callable[[], Any]] = [
        lambda: rows.insert_one({"a": 1}),
        lambda: rows.update_many({}, {"$set": {"a": 1}}),
        lambda: rows.find_one_and_delete({}),
        lambda: rows.bulk_write([]),
        lambda: rows.aggregate([{"$match": {}}, {"$out": "other"}]),
        lambda: client.shop.drop_collection("rows"),
        lambda: client.shop.command({"insert": "rows", "documents": [{}]}),
        lambda: client.drop_database("shop"),
    ]
    for write in writes:
        with pytest.raises(MirroredWrite):
            within(run, write)
    with pytest.raises(ServerSelectionTimeoutError):
        within(run, rows.find_one)
    with pytest.raises(ServerSelectionTimeoutError):
        within(run, lambda: list(rows.aggregate([{"$match": {}}])))
    client.close()
    assert run.what[:2] == ["call insert_one of rows", "call update_many of rows"]


async def test_asynchronous_mongodb_is_not_written(run: Tried) -> None:
    from pymongo import AsyncMongoClient

    watch()
    client: Any = AsyncMongoClient("127.0.0.1", 1, connect=False)
    current.set(run)
    with pytest.raises(MirroredWrite):
        await client.shop.rows.insert_one({"a": 1})
    await client.close()


def test_mysql_is_not_written(run: Tried) -> None:
    import pymysql.cursors

    watch()
    cursor = pymysql.cursors.DictCursor.__new__(pymysql.cursors.DictCursor)
    with pytest.raises(MirroredWrite, match="native tried to INSERT INTO rows"):
        within(run, cursor.execute, "INSERT INTO rows VALUES (1)")
    with pytest.raises(MirroredWrite, match="native tried to CALL tidy"):
        within(run, cursor.callproc, "tidy")


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not there")
def test_uvloop_starts_no_process(run: Tried) -> None:
    import uvloop

    watch()

    async def start() -> None:
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()

    with pytest.raises(MirroredWrite, match="native tried to run the program true"):
        within(run, uvloop.run, start())
    uvloop.run(start())


def test_an_allowed_thread_is_mirrored_work_too(tmp_path: Path) -> None:
    watch()
    run, told = Tried(allowed=[Kind.TASKS]), []

    def work() -> None:
        told.append(graft.is_mirrored())
        with pytest.raises(MirroredWrite):
            (tmp_path / "new.txt").write_text("x")

    def start() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(work).result()

    within(run, start)
    assert told == [True, True]


@pytest.mark.parametrize("way", ["task", "pool"])
async def test_what_a_run_leaves_behind_and_is_refused_after_the_answer_is_told(way: str, tmp_path: Path) -> None:
    """The answer was taken for comparable by then."""
    gate, left = asyncio.Event(), list[asyncio.Future[None]]()

    def write() -> None:
        (tmp_path / "new.txt").write_text("x")

    async def later() -> None:
        await gate.wait()
        if way == "pool":
            await asyncio.to_thread(write)
        else:
            write()

    async def native(scope: Scope, receive: Receive, send: Send) -> None:
        left.append(asyncio.ensure_future(later()))
        await says("done")(scope, receive, send)

    async with Desk(native, says("done")) as desk:
        await ask(desk.board)
        await desk.until("matched")
        gate.set()
        with pytest.raises(MirroredWrite):
            await left[0]
        await desk.until("failed not comparable")
        await until(lambda: bool(desk.kept.mirrored))
    [kept] = desk.kept.mirrored
    assert kept.note == f"not comparable: native tried to write the file {tmp_path}/new.txt, after its answer"
    assert not (tmp_path / "new.txt").exists()


async def test_an_allowed_task_is_mirrored_work_too(tmp_path: Path) -> None:
    told: list[bool] = []

    async def tell() -> None:
        told.append(graft.is_mirrored())

    async with Runner.open(Settings.load(data=tmp_path)) as runner:
        runner.start(tell)
        context = Context()
        context.run(current.set, Tried(allowed=[Kind.TASKS]))
        context.run(runner.start, tell)
    assert told == [False, True]
