"""A real PostgreSQL for tests: a cluster of its own in a temporary folder, on a free port, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parts import Process, accepts, free_port, missing, program

USER = "graft"


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database, while the server runs."""
    user = _server_user()
    data = folder / "data"
    data.mkdir(mode=0o700)
    if user is not None:
        shutil.chown(data, user)
        _let_through(folder)
    initdb = [_program("initdb"), "-D", data, "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True, user=user, cwd="/")
    port = free_port()
    command = [_program("postgres"), "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
    command += ["-c", "unix_socket_directories=", "-c", "fsync=off"]
    with Process(command, folder / "postgres.log", user=user, cwd=Path("/")) as server:
        server.wait_for(lambda: accepts(port) and _answers(port), 30, "PostgreSQL to answer")
        yield f"postgresql+psycopg://{USER}@127.0.0.1:{port}/postgres"


def _program(name: str) -> str:
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / name).exists():
            return str(folder / name)
    return program(name, "apt install postgresql")


def _server_user() -> str | None:
    """PostgreSQL refuses to run as root; its Debian package brings a user."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        missing("a user for PostgreSQL", "run the tests as an ordinary user, or add the user postgres")


def _let_through(folder: Path) -> None:
    """pytest keeps its folders to the one who runs it; the server has to get to its own."""
    for place in (folder, *folder.parents):
        if place.stat().st_uid == 0 and not place.stat().st_mode & 0o001:
            place.chmod(place.stat().st_mode | 0o011)


def _answers(port: int) -> bool:
    import psycopg

    with psycopg.connect(f"host=127.0.0.1 port={port} user={USER} dbname=postgres", connect_timeout=2) as connection:
        return connection.execute("select 1").fetchone() == (1,)
