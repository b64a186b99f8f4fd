"""A real PostgreSQL for tests: a cluster of its own in a temporary folder, on a free port, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parts import Process, accepts, free_port, missing, program

USER = "graft"


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database, while the server runs. Its log goes to ``folder``."""
    user = _server_user()
    # Not below pytest's folder: that is closed to any other user, and every pytest that starts sees to it anew.
    with tempfile.TemporaryDirectory(prefix="graft-postgres-") as place:
        data = Path(place)
        if user is not None:
            shutil.chown(data, user)
        command = [_program("initdb"), "-D", data, "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C"]
        subprocess.run([*command, "--no-sync"], check=True, capture_output=True, user=user, cwd="/")
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


def _answers(port: int) -> bool:
    import psycopg

    with psycopg.connect(f"host=127.0.0.1 port={port} user={USER} dbname=postgres", connect_timeout=2) as connection:
        return connection.execute("select 1").fetchone() == (1,)
