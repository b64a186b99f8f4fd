"""Somebody takes GRAFT_DATA away from a running site: what was acknowledged is known, and what comes is kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.deploy.running import Site, site
from tests.parts import free_port, wait_until

ROUTE = "GET /both"


def deleted(data: Path) -> None:
    shutil.rmtree(data)


def replaced(data: Path) -> None:
    data.rename(data.with_name("before"))
    data.mkdir()


def served(process: Site, token: dict[str, str]) -> float:
    """Requests to GET /legacy that the metrics tell."""
    with process.client() as client:
        answer = client.get("/_graft/metrics", headers=token)
    assert answer.status_code == 200, answer.text
    lines = [line for line in answer.text.splitlines() if line.startswith("graft_requests_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if 'route="GET /legacy"' in line)


def all_done(process: Site, tasks: list[str]) -> bool:
    with process.client() as client:
        return set(client.post("/kept-known", json=tasks).json()) == {"done"}


def ask_both(process: Site, path: str, ask: Callable[[httpx.Client], None]) -> None:
    """``ask(client)`` over connections that lead to each of the two workers."""
    seen: set[int] = set()

    def asked() -> bool:
        with process.client() as client:
            pid = int(client.get(path).json()["pid"])
            if pid not in seen:
                seen.add(pid)
                ask(client)
        return len(seen) == 2

    wait_until(asked, 20, "both workers to answer")


@pytest.mark.parametrize("fault", [deleted, replaced])
def test_a_data_folder_that_is_taken_away_from_a_running_site_costs_nothing(
    tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    data = tmp_path / "var"
    with site(tmp_path, f"127.0.0.1:{free_port()}", GRACEFUL_TIMEOUT="2") as process:
        process.wait_for(lambda: len(process.workers()) == 2, 10, "two workers")
        token = (data / "admin-token").read_text().strip()
        bearer = {"Authorization": f"Bearer {token}"}
        old: list[str] = []
        ask_both(process, "/legacy", lambda client: old.append(client.post("/kept-task/1").json()["kept"]))
        with process.client() as client:
            old.append(client.post("/kept-task/1?seconds=300").json()["kept"])
        wait_until(partial(all_done, process, old[:2]), 10, "the short tasks")
        wait_until(lambda: served(process, bearer) >= 2, 10, "the figures")
        before = served(process, bearer)

        fault(data)

        new: list[str] = []

        def start_and_ask(client: httpx.Client) -> None:
            assert client.get("/_graft/metrics", headers=bearer).status_code == 200
            new.append(client.post("/kept-task/1").json()["kept"])
            states = client.post("/kept-known", json=[*old, *new]).json()
            assert None not in states, (states, process.output())

        ask_both(process, "/native", start_and_ask)
        assert len(new) == 2

        def all_known(client: httpx.Client) -> None:
            states = client.post("/kept-known", json=[*old, *new]).json()
            assert states[:3] == ["done", "done", "running"]
            assert None not in states

        ask_both(process, "/native", all_known)
        wait_until(lambda: served(process, bearer) >= before, 10, "the figures of both workers")
        with process.client() as client:
            share = {"route": ROUTE, "share": 50}
            assert client.patch("/_graft/api/routes", headers=bearer, json=share).json()["share"] == 50
            history = client.get("/_graft/api/history", headers=bearer, params={"route": ROUTE, "last": 5})
            assert history.json()["history"][0]["to"]["share"] == 50, history.text
            assert client.get("/_graft/health").status_code == 200
            ready = client.get("/_graft/ready")
            assert ready.status_code == 200, ready.text
        wait_until((data / "admin-token").exists, 10, "the token's file")
        assert (data / "admin-token").read_text().strip() == token
        assert (data / "admin-token").stat().st_mode & 0o777 == 0o600
        assert "Traceback" not in process.output()
        assert process.output().count("tasks.sqlite3 was gone") == 2  # one line a worker
