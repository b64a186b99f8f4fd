"""A real Redis for tests: in memory, on a free port, gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parts import Process, accepts, free_port, program


@contextmanager
def running(folder: Path) -> Iterator[int]:
    """Its port, while it runs."""
    server = program("redis-server", "apt install redis-server")
    port = free_port()
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
    with Process(command, folder / "redis.log") as redis:
        redis.wait_for(lambda: accepts(port), 10, "Redis to listen")
        yield port
