"""Every GET view of real apps has a native twin that answers as it does, from the first minute."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.parity.packages import overlay

ROOT = Path(__file__).resolve().parents[2]

APPS: dict[str, tuple[str, Callable[[], list[Path]]]] = {
    "the example": ("legacy_flask:create_app", list),
    "Flaskr": ("tests.parity.apps.flaskr_blog:app", lambda: [ROOT / "tests" / "cli" / "flaskr"]),
    "httpbin": ("httpbin:app", list),
    "flask-login": ("tests.parity.apps.login:app", lambda: [overlay()]),
}
BROKEN = {"GET /delay/{delay}"}
"""Views that fail on the input that is made up for them: both sides say 500 then."""


def twins(folder: Path, legacy: str, paths: list[Path], *options: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRAFT_")}
    environment |= {
        "GRAFT_LEGACY": legacy,
        "DATA_FOLDER": str(folder),
        "PYTHONPATH": os.pathsep.join(map(str, [folder, *paths, ROOT])),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.scaffolding.all_views", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def different(found: dict[str, Any]) -> dict[str, Any]:
    return {route: told for route, told in found.items() if told[0] != "same" and route not in BROKEN}


@pytest.mark.parametrize("app", APPS)
def test_every_view_that_reads_has_a_twin_that_answers_as_it_does(app: str, tmp_path: Path) -> None:
    legacy, paths = APPS[app]
    found = twins(tmp_path, legacy, paths(), "starlette")
    assert len(found) >= 5
    assert different(found) == {}


@pytest.mark.parametrize("app", ["the example", "Flaskr", "httpbin"])
def test_what_is_translated_answers_as_before(app: str, tmp_path: Path) -> None:
    legacy, paths = APPS[app]
    found = twins(tmp_path, legacy, paths(), "starlette", "translate")
    assert different(found) == {}
    whole = [route for route, told in found.items() if not told[3]]
    assert len(whole) / len(found) >= 0.7


@pytest.mark.parametrize(
    ("framework", "app"),
    [("fastapi", "Flaskr"), ("fastapi", "httpbin"), ("quart", "Flaskr"), ("quart", "flask-login")],
)
def test_so_it_is_in_the_other_frameworks(framework: str, app: str, tmp_path: Path) -> None:
    legacy, paths = APPS[app]
    found = twins(tmp_path, legacy, paths(), framework)
    assert len(found) >= 5
    assert different(found) == {}
