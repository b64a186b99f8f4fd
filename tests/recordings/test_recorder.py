from __future__ import annotations

import io
import json
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import graft
from graft import files
from graft.bridge.environ import FileWrapper
from graft.recordings import Exchange, read_recordings
from graft.recordings.copies import LARGEST, WAITING, Copies
from graft.recordings.order import FILE, Order, read_order
from tests.cli.project import Project

APP = """
    from flask import Flask, Response, jsonify, request, send_file, session
    import io

    app = Flask(__name__)
    app.secret_key = "3f1c9b7a5e2d"

    @app.get("/items/<int:id>")
    def item(id): return jsonify(id=id, q=request.args.get("q"))
    @app.get("/login")
    def login():
        session["user_id"] = 1
        return jsonify(token="Zx81kqPw02LmNoPq")
    @app.post("/notes")
    def note(): return jsonify(text=request.form["text"], password="hunter2hunter2")
    @app.get("/large")
    def large(): return "x" * 300_000
    @app.get("/stream")
    def stream(): return Response(iter(["a", "b"]))
    @app.get("/file")
    def file(): return send_file("shop.py")
"""
ROUTES = """
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def item(request): return JSONResponse({"id": request.path_params["id"], "native": True})
    routes = [Route("/items/{id:int}", item)]
"""

PATIENCE = 30.0


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


class Shop:
    def __init__(self, http: TestClient, project: Project, running: ExitStack) -> None:
        self.http = http
        self._running = running
        self.project = project
        self.data = project.folder / "var"

    @property
    def app(self) -> Any:
        """What stands in the mount."""
        gateway: Any = self.http.app
        return gateway.routes[-1].app.app

    def record(self, *routes: str, sample: float = 100.0, most_bytes: int = 10_000_000) -> Order:
        order = Order("20261128-080000-ab", routes, sample, time.time() + 600, most_bytes)
        assert order.write(self.data)
        until(lambda: isinstance(self.app, Copies))
        return order

    def kept(self, order: Order) -> list[Exchange]:
        files = list(order.recordings(self.data))
        return read_recordings(*files) if files else []

    def end(self, order: Order, kept: int = 0) -> list[Exchange]:
        """When so many are written: an answer is out a moment before its view has ended."""
        until(lambda: len(self.kept(order)) >= kept)
        order.remove(self.data)
        until(lambda: not isinstance(self.app, Copies))
        self._running.close()  # what waits is written by then
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in order.recordings(self.data))
        return self.kept(order)


