"""A small project in a folder of its own, for the commands that read one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner, Result

from graft.cli import main

APP = """
    from flask import Flask

    print("noise of an import")
    app = Flask(__name__)
    app.secret_key = "3f1c9b7a5e2d"

    @app.get("/items/<int:id>")
    def item(id):
        return {"id": id}

    @app.route("/about", methods=["GET", "POST"])
    def about():
        return "about"
"""
ROUTES = """
    from starlette.responses import JSONResponse
    from starlette.routing import Mount, Route, WebSocketRoute

    async def item(request):
        return JSONResponse({"id": request.path_params["id"]})

    async def talk(websocket):
        await websocket.close()

    routes = [Route("/items/{id:int}", item), Route("/new", item), WebSocketRoute("/ws", talk)]
"""


class Project:
    """``run("routes", "--json")`` is ``graft routes --json`` in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"))
        return path

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env={"COLUMNS": "120"})


def project_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project whose modules are forgotten afterwards; nothing of the machine's environment reaches it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "async_routes"]:
        monkeypatch.delitem(sys.modules, name)  # those of the example, which other tests have imported
    before = set(sys.modules)
    for name in [name for name in os.environ if name.startswith(("GRAFT_", "ELASTICSEARCH_", "FLASK_"))]:
        monkeypatch.delenv(name)
    for name in ("HOST", "PORT", "FORWARDED_ALLOW_IPS", "WEB_CONCURRENCY", "PROMETHEUS_MULTIPROC_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    project = Project(folder)
    yield project
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(folder)):
            del sys.modules[name]
