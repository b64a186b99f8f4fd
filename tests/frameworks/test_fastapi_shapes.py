"""Each shape of a FastAPI app answers through the gateway as it does in a bare server."""

from __future__ import annotations

import importlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import graft
from graft.control.offline import table_of
from graft.routing.native import discover
from graft.routing.openapi import document
from graft.settings import Settings
from graft.types import RouteKey
from tests.frameworks.shapes import HEAD, SHAPES, Shape

pytest.importorskip("fastapi", reason="pip install fastapi")

LEGACY = "from flask import Flask\napp = Flask(__name__)\n"
IDENTITY = ("x-request-id", "x-served-by", "date", "server")


@pytest.fixture(params=SHAPES, ids=lambda shape: shape.name)
def shape(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shape]:
    shape: Shape = request.param
    (tmp_path / "natives").mkdir()
    (tmp_path / "natives" / "__init__.py").touch()
    (tmp_path / "natives" / "shape.py").write_text(HEAD + shape.source)
    (tmp_path / "shop.py").write_text(LEGACY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield shape
    for name in [name for name in sys.modules if name.partition(".")[0] in ("natives", "shop")]:
        del sys.modules[name]


@pytest.mark.filterwarnings("ignore:The `root_path` parameter", "ignore:Duplicate Operation ID")
def test_it_answers_and_is_described_as_in_a_bare_app(shape: Shape) -> None:
    app = _bare()
    with TestClient(app, raise_server_exceptions=False) as client:
        bare = _answers(client, shape)
    described = app.openapi()["paths"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "natives"]:
        del sys.modules[name]  # what the module remembers starts anew
    gateway = graft.gateway(legacy="shop:app", native="natives", serve=False)
    with TestClient(gateway, raise_server_exceptions=False) as client:
        assert _answers(client, shape) == bare
    paths = document(table_of(Settings.load(legacy="shop:app", native="natives")))["paths"]
    for path, method, operation in _operations(described):
        ours = {name: value for name, value in paths[path][method].items() if name != "x-graft"}
        assert ours == operation, f"{method} {path}"


@pytest.mark.parametrize("shape", SHAPES[-6:], ids=lambda shape: shape.name, indirect=True)
def test_it_answers_as_in_a_bare_app_where_flask_has_the_same_routes_at_share_100(shape: Shape) -> None:
    with TestClient(_bare(), raise_server_exceptions=False) as client:
        bare = _answers(client, shape)
    for name in [name for name in sys.modules if name.partition(".")[0] == "natives"]:
        del sys.modules[name]
    keys = [key for native in discover("natives") for key in native.keys]
    for name in [name for name in sys.modules if name.partition(".")[0] == "natives"]:
        del sys.modules[name]
    Path("shop.py").write_text(LEGACY + "".join(_rule(number, key) for number, key in enumerate(keys)))
    Path("switches.toml").write_text("".join(f'["{key}"]\nshare = 100\nmirror = 0\n' for key in keys))
    gateway = graft.gateway(legacy="shop:app", native="natives", serve=False)
    with TestClient(gateway, raise_server_exceptions=False) as client:
        assert _answers(client, shape) == bare
        assert client.get("/no-such-path").headers["x-served-by"] == "legacy"


def _rule(number: int, key: RouteKey) -> str:
    path = re.sub(r"\{(\w+)(?::(\w+))?\}", lambda found: f"<{found[2] or 'string'}:{found[1]}>", key.path)
    method, path = ("GET", f"{path[:-1]}<path:rest>") if key.method == "ANY" else (key.method, path)
    return f"app.add_url_rule({path!r}, 'r{number}', lambda **_: 'legacy', methods=[{method!r}])\n"


def _operations(paths: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Without those whose id a bare app gives twice: the gateway's are unique."""
    found = [(path, method, each) for path, item in paths.items() for method, each in item.items()]
    ids = Counter(each["operationId"] for _, _, each in found)
    return [each for each in found if ids[each[2]["operationId"]] == 1]


def _bare() -> Any:
    from fastapi import APIRouter, FastAPI

    module = importlib.import_module("natives.shape")
    if hasattr(module, "app"):
        return module.app
    app = FastAPI()
    app.include_router(getattr(module, "router", None) or APIRouter(routes=module.routes))
    return app


def _answers(client: TestClient, shape: Shape) -> list[Any]:
    answers = []
    for method, path, more in shape.asks:
        answer = client.request(method, path, follow_redirects=False, **more)
        headers = sorted((name, value) for name, value in answer.headers.items() if name not in IDENTITY)
        answers.append((method, path, answer.status_code, headers, answer.content))
    return answers