@pytest.fixture
def shop(empty: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    empty.write("shop.py", APP)
    empty.write("async_routes/__init__.py", ROUTES)
    monkeypatch.setenv("GRAFT_LEGACY", "shop:app")
    monkeypatch.setenv("GRAFT_ADMIN_TOKEN", "token")
    (empty.folder / "var").mkdir()
    http = TestClient(graft.gateway(serve=False), raise_server_exceptions=False, follow_redirects=False)
    with ExitStack() as running:
        running.enter_context(http)
        yield Shop(http, empty, running)


def test_what_the_legacy_side_answers_is_kept_without_secrets(shop: Shop) -> None:
    order = shop.record()
    assert shop.http.get("/items/3?q=red", headers={"authorization": "Bearer of-a-user-123456"}).json()["q"] == "red"
    shop.http.get("/login")
    assert shop.http.post("/notes", data={"text": "milk"}).json()["text"] == "milk"
    assert shop.http.get("/stream").text == "ab"
    found = {each.route: each for each in shop.end(order, 4)}
    assert found.keys() == {"GET /items/{id:int}", "GET /login", "POST /notes", "GET /stream"}
    item = found["GET /items/{id:int}"]
    assert item.target == "/items/3?q=red"
    assert json.loads(item.answer or "") == {"id": 3, "q": "red"}
    assert item.status == 200
    assert item.host == "testserver"
    assert (found["POST /notes"].body, found["GET /stream"].answer) == ("text=milk", "ab")
    text = "".join(path.read_text() for path in order.recordings(shop.data))
    for secret in ("of-a-user-123456", "Zx81kqPw02LmNoPq", "hunter2hunter2"):
        assert secret not in text


def test_files_and_large_answers_pass_and_are_not_kept(shop: Shop) -> None:
    order = shop.record()
    assert len(shop.http.get("/large").content) == 300_000
    assert b"send_file" in shop.http.get("/file").content
    shop.http.get("/static/none.css")
    assert shop.end(order) == []


def test_what_the_native_side_answers_is_not_kept(shop: Shop) -> None:
    shop.project.write("switches.toml", '["GET /items/{id:int}"]\nshare = 100\nmirror = 0\n')
    until(lambda: "native" in shop.http.get("/items/3").json())
    order = shop.record()
    shop.http.get("/items/3")
    shop.http.get("/login")
    assert {each.route for each in shop.end(order, 1)} == {"GET /login"}


def test_one_route_alone_and_each_input_once(shop: Shop) -> None:
    order = shop.record("GET /items/{id:int}")
    for number in (3, 3, 4):
        shop.http.get(f"/items/{number}")
    shop.http.get("/login")
    assert [each.target for each in shop.end(order, 2)] == ["/items/3", "/items/4"]


def test_it_ends_by_itself_at_its_time(shop: Shop) -> None:
    order = shop.record()
    files.replace(shop.data / FILE, json.dumps(asdict(replace(order, until=time.time()))).encode())
    until(lambda: not isinstance(shop.app, Copies))


def test_it_ends_where_there_is_no_more_room(shop: Shop) -> None:
    order = shop.record(most_bytes=3000)
    number = 0
    while read_order(shop.data) is not None:
        number += 1
        assert shop.http.get(f"/items/{number}").status_code == 200
    assert order.size(shop.data) <= 3000
    assert 0 < len(shop.end(order)) < number


def test_a_disk_that_takes_nothing_ends_the_recording_and_no_request(shop: Shop) -> None:
    (shop.data / "recordings").write_text("a file where the folder should be")
    shop.record()
    until(lambda: shop.http.get("/login").status_code == 200 and not isinstance(shop.app, Copies))
    assert shop.http.get("/login").status_code == 200
    assert not isinstance(shop.app, Copies)


def test_nothing_is_recorded_where_no_values_may_be_kept(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_DIFFERENCES", "shape")
    app: Any = graft.gateway(serve=False)
    with TestClient(app) as http:
        Order("a", (), 100, time.time() + 60, 10_000).write(shop.data)
        until(lambda: isinstance(shop.app, Copies))  # the one that may
        http.get("/login")
        assert not isinstance(app.routes[-1].app.app, Copies)


# One order at a time


def test_a_second_order_has_to_wait_for_the_first_one_to_be_over(tmp_path: Path) -> None:
    first = Order("a", (), 5, time.time() + 60, 1)
    assert first.write(tmp_path)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    second = Order("b", ("GET /a",), 5, time.time() + 60, 1)
    assert not second.write(tmp_path)
    second.remove(tmp_path)
    assert read_order(tmp_path) == first
    (tmp_path / FILE).write_text(json.dumps({"id": "a", "routes": [], "sample": 5, "until": 0, "most_bytes": 1}))
    assert second.write(tmp_path)
    assert read_order(tmp_path) == second


@pytest.mark.parametrize("text", ["", "[]", '{"id": "../a", "routes": [], "sample": 5, "until": 9e9, "most_bytes": 1}'])
def test_another_file_is_no_order(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert read_order(tmp_path) is None


# Copies


def environ(body: object = None) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a",
        "QUERY_STRING": "b=1",
        "HTTP_HOST": "shop.test",
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO() if body is None else body,
    }


def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
    return lambda chunk: None


def answering(result: Any) -> Callable[..., Any]:
    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        start("200 OK", [("Content-Type", "text/plain")])
        return result

    return app


class Closing:
    def __init__(self) -> None:
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield b"a"
        yield b"b"

    def close(self) -> None:
        self.closed = True


def test_who_is_not_in_the_sample_gets_the_apps_own_answer() -> None:
    answer = Closing()
    copies = Copies(answering(answer), 0)
    assert copies(environ(), start_response) is answer
    assert list(copies.take()) == []


def test_a_list_is_passed_on_as_it_is_and_an_iterable_is_closed() -> None:
    answer = [b"ab"]
    copies = Copies(answering(answer), 100)
    assert copies(environ(), start_response) is answer
    closing = Closing()
    copies.app = answering(closing)
    result: Any = copies(environ(), start_response)
    assert list(result) == [b"a", b"b"]
    result.close()
    assert closing.closed
    first, second = [copy.said(None) for copy in copies.take()]
    assert (first.answer, second.answer, second.url) == (b"ab", b"ab", "https://shop.test/a?b=1")


@pytest.mark.parametrize("result", [FileWrapper(io.BytesIO(b"x")), [b"x" * (LARGEST + 1)]])
def test_files_and_large_answers_are_no_copies(result: Any) -> None:
    copies = Copies(answering(result), 100)
    assert copies(environ(), start_response) is result
    assert list(copies.take()) == []


def test_what_broke_off_is_no_copy() -> None:
    copies = Copies(answering(Closing()), 100)
    result: Any = copies(environ(), start_response)
    next(iter(result))
    result.close()
    assert list(copies.take()) == []


def test_an_upload_that_is_still_read_is_left_alone() -> None:
    answer = Closing()
    assert Copies(answering(answer), 100)(environ(io.BufferedReader(io.BytesIO())), start_response) is answer  # type: ignore[arg-type]


def test_what_nobody_takes_is_bounded() -> None:
    copies = Copies(answering([b"a"]), 100)
    for _ in range(WAITING + 5):
        copies(environ(), start_response)
    assert copies.dropped == 5
    assert len(list(copies.take())) == WAITING


def test_another_route_is_not_even_copied() -> None:
    answer = Closing()
    for route in ("GET /b/{id:int}", "POST /a"):
        assert Copies(answering(answer), 100, [route])(environ(), start_response) is answer
    assert Copies(answering(answer), 100, ["GET shop.test/a"])(environ(), start_response) is not answer
