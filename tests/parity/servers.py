"""One app under the two servers that are compared: Gunicorn's gthread, and Gunicorn with the gateway."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx

from tests.parity.packages import overlay
from tests.parts.gateway import PROJECT, Gateway, serving

GTHREAD = (sys.executable, "-m", "gunicorn", "--config", "/dev/null", "--bind", "127.0.0.1:0", "--workers", "1")
THREADS = "8"


@contextmanager
def plain(app: str, folder: Path, env: Mapping[str, str]) -> Iterator[Gateway]:
    """``app`` (module:name) under gthread, one worker: what a visitor sees of it today."""
    folder.mkdir()
    command = [*GTHREAD, "--worker-class", "gthread", "--threads", THREADS, app]
    with serving(command, folder=folder, log=folder / "log", env=_env(folder, env), ready="/") as server:
        yield server


@contextmanager
def gateway(app: str, folder: Path, env: Mapping[str, str], switches: str = "") -> Iterator[Gateway]:
    """The same under the gateway. Without GRAFT_NATIVE in ``env``, there are no native routes."""
    folder.mkdir()
    shutil.copy(PROJECT / "gateway.py", folder)
    shutil.copy(PROJECT / "gunicorn.conf.py", folder)
    (folder / "switches.toml").write_text(switches)
    (folder / "no_native_routes.py").write_text("routes = []\n")
    own = {"GRAFT_LEGACY": app, "GRAFT_NATIVE": "no_native_routes", "GRAFT_LEGACY_THREADS": THREADS}
    own |= {"WEB_CONCURRENCY": "1", **_env(folder, env)}
    with serving("gunicorn", folder=folder, log=folder / "log", env=own, ready="/_graft/health") as server:
        httpx.get(server.base_url)  # as the plain one is asked whether it is there: apps that count see the same
        yield server


def _env(folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    """What both have: the packages of the apps, and a folder for the app's files."""
    data = folder / "data"
    data.mkdir()
    shutil.copytree(
        PROJECT / "tests" / "cli" / "flaskr", folder, dirs_exist_ok=True
    )  # its instance folder is beside it
    path = (str(overlay()), str(PROJECT), str(folder))
    # Sets in the same order in both.
    return {"PYTHONPATH": os.pathsep.join(path), "PYTHONHASHSEED": "0", "DATA_FOLDER": str(data), **env}
