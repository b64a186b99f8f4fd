"""What the README and the docs show of native routes in frameworks is code that runs as they say."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import graft
from tests.parts.site import OpenGateway

ROOT = Path(__file__).parents[2]
LEGACY = (
    "from flask import Flask\napp = Flask(__name__)\n@app.get('/api/stock/<int:id>')\ndef stock(id): return 'legacy'\n"
)
LOGIN = """
from flask import session
app.secret_key = "k"
@app.post("/login")
def login(): session["user_id"] = 7; return "in"
"""
FILL = """
from starlette.responses import Response
from starlette.routing import Route
async def fill(request):
    await request.state.elasticsearch.index(index="stock", id="3", document={"left": 7}, refresh=True)
    return Response()
routes = [Route("/fill", fill, methods=["POST"])]
"""


def blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def of_the_readme() -> dict[str, str]:
    """The two ways to write one route, by framework."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Write a native route")[2].partition("\n## ")[0]
    return {block.partition("in ")[2].partition("\n")[0]: block for block in blocks(section)}


@pytest.mark.parametrize("framework", ["Starlette", "FastAPI"])
def test_the_route_of_the_readme_starts_dark_and_answers_from_elasticsearch(
    open_gateway: OpenGateway, framework: str
) -> None:
    if framework == "FastAPI":
        pytest.importorskip("fastapi", reason="pip install fastapi")
    source = of_the_readme()[framework]
    assert len([line for line in source.splitlines()[1:] if line]) <= 10
    with open_gateway(LEGACY, stock=source, fill=FILL) as client:
        assert client.get("/api/stock/3").text == "legacy"
    with open_gateway(LEGACY, '["GET /api/stock/{id:int}"]\nshare = 100\n') as client:
        client.post("/fill")
        answer = client.get("/api/stock/3")
        assert (answer.json(), answer.headers["x-served-by"]) == ({"left": 7}, "native")


def test_the_operation_of_the_docs_asks_who_is_there_and_answers_from_elasticsearch(open_gateway: OpenGateway) -> None:
    pytest.importorskip("fastapi", reason="pip install fastapi")
    text = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
    source = blocks(text.partition("## FastAPI")[2])[0]
    fill = FILL.replace('"stock"', '"articles"')
    legacy = LEGACY + LOGIN
    with open_gateway(legacy, articles=source, fill=fill) as client:
        client.post("/fill")
        assert client.get("/api/articles/3").status_code == 401
        client.post("/login")
        assert client.get("/api/articles/3").json() == {"left": 7}
        assert client.get("/api/articles/x").status_code == 422


def test_no_framework_comes_with_graft_unless_it_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[^\w-]", line)[0].lower() for line in project["dependencies"]}
    assert {"starlette", "flask"} <= needed
    assert needed.isdisjoint({"fastapi", "quart", "schemathesis", "pytest"})
    assert {"fastapi", "quart", "testing"} <= project["optional-dependencies"].keys()


def test_no_framework_comes_by_what_graft_needs_either() -> None:
    found, ahead = set[str](), [graft.DISTRIBUTION]
    while ahead:
        if (name := canonicalize_name(ahead.pop())) in found:
            continue
        found.add(name)
        with suppress(PackageNotFoundError):  # one that is for another system
            needed = [Requirement(line) for line in requires(name) or ()]
            ahead += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert {"starlette", "anyio", "werkzeug"} <= found
    assert found.isdisjoint({"fastapi", "quart", "litestar", "django", "schemathesis", "pytest"})
