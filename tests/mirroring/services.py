"""Servers that keep what they are asked to change: real ones, and two small ones on loopback for HTTP and SMTP."""

from __future__ import annotations

import shutil
import socketserver
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import redis

from tests.parts import postgres
from tests.parts import redis as redis_part


@dataclass
class Services:
    """Where they are, and what they have seen."""

    folder: Path
    """for files; ``rows.db`` in it is a SQLite database with a table ``rows``"""
    postgres: str
    redis_port: int
    http_port: int = 0
    smtp_port: int = 0
    requests: list[str] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    """what a thread, a task or a job has done in this process"""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def database(self) -> str:
        return str(self.folder / "rows.db")

    def seen(self) -> dict[str, Any]:
        """All that could have been changed."""
        with closing(sqlite3.connect(self.database)) as rows:
            sqlite = rows.execute("select count(*) from rows").fetchone()[0]
        with psycopg.connect(self.postgres) as connection:
            row = connection.execute("select count(*) from rows").fetchone()
        with redis.Redis(port=self.redis_port) as client:
            keys = {key: client.dump(key) for key in sorted(client.keys("*"))}
        files = {
            str(path): (path.read_bytes() if path.is_file() else None, path.stat().st_mode)
            for path in sorted(self.folder.rglob("*"))
            if not path.name.startswith("rows.db")
        }
        return {
            "sqlite": sqlite,
            "postgres": row[0] if row else None,
            "redis": keys,
            "http": list(self.requests),
            "mails": list(self.mails),
            "files": files,
            "ran": list(self.ran),
        }

    def tidy(self) -> None:
        """The files as they were."""
        for path in set(self.folder.iterdir()) - {self.folder / "rows.db"}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self.folder / "kept.txt").write_text("kept")
        (self.folder / "other.sqlite3").touch()
        (self.folder / "tree" / "branch").mkdir(parents=True)
        (self.folder / "tree" / "branch" / "leaf.txt").write_text("kept")


@contextmanager
def running(folder: Path) -> Iterator[Services]:
    data = folder / "data"
    data.mkdir()
    with postgres.running(folder) as url, redis_part.running(folder) as redis_port:
        services = Services(data, url.replace("+psycopg", ""), redis_port)
        services.tidy()
        with closing(sqlite3.connect(services.database)) as rows:
            rows.execute("create table rows (id integer primary key, name text)")
        with psycopg.connect(services.postgres) as connection:
            connection.execute("create table rows (id serial primary key, name text)")
        with _listening(_http(services)) as services.http_port, _listening(_smtp(services)) as services.smtp_port:
            yield services


@contextmanager
def _listening(make: Callable[[], socketserver.BaseServer]) -> Iterator[int]:
    server = make()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]  # type: ignore[misc]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _http(services: Services) -> Callable[[], socketserver.BaseServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.command not in ("GET", "HEAD") and not self.path.split("?")[0].endswith("_search"):
                services.requests.append(f"{self.command} {self.path}")
            body = b'{"hits": {"hits": []}, "result": "created"}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # a client that left

    return lambda: Server(("127.0.0.1", 0), Handler)


def _smtp(services: Services) -> Callable[[], socketserver.BaseServer]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                word = line[:4].upper().strip()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    while self.rfile.readline() not in (b".\r\n", b""):
                        pass
                    services.mails.append("mail")
                elif word == b"QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                self.wfile.write(b"250 ok\r\n")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass

    return lambda: Server(("127.0.0.1", 0), Handler)
