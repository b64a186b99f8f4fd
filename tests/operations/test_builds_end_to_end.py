"""A fix is deployed while a route is mirrored: what the old code has shown is no evidence for the new one."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import httpx2 as httpx

from tests.cli.project import APP, Project
from tests.parts import wait_until
from tests.parts.gateway import PROJECT, serving

KEY = "GET /items/{id:int}"
WRONG = """
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def item(request):
        return JSONResponse({"id": request.path_params["id"] + 1})

    routes = [Route("/items/{id:int}", item)]
"""


ENV = {"GRAFT_LEGACY": "shop:app", "WEB_CONCURRENCY": "2", "GRAFT_ADMIN_TOKEN": "token", "LOG_FORMAT": "console"}


def test_what_was_mirrored_before_anybody_asked_counts_for_the_first_promote(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.write("shop.py", APP)
    project.write("async_routes/__init__.py", WRONG.replace(" + 1", ""))
    for file in ("gateway.py", "gunicorn.conf.py"):
        shutil.copy(PROJECT / file, project.folder)
    with serving("gunicorn", folder=project.folder, log=tmp_path / "log", env=ENV, ready="/about") as gateway:
        begun = tmp_path / "var" / "promotions.json"
        wait_until(lambda: begun.exists() and KEY in begun.read_text(), 60, "the dark rung")
        with httpx.Client(base_url=gateway.base_url, headers={"Authorization": "Bearer token"}, timeout=60) as client:
            for number in range(30):
                with httpx.Client(base_url=gateway.base_url, timeout=60) as visitor:  # another worker at times
                    assert visitor.get(f"/items/{number}").headers["x-served-by"] == "legacy"

            def compared() -> int:
                figures = client.get("/_graft/api/figures", params={"route": KEY}).json()
                return sum(figures["mirrored"].get(name, 0) for name in ("matched", "different"))

            wait_until(lambda: compared() == 30, 60, "all to be compared")
            told = client.post("/_graft/api/promotion", json={"route": KEY, "action": "step"}).json()
            assert (told["did"], told["compared"]) == ("stays", 30)
            assert "30 requests" in {gate["figure"] for gate in told["gates"]}
            assert told["seconds"] > 0


def test_after_a_fix_and_a_reload_the_gate_is_not_yet_and_counts_the_new_code_alone(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.write("shop.py", APP)
    project.write("async_routes/__init__.py", WRONG)
    for file in ("gateway.py", "gunicorn.conf.py"):
        shutil.copy(PROJECT / file, project.folder)
    with (
        serving("gunicorn", folder=project.folder, log=tmp_path / "log", env=ENV, ready="/about") as gateway,
        httpx.Client(base_url=gateway.base_url, headers={"Authorization": "Bearer token"}) as client,
    ):

        def figures() -> dict[str, Any]:
            told: dict[str, Any] = client.get("/_graft/api/figures", params={"route": KEY}).json()
            return told

        def parity() -> str:
            told = client.get("/_graft/api/promotion", params={"route": KEY}).json()
            return next((gate["verdict"] for gate in told["gates"] if gate["gate"] == "parity"), "none")

        def ask(count: int) -> None:
            for number in range(count):
                with httpx.Client(base_url=gateway.base_url) as visitor:  # another worker at times
                    assert visitor.get(f"/items/{number}").status_code == 200

        client.post("/_graft/api/promotion", json={"route": KEY, "action": "start"})
        old = figures()["build"]
        ask(40)
        wait_until(lambda: figures()["mirrored"].get("different") == 40, 20, "the old code's differences")

        project.write("async_routes/__init__.py", WRONG.replace(" + 1", ""))
        os.kill(gateway.pid, signal.SIGHUP)
        wait_until(lambda: figures()["build"] not in ("", old), 30, "the new code")
        workers = {process.pid for process in gateway.family() if process.is_running()}
        ask(40)
        wait_until(lambda: figures()["mirrored"] == {"matched": 40}, 20, f"the new code's matches ({workers})")
        assert parity() == "not yet"
        [row] = [row for row in client.get("/_graft/api/routes").json()["routes"] if row["route"] == KEY]
        assert (row["compared"], row["different"], row["parity"], row["build"]) == (40, 0, 100, figures()["build"])
        assert sum(row["served"].values()) == 80
