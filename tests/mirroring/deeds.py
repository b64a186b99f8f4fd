"""What a mirrored request must not do, by the APIs that apps use, and what the comparison is to say of it."""

from __future__ import annotations

import _thread
import asyncio
import http.client
import os
import shutil
import smtplib
import sqlite3
import subprocess
import sys
import tempfile
import threading
import urllib.request
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.mirroring.services import Services

INSERT = "insert into rows (name) values ('x')"


class Deed(NamedTuple):
    do: Callable[[Services], Any]
    kind: str
    said: str
    """what stands behind ``tried to``; the start of it is enough"""


SYNC: dict[str, Deed] = {}
ASYNC: dict[str, Deed] = {}


def sync(kind: str, said: str) -> Callable[[Callable[[Services], None]], Callable[[Services], None]]:
    def keep(do: Callable[[Services], None]) -> Callable[[Services], None]:
        SYNC[do.__name__] = Deed(do, kind, said)
        return do

    return keep


def native(kind: str, said: str) -> Callable[[Callable[[Services], Awaitable[None]]], Callable[[Services], Any]]:
    def keep(do: Callable[[Services], Awaitable[None]]) -> Callable[[Services], Any]:
        ASYNC[do.__name__] = Deed(do, kind, said)
        return do

    return keep


# Databases


@sync("database", "INSERT INTO rows")
def sqlite_of_the_request(at: Services) -> None:
    with closing(sqlite3.connect(at.database)) as connection, connection:
        connection.execute(INSERT)


@cache
def shared_sqlite(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, check_same_thread=False)


@sync("database", "INSERT INTO rows")
def sqlite_of_the_process(at: Services) -> None:
    """By a statement that the connection has prepared before, for a user."""
    connection = shared_sqlite(at.database)
    connection.cursor().execute(INSERT)
    connection.commit()


@sync("database", "INSERT INTO rows")
def sqlite_executemany(at: Services) -> None:
    with closing(sqlite3.connect(at.database)) as connection, connection:
        connection.executemany("insert into rows (name) values (?)", [("a",), ("b",)])


@sync("database", "INSERT INTO rows")
def sqlite_executescript(at: Services) -> None:
    with closing(sqlite3.connect(at.database)) as connection:
        connection.executescript(f"begin; select 1; {INSERT}; commit")


@sync("database", "make the database ")
def sqlite_made(at: Services) -> None:
    with closing(sqlite3.connect(at.folder / "made.sqlite3")) as connection:
        connection.execute("create table rows (name)")


@sync("database", "copy a database over another")
def sqlite_backup(at: Services) -> None:
    other = at.folder / "other.sqlite3"
    with closing(sqlite3.connect(at.database)) as source, closing(sqlite3.connect(other)) as target:
        source.backup(target)


@sync("database", "INSERT INTO rows")
def psycopg_cursor(at: Services) -> None:
    import psycopg

    with psycopg.connect(at.postgres) as connection, connection.cursor() as cursor:
        cursor.execute("insert into rows (name) values (%s)", ("x",))


@sync("database", "INSERT INTO rows")
def psycopg_composed(at: Services) -> None:
    import psycopg
    from psycopg import sql

    with psycopg.connect(at.postgres) as connection:
        connection.execute(sql.SQL("insert into {} (name) values ('x')").format(sql.Identifier("rows")))


@sync("database", "COPY rows")
def psycopg_copy(at: Services) -> None:
    import psycopg

    with (
        psycopg.connect(at.postgres) as connection,
        connection.cursor() as cursor,
        cursor.copy("copy rows (name) from stdin") as copy,
    ):
        copy.write_row(("x",))


