from __future__ import annotations

import base64
import json
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from starlette.testclient import TestClient

import graft
from graft.recordings import read_recordings
from graft.recordings.order import FILE, Order, read_order
from tests.cli.project import Project

APP = """
    from flask import Blueprint, Flask

    app = Flask(__name__, static_folder=".")
    app.secret_key = "k"

    @app.get("/")
    def index(): return "home"
    @app.get("/items/<int:id>")
    def item(id): return {"id": id}
    @app.post("/items")
    def add(): return "", 204
    api = Blueprint("api", __name__, url_prefix="/api")
    @api.get("/<slug>")
    def page(slug): return {"slug": slug}
    app.register_blueprint(api)
"""


def entry(url: str, method: str = "GET", status: int = 200, **more: Any) -> dict[str, Any]:
    request = {"method": method, "url": url, "headers": [{"name": "Accept", "value": "*/*"}], **more.pop("request", {})}
    content = more.pop("content", {"mimeType": "text/html", "text": "home"})
    response = {"status": status, "headers": [{"name": "Content-Type", "value": "text/html"}], "content": content}
    return {"startedDateTime": "2026-11-28T08:00:00Z", "time": 12, "request": request, "response": response, **more}


BROWSER = [
    entry("https://shop.test/"),
    entry("https://shop.test/items/3?page=2", content={"text": base64.b64encode(b"x").decode(), "encoding": "base64"}),
    entry("https://shop.test/items/3?page=2"),
    entry("https://shop.test/items/nine", status=404),
    entry("https://shop.test/static/site.css"),
    entry("https://cdn.test/", status=200),
    entry("https://shop.test/api/red", status=0),
    entry(
        "https://shop.test/items",
        "POST",
        204,
        request={
            "postData": {"mimeType": "application/x-www-form-urlencoded", "params": [{"name": "a", "value": "b c"}]},
            "cookies": [{"name": "session", "value": "eyJ1Ijo1fQ.aQ3f7A.8pJ5W2o3q0mQ0Jt0mYv5rJxk1bE"}],
        },
    ),
    {"request": {}},
]


@pytest.fixture
def shop(empty: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    empty.write("shop.py", APP)
    empty.write("async_routes/__init__.py", "")
    monkeypatch.setenv("GRAFT_LEGACY", "shop:app")
    empty.write("access.har", json.dumps({"log": {"entries": BROWSER}}))
    return empty


def test_of_a_browsers_file_what_is_for_the_app_is_kept_without_secrets(shop: Project) -> None:
    result = shop.run("record", "--import", "access.har", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    [path] = map(Path, told["files"])
    assert path.parent == shop.folder / "var" / "recordings"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = {(each.method, each.target): each for each in read_recordings(path)}
    assert found.keys() == {("GET", "/"), ("GET", "/items/3?page=2"), ("POST", "/items")}
    assert found["GET", "/items/3?page=2"].answer == "x"
    assert found["GET", "/items/3?page=2"].route == "GET /items/{id:int}"
    posted = found["POST", "/items"]
    assert posted.body == "a=b+c"
    assert posted.struck_headers == ("cookie session",)


def test_one_route_alone_may_be_taken(shop: Project) -> None:
    result = shop.run("record", "GET /items/{id:int}", "--import", "access.har", "--out", "kept")
    assert result.exit_code == 0, result.output
    assert {each.route for each in read_recordings(Path("kept"))} == {"GET /items/{id:int}"}


def test_another_host_is_taken_where_it_is_named(shop: Project) -> None:
    result = shop.run("record", "--import", "access.har", "--host", "cdn.test", "--out", "kept")
    assert result.exit_code == 0, result.output
    assert [each.host for each in read_recordings(Path("kept"))] == ["cdn.test"]


def test_nothing_for_the_app_is_an_error_that_names_the_way_out(shop: Project) -> None:
    shop.write("access.har", json.dumps({"log": {"entries": [entry("https://shop.test/nothing")]}}))
    result = shop.run("record", "--import", "access.har")
    assert result.exit_code == 2
    assert "--host names it" in result.output
    assert not (shop.folder / "var" / "recordings").exists()


def test_a_route_that_is_not_there_is_an_error(shop: Project) -> None:
    result = shop.run("record", "GET /itms/{id:int}", "--import", "access.har")
    assert result.exit_code == 2
    assert 'Did you mean "GET /items/{id:int}"?' in result.output


def test_nothing_is_recorded_where_no_values_may_be_kept(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_DIFFERENCES", "shape")
    result = shop.run("record", "--import", "access.har")
    assert result.exit_code == 2
    assert "GRAFT_DIFFERENCES=shape" in result.output


# The running gateway


class Running:
    """A gateway in this process, and ``graft record`` in a thread beside it."""

    def __init__(self, shop: Project, http: TestClient) -> None:
        self.shop = shop
        self.http = http

    def record(self, *arguments: str, paths: tuple[str, ...], until: int) -> Result:
        """Ask for ``paths`` again and again, with one more number each, until so many exchanges are kept."""
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(self.shop.run, "record", "--json", "--for", "10m", "--sample", "100%", *arguments)
            number = 0
            deadline = time.monotonic() + 60
            while not running.done() and self._kept() < until:
                assert time.monotonic() < deadline
                number += 1
                for path in paths:
                    self.http.get(f"{path}?n={number}")
            order = read_order(Path("var"))
            if order is not None:
                order.remove(Path("var"))
            return running.result(60)

    @staticmethod
    def _kept() -> int:
        files = list(Path("var/recordings").glob("*.har"))
        return len(read_recordings(*files)) if files else 0


@pytest.fixture
def running(shop: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv("GRAFT_ADMIN_TOKEN", "token")
    Path("var").mkdir()
    with TestClient(graft.gateway(serve=False)) as http:
        yield Running(shop, http)


def test_the_running_gateway_keeps_one_route(running: Running) -> None:
    result = running.record("GET /items/{id:int}", "--out", "kept", paths=("/items/3", "/api/red"), until=3)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["routes"].keys() == {"GET /items/{id:int}"}
    assert told["exchanges"] >= 3
    assert [Path(path).parent for path in told["files"]] == [Path("kept")]
    assert not list(Path("var/recordings").iterdir())
    assert not (Path("var") / FILE).exists()


def test_nothing_that_came_by_is_said(running: Running) -> None:
    order = Order("a", (), 100, 0, 1)
    assert order.write(Path("var"))  # one that is over
    result = running.shop.run("record", "--for", "1s")
    assert result.exit_code == 2
    assert "Nothing was recorded" in result.output


def test_one_at_a_time_and_another_one_can_be_ended(running: Running) -> None:
    order = Order("a", (), 100, time.time() + 600, 1)
    assert order.write(Path("var"))
    result = running.shop.run("record")
    assert result.exit_code == 2
    assert "graft record --stop" in result.output
    assert running.shop.run("record", "--stop").stdout == "the recording ends\n"
    assert running.shop.run("record", "--stop").stdout == "nobody records\n"


def test_without_a_gateway_there_is_nothing_to_record(shop: Project) -> None:
    result = shop.run("record")
    assert result.exit_code == 2
    assert "No gateway is running whose answers could be recorded" in result.output


@pytest.mark.parametrize("arguments", [("--for", "8d"), ("--for", "1"), ("--sample", "0"), ("--max-size", "x")])
def test_a_wrong_option_says_what_to_write(shop: Project, arguments: tuple[str, ...]) -> None:
    result = shop.run("record", *arguments)
    assert result.exit_code == 2
    assert "write " in result.output
