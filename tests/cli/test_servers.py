"""Which server runs, with which command and how many workers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from graft.cli import servers
from graft.cli.servers import Server


def _hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]


def _choose(**options: bool) -> servers.Plan:
    return servers.choose("gateway:app", "::1", 8000, workers=3, **options)


def test_gunicorn_with_uvicorns_worker_is_the_first_choice() -> None:
    plan = _choose()
    assert plan.server is Server.GUNICORN
    assert plan.command[2:] == [
        *("gunicorn", "gateway:app", "--worker-class", "uvicorn.workers.UvicornWorker"),
        *("--bind", "[::1]:8000", "--workers", "3"),
    ]
    assert plan.lost == []
    assert plan.title.startswith("Gunicorn 2")


def test_without_gunicorn_it_is_uvicorn_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    _hide(monkeypatch, "gunicorn")
    plan = _choose()
    assert plan.server is Server.UVICORN
    assert plan.command[-2:] == ["--workers", "3"]
    assert len(plan.lost) == 1


def test_reload_is_uvicorns() -> None:
    plan = _choose(reload=True)
    assert (plan.server, plan.command[-1], plan.lost) == (Server.UVICORN, "--reload", [])


def test_without_uvicorn_the_flask_app_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _hide(monkeypatch, "uvicorn")
    plan = _choose()
    assert plan.server is Server.FLASK
    assert any("no native routes" in loss for loss in plan.lost)


def test_a_package_that_breaks_when_looked_for_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", type(sys)("uvicorn"))
    sys.modules["uvicorn"].__spec__ = None
    assert _choose().server is Server.FLASK


def test_a_server_without_metadata_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise servers.PackageNotFoundError(name)

    monkeypatch.setattr(servers, "version", missing)
    assert _choose().title == "Gunicorn"


@pytest.mark.parametrize(
    ("cores", "quota", "workers"),
    [
        (1, "max 100000", 2),
        (4, "max 100000", 4),
        (64, "max 100000", 12),
        (64, "400000 100000", 4),
        (8, "50000 100000", 2),
    ],
)
def test_a_worker_for_each_core_that_may_be_used(
    cores: int, quota: str, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(servers, "CGROUP_QUOTAS", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    assert servers.default_workers() == workers