@sync("database", "INSERT INTO rows")
def psycopg2_cursor(at: Services) -> None:
    import psycopg2
    from psycopg2.extras import RealDictCursor

    with (
        closing(psycopg2.connect(at.postgres, cursor_factory=RealDictCursor)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("insert into rows (name) values (%s)", ("x",))


_engines: list[Any] = []


@cache
def engine(url: str) -> Any:
    import sqlalchemy

    _engines.append(sqlalchemy.create_engine(url))
    return _engines[-1]


def close() -> None:
    """What the app keeps open from request to request."""
    for made in _engines:
        made.dispose()


@sync("database", "INSERT INTO rows")
def sqlalchemy_core(at: Services) -> None:
    import sqlalchemy

    with engine(f"sqlite:///{at.database}").begin() as connection:
        connection.execute(sqlalchemy.text(INSERT))


@sync("database", "INSERT INTO rows")
def sqlalchemy_orm(at: Services) -> None:
    import sqlalchemy
    from sqlalchemy.orm import Session, registry

    table = sqlalchemy.Table(
        "rows",
        sqlalchemy.MetaData(),
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("name", sqlalchemy.Text),
    )
    row = type("Row", (), {})
    registry().map_imperatively(row, table)
    with Session(engine(at.postgres.replace("postgresql:", "postgresql+psycopg:"))) as session:
        session.add(row(name="x"))
        session.commit()


@native("database", "INSERT INTO rows")
async def asyncpg_connection(at: Services) -> None:
    import asyncpg

    connection = await asyncpg.connect(at.postgres)
    try:
        await connection.execute(INSERT)
    finally:
        await connection.close()


@native("database", "INSERT INTO rows")
async def asyncpg_pool(at: Services) -> None:
    import asyncpg

    async with asyncpg.create_pool(at.postgres, min_size=1, max_size=1) as pool:
        await pool.fetch(f"{INSERT} returning id")


@native("database", "INSERT INTO rows")
async def psycopg_async(at: Services) -> None:
    import psycopg

    async with await psycopg.AsyncConnection.connect(at.postgres) as connection:
        await connection.execute(INSERT)


@native("database", "INSERT INTO rows")
async def aiosqlite_connection(at: Services) -> None:
    import aiosqlite

    async with aiosqlite.connect(at.database) as connection:
        await connection.execute(INSERT)
        await connection.commit()


@native("database", "INSERT INTO rows")
async def sqlalchemy_async(at: Services) -> None:
    import sqlalchemy
    from sqlalchemy.ext.asyncio import create_async_engine

    made = create_async_engine(at.postgres.replace("postgresql:", "postgresql+asyncpg:"))
    try:
        async with made.begin() as connection:
            await connection.execute(sqlalchemy.text(INSERT))
    finally:
        await made.dispose()


# HTTP


@sync("http", "send POST to 127.0.0.1")
def http_client(at: Services) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", at.http_port)) as connection:
        connection.request("POST", "/orders", b"{}")
        connection.getresponse().read()


@sync("http", "send POST to 127.0.0.1")
def urllib_urlopen(at: Services) -> None:
    with urllib.request.urlopen(f"{at.url}/orders", data=b"{}") as answer:
        answer.read()


@sync("http", "send PUT to 127.0.0.1")
def requests_put(at: Services) -> None:
    import requests

    requests.put(f"{at.url}/orders/1", json={}, timeout=10)


@sync("http", "send DELETE to 127.0.0.1")
def urllib3_delete(at: Services) -> None:
    import urllib3

    with urllib3.PoolManager() as pool:
        pool.request("DELETE", f"{at.url}/orders/1")


@sync("http", "send PATCH to 127.0.0.1")
def httpx_patch(at: Services) -> None:
    import httpx

    httpx.patch(f"{at.url}/orders/1", json={})


@native("http", "send POST to 127.0.0.1")
async def httpx_post(at: Services) -> None:
    import httpx

    async with httpx.AsyncClient() as client:
        await client.post(f"{at.url}/orders", json={})


@native("http", "send POST to 127.0.0.1")
async def httpcore_post(at: Services) -> None:
    import httpcore

    async with httpcore.AsyncConnectionPool() as pool:
        await pool.request("POST", f"{at.url}/orders")


@native("http", "send POST to 127.0.0.1")
async def aiohttp_post(at: Services) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.post(f"{at.url}/orders", json={}) as answer:
        await answer.read()


# Elasticsearch, by clients of the app's own


@sync("elasticsearch", "index into rows")
def elasticsearch_sync(at: Services) -> None:
    from elasticsearch import Elasticsearch

    with closing(Elasticsearch(at.url)) as client:
        client.search(index="rows")
        client.index(index="rows", document={})


@native("elasticsearch", "index into rows")
async def elasticsearch_async(at: Services) -> None:
    from elasticsearch import AsyncElasticsearch

    async with AsyncElasticsearch(at.url) as client:
        await client.search(index="rows")
        await client.index(index="rows", document={})


@native("elasticsearch", "delete the index rows")
async def elasticsearch_transport(at: Services) -> None:
    from elasticsearch import AsyncElasticsearch

    async with AsyncElasticsearch(at.url) as client:
        await client.transport.perform_request("DELETE", "/rows")


# Mail


@sync("mail", "send mail through 127.0.0.1")
def smtplib_sendmail(at: Services) -> None:
    with smtplib.SMTP("127.0.0.1", at.smtp_port) as server:
        server.sendmail("a@example.org", ["b@example.org"], "Subject: x\r\n\r\nx")


@native("mail", "send mail")
async def aiosmtplib_send(at: Services) -> None:
    import aiosmtplib

    message = EmailMessage()
    message["From"] = message["To"] = "a@example.org"
    await aiosmtplib.send(message, hostname="127.0.0.1", port=at.smtp_port)


# Redis


@sync("redis", "call SET in Redis")
def redis_set(at: Services) -> None:
    import redis

    with redis.Redis(port=at.redis_port) as client:
        client.get("a")
        client.set("a", uuid.uuid4().hex)


@sync("redis", "call INCRBY in Redis")
def redis_pipeline(at: Services) -> None:
    import redis

    with redis.Redis(port=at.redis_port) as client, client.pipeline() as pipeline:
        pipeline.get("a").incr("counter").execute()


@native("redis", "call LPUSH in Redis")
async def redis_async(at: Services) -> None:
    import redis.asyncio

    async with redis.asyncio.Redis(port=at.redis_port) as client:
        await client.get("a")
        await client.lpush("list", 1)


# Queues


@sync("queue", "queue the task")
def rq_enqueue(at: Services) -> None:
    import redis
    import rq

    with redis.Redis(port=at.redis_port) as client:
        rq.Queue(connection=client).enqueue(print, "x")


@cache
def celery_app() -> Any:
    import celery

    return celery.Celery("deeds", broker="memory://")


@sync("queue", "queue the task send_report")
def celery_send_task(at: Services) -> None:
    celery_app().send_task("send_report")
    at.ran.append("queued")


# Files. ``tree/branch/leaf.txt`` and ``kept.txt`` are there.


@sync("files", "write the file ")
def file_written(at: Services) -> None:
    (at.folder / "new.txt").write_text("x")


@sync("files", "write the file ")
def file_appended(at: Services) -> None:
    with open(at.folder / "kept.txt", "a") as file:
        file.write("x")


@sync("files", "write the file ")
def file_opened_for_update(at: Services) -> None:
    with open(at.folder / "kept.txt", "r+b") as file:
        file.write(b"X")


@sync("files", "write the file ")
def file_by_os_open(at: Services) -> None:
    os.close(os.open(at.folder / "made", os.O_WRONLY | os.O_CREAT))


@sync("files", "delete the file ")
def file_removed(at: Services) -> None:
    os.remove(at.folder / "kept.txt")


@sync("files", "delete the file ")
def file_unlinked(at: Services) -> None:
    (at.folder / "kept.txt").unlink()


@sync("files", "rename a file to ")
def file_renamed(at: Services) -> None:
    (at.folder / "kept.txt").rename(at.folder / "other.txt")


@sync("files", "rename a file to ")
def file_replaced_by_a_temporary_one(at: Services) -> None:
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write("x")
    try:
        os.replace(file.name, at.folder / "kept.txt")
    finally:
        Path(file.name).unlink(missing_ok=True)


@sync("files", "write the file ")
def file_replaced_by_one_made_beside_it(at: Services) -> None:
    """As most do it who write a file as a whole. The temporary one would stay."""
    with tempfile.NamedTemporaryFile("w", dir=at.folder, delete=False) as file:
        file.write("x")
    os.replace(file.name, at.folder / "kept.txt")


@sync("files", "make the node ")
def pipe_made(at: Services) -> None:
    os.mkfifo(at.folder / "pipe")


@sync("files", "make the node ")
def node_made(at: Services) -> None:
    os.mknod(at.folder / "node")


@sync("files", "delete the ")
def folder_removed_with_all_in_it(at: Services) -> None:
    shutil.rmtree(at.folder / "tree")


@sync("files", "change the mode of ")
def mode_changed(at: Services) -> None:
    (at.folder / "kept.txt").chmod(0o600)


@sync("files", "make the folder ")
def folder_made(at: Services) -> None:
    (at.folder / "folder").mkdir()


@sync("files", "write the file ")
def file_copied(at: Services) -> None:
    shutil.copy(at.folder / "kept.txt", at.folder / "copy.txt")


# Processes


def _touch(at: Services) -> list[str]:
    return [sys.executable, "-S", "-c", f"open({str(at.folder / 'touched')!r}, 'w')"]


@sync("processes", "run the program python")
def subprocess_run(at: Services) -> None:
    subprocess.run(_touch(at), check=True)


@sync("processes", "run the program touch")
def os_system(at: Services) -> None:
    os.system(f"touch {at.folder / 'touched'}")


@native("processes", "run the program python")
async def asyncio_subprocess(at: Services) -> None:
    process = await asyncio.create_subprocess_exec(*_touch(at))
    await process.wait()


@native("processes", "run the program touch")
async def asyncio_shell(at: Services) -> None:
    process = await asyncio.create_subprocess_shell(f"touch {at.folder / 'touched'}")
    await process.wait()


# Threads


@sync("tasks", "start a thread for ")
def thread_started(at: Services) -> None:
    thread = threading.Thread(target=at.ran.append, args=("thread",))
    thread.start()
    thread.join()


@sync("tasks", "start a thread for ")
def thread_started_below_threading(at: Services) -> None:
    ended = _thread.allocate_lock()
    ended.acquire()
    _thread.start_new_thread(lambda: (at.ran.append("raw thread"), ended.release()), ())
    ended.acquire()


@sync("tasks", "start a thread for Timer")
def timer_started(at: Services) -> None:
    timer = threading.Timer(0, at.ran.append, ["timer"])
    timer.start()
    timer.join()


@sync("files", "write the file ")
def pool_of_threads(at: Services) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit((at.folder / "by-pool.txt").write_text, "x").result()


@native("files", "write the file ")
async def to_thread(at: Services) -> None:
    await asyncio.to_thread((at.folder / "by-thread.txt").write_text, "x")


@native("files", "write the file ")
async def run_in_executor(at: Services) -> None:
    await asyncio.get_running_loop().run_in_executor(None, (at.folder / "by-executor.txt").write_text, "x")


@native("files", "write the file ")
async def task_created(at: Services) -> None:
    async def write() -> None:
        Path(at.folder / "by-task.txt").write_text("x")

    await asyncio.create_task(write())


# What only reads, by the same libraries

READS: dict[str, Callable[[Services], Any]] = {}
ASYNC_READS: dict[str, Callable[[Services], Awaitable[Any]]] = {}

SELECT = "select count(*) from rows"


def read(do: Callable[[Services], Any]) -> Callable[[Services], Any]:
    (ASYNC_READS if asyncio.iscoroutinefunction(do) else READS)[do.__name__] = do
    return do


@read
def sqlite_read(at: Services) -> None:
    with closing(sqlite3.connect(at.database)) as connection, connection:
        connection.execute("pragma foreign_keys = on")
        connection.execute(SELECT).fetchone()


@read
def psycopg_read(at: Services) -> None:
    import psycopg

    with psycopg.connect(at.postgres) as connection:
        connection.execute(SELECT).fetchone()


@read
def psycopg2_read(at: Services) -> None:
    import psycopg2

    with closing(psycopg2.connect(at.postgres)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("set statement_timeout = 5000")
        cursor.execute(SELECT)


@read
def sqlalchemy_read(at: Services) -> None:
    """With all that it asks a server at the first connection, and with the commit that a teardown makes."""
    import sqlalchemy
    from sqlalchemy.orm import Session

    for url in (f"sqlite:///{at.database}", at.postgres.replace("postgresql:", "postgresql+psycopg:")):
        made = sqlalchemy.create_engine(url, pool_pre_ping=True)
        with Session(made) as session:
            session.execute(sqlalchemy.text(SELECT)).scalar()
            session.commit()
        made.dispose()


@read
def http_read(at: Services) -> None:
    import httpx
    import requests

    requests.get(at.url, timeout=10)
    httpx.get(at.url)
    with urllib.request.urlopen(at.url) as answer:
        answer.read()


@read
def redis_read(at: Services) -> None:
    import redis

    with redis.Redis(port=at.redis_port, protocol=3) as client, client.pipeline() as pipeline:
        client.ping()
        pipeline.get("a").hgetall("b").execute()


@read
def rq_read(at: Services) -> None:
    import redis
    import rq

    with redis.Redis(port=at.redis_port) as client:
        assert rq.Queue(connection=client).count >= 0


@read
async def asyncpg_read(at: Services) -> None:
    import asyncpg

    async with asyncpg.create_pool(at.postgres, min_size=1, max_size=1) as pool:
        await pool.fetchval(SELECT)
        async with pool.acquire() as connection, connection.transaction():
            await connection.fetch("select * from rows where name = $1", "x")


@read
async def aiosqlite_read(at: Services) -> None:
    import aiosqlite

    async with aiosqlite.connect(at.database) as connection, connection.execute(SELECT) as cursor:
        await cursor.fetchone()


@read
async def aiohttp_read(at: Services) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.get(at.url) as answer:
        await answer.read()


@read
async def redis_async_read(at: Services) -> None:
    import redis.asyncio

    async with redis.asyncio.Redis(port=at.redis_port) as client:
        await client.get("a")
