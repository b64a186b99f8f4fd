"""Gateways of several hosts as processes, and the visitors that ask them all the time."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from graft.fleet.fleet_state import FleetState
from graft.types import RouteKey
from tests.deploy.running import site
from tests.fleet.hosts import Fleet
from tests.parts import free_port

KEY = RouteKey("GET", "/read")
PATIENCE = 120.0


class Visitors:
    """Clients that ask each host again and again, each time on a new connection: so all of its workers answer."""

    def __init__(self) -> None:
        self.addresses: set[str] = set()
        self.failures: list[str] = []
        self.asked = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._visit)

    def __enter__(self) -> Visitors:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _visit(self) -> None:
        while not self._ends.wait(0.05):
            for address in sorted(self.addresses):
                self.asked += 1
                try:
                    if (status := ask(address)[0]) != 200:
                        self.failures.append(f"{address}: {status}")
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(f"{address}: {error!r}")


def ask(address: str) -> tuple[int, str]:
    """The status, and by whom. (A client of httpx for each would cost more than all that is tested here.)"""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    try:
        connection.request("GET", "/read", headers={"user-agent": os.urandom(4).hex()})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["x-served-by"]
    finally:
        connection.close()


def served(address: str) -> set[str]:
    """By whom twelve requests are, which come to both workers."""
    return {ask(address)[1] for _ in range(12)}


def answers(state: FleetState) -> int:
    """Of all servers together, as somebody on another machine sees them."""
    figures = state.of_all({}).get(str(KEY))
    return figures.requests if figures is not None else 0


@contextmanager
def host(fleet: Fleet, name: str, url: str, workers: int = 2, **more: str) -> Iterator[str]:
    """Its address, once it answers. ``url`` is where it finds the cluster; more than one, with commas between."""
    folder = fleet.folder / name
    folder.mkdir(exist_ok=True)
    bind = f"127.0.0.1:{free_port()}"
    env = {
        "GRAFT_LEGACY": "tests.switching.failing:app",
        "GRAFT_NATIVE": "tests.switching.failing.native",
        "GRAFT_FLEET": fleet.name,
        "ELASTICSEARCH_URL": url,
        "GRAFT_DATA": str(folder / "var"),
        "GRAFT_SWITCHES": str(folder / "switches.toml"),
        **more,
    }
    with site(folder, bind, "--workers", str(workers), ready="/read", **env):
        yield f"http://{bind}"
