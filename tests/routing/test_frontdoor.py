from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import flask
import pytest
from flask import Flask
from flask import Response as FlaskResponse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Match, Mount, Route, Router, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from graft.bridge.mount import LegacyMount
from graft.observe import requestid
from graft.routing.frontdoor import FrontDoor
from graft.types import Scope
from tests.bridge.wire import Conversation, until_true
from tests.bridge.wire import request as body_part


async def native(request: Request) -> JSONResponse:
    return JSONResponse({"side": "native", "params": request.path_params, "id": request.state.request_id})


async def fails(request: Request) -> JSONResponse:
    raise RuntimeError("a secret detail")


async def refuses(request: Request) -> JSONResponse:
    raise HTTPException(418, "short and stout", headers={"x-pot": "tea"})


async def breaks_off(request: Request) -> StreamingResponse:
    async def body() -> Any:
        yield b"begun"
        raise RuntimeError("in the middle")

    return StreamingResponse(body())


async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.state.request_id)
    await websocket.close()


ROUTES: list[BaseRoute] = [
    Route("/native", native),
    Route("/native/{id:int}", native),
    Route("/fails", fails),
    Route("/refuses", refuses),
    Route("/breaks-off", breaks_off),
    WebSocketRoute("/talk", talk),
]


def gateway(routes: list[BaseRoute] = ROUTES, **options: Any) -> TestClient:
    flask = Flask("shop")

    @flask.route("/", defaults={"path": ""}, methods=["GET", "POST", "PURGE"])
    @flask.route("/<path:path>", methods=["GET", "POST", "PURGE"])
    def everything(path: str) -> dict[str, Any]:
        return {"side": "legacy", "path": path, "id": requestid.current.get()}

    legacy = LegacyMount(flask)
    app = Starlette(
        routes=[*routes, Mount("/", app=legacy, name="legacy")],
        middleware=[Middleware(FrontDoor, legacy=legacy)],
        **options,
    )
    return TestClient(app, raise_server_exceptions=False)


def test_native_routes_answer_and_all_else_reaches_flask_with_any_method() -> None:
    client = gateway()
    assert client.get("/native").json()["side"] == "native"
    assert client.get("/native/7").json()["params"] == {"id": 7}
    for method, path in [("GET", "/"), ("GET", "/native/x"), ("POST", "/native"), ("PURGE", "/x"), ("GET", "/native/")]:
        response = client.request(method, path)
        assert response.json()["side"] == "legacy", (method, path)
        assert response.headers["x-served-by"] == "legacy"


@pytest.mark.parametrize("path", ["/native", "/legacy", "/fails", "/refuses"])
def test_every_response_says_who_served_it_and_bears_one_request_id(path: str) -> None:
    response = gateway().get(path, headers={"x-request-id": "abc-1"})
    assert response.headers.get_list("x-request-id") == ["abc-1"]
    assert response.headers.get_list("x-served-by") == ["legacy" if path == "/legacy" else "native"]


@pytest.mark.parametrize("path", ["/native", "/legacy"])
def test_both_sides_know_the_request_id(path: str) -> None:
    response = gateway().get(path)
    assert response.json()["id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "<script>", "ünï", "a,b"])
def test_an_insane_request_id_is_replaced(sent: str) -> None:
    response = gateway().get("/native", headers={"x-request-id": sent.encode("latin-1")})  # type: ignore[dict-item]
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", response.headers["x-request-id"])


def test_request_ids_differ() -> None:
    client = gateway()
    assert len({client.get("/native").headers["x-request-id"] for _ in range(20)}) == 20


def test_an_app_may_have_an_id_of_its_own_and_may_not_say_who_answered() -> None:
    async def pretends(request: Request) -> PlainTextResponse:
        return PlainTextResponse("", headers={"x-served-by": "nobody", "x-request-id": "mine"})

    response = gateway([Route("/p", pretends)]).get("/p", headers={"x-request-id": "theirs"})
    assert response.headers.get_list("x-served-by") == ["native"]
    assert response.headers.get_list("x-request-id") == ["mine"]


def test_a_crash_is_a_500_without_details_and_one_log_line_with_the_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        response = gateway().get("/fails")
    assert response.status_code == 500
    assert "secret" not in response.text
    [logged] = [record for record in caplog.records if record.name == "graft"]
    assert logged.exc_info is not None
    assert "a secret detail" in str(logged.exc_info[1])


def test_debug_shows_the_traceback() -> None:
    assert "a secret detail" in gateway(debug=True).get("/fails").text


def test_http_exceptions_keep_status_detail_and_headers() -> None:
    response = gateway().get("/refuses")
    assert (response.status_code, response.text, response.headers["x-pot"]) == (418, "short and stout", "tea")


@pytest.mark.parametrize("key", [500, Exception, RuntimeError])
def test_the_apps_own_error_handlers_are_used(key: Any) -> None:
    async def handler(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"told": str(error), "id": request.state.request_id}, 503)

    response = gateway(exception_handlers={key: handler}).get("/fails")
    assert response.status_code == 503
    assert response.json() == {"told": "a secret detail", "id": response.headers["x-request-id"]}


def test_a_failure_in_mid_stream_cuts_the_connection() -> None:
    with pytest.raises(RuntimeError, match="in the middle"):
        TestClient(gateway().app).get("/breaks-off")


def test_without_a_mount_what_no_route_matches_is_a_404() -> None:
    app = Starlette(routes=ROUTES, middleware=[Middleware(FrontDoor)])
    response = TestClient(app).get("/nowhere")
    assert (response.status_code, response.headers["x-served-by"]) == (404, "native")


def test_middleware_in_front_sees_every_request() -> None:
    app = gateway().app
    app.add_middleware(GZipMiddleware, minimum_size=1)  # type: ignore[attr-defined]
    assert TestClient(app).get("/native").headers["content-encoding"] == "gzip"


def test_middleware_behind_is_refused_as_it_would_never_be_called() -> None:
    app = Starlette(routes=ROUTES, middleware=[Middleware(FrontDoor), Middleware(GZipMiddleware)])
    with pytest.raises(RuntimeError, match="has to be the last middleware"):
        TestClient(app).get("/native")


def test_a_websocket_bears_the_request_id_and_unknown_ones_are_refused() -> None:
    client = gateway()
    with client.websocket_connect("/talk", headers={"x-request-id": "ws-1"}) as websocket:
        assert websocket.receive_text() == "ws-1"
        assert (b"x-request-id", b"ws-1") in websocket.extra_headers
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/nowhere"):
        pass


def test_urls_of_a_native_mount_are_whole_from_inside_and_from_outside() -> None:
    async def links(request: Request) -> JSONResponse:
        return JSONResponse([str(request.url_for(name)) for name in ("shop:cart", "links", "shop:links")])

    inner = [Route("/cart", native, name="cart"), Route("/links", links, name="links")]
    client = gateway([Mount("/shop", routes=inner, name="shop"), Route("/links", links, name="links")])
    expected = [f"http://testserver{path}" for path in ("/shop/cart", "/links", "/shop/links")]
    assert client.get("/shop/links").json() == expected
    assert client.get("/links").json() == expected


def test_a_version_in_a_header_chooses_the_route_behind_the_front_door_too() -> None:
    class Versioned(Route):
        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            version = dict(scope["headers"])[b"x-version"].decode()
            return super().matches(scope) if self.name == f"v{version}" else (Match.NONE, {})

    async def says_one(request: Request) -> PlainTextResponse:
        return PlainTextResponse("one")

    async def says_two(request: Request) -> PlainTextResponse:
        return PlainTextResponse("two")

    client = gateway([Versioned("/v", says_one, name="v1"), Versioned("/v", says_two, name="v2")])
    answers = [client.get("/v", headers={"x-version": version}).text for version in ("1", "2", "2", "1")]
    assert answers == ["one", "two", "two", "one"]
    assert client.get("/v", headers={"x-version": "3"}).json()["side"] == "legacy"


def test_what_a_route_raises_passes_through_the_middleware_of_its_mount_as_an_answer() -> None:
    refused = Mount("/m", routes=[Route("/refuses", refuses)], middleware=[Middleware(GZipMiddleware, minimum_size=1)])
    response = gateway([refused]).get("/m/refuses")
    assert (response.status_code, response.text) == (418, "short and stout")
    assert response.headers["content-encoding"] == "gzip"


def test_without_a_mount_a_method_that_no_route_has_is_a_405_as_in_starlette() -> None:
    app = Starlette(routes=[Route("/native", native)], middleware=[Middleware(FrontDoor)])
    response = TestClient(app).post("/native")
    assert (response.status_code, response.headers["x-served-by"]) == (405, "native")
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}


def test_the_router_of_the_app_stays_its_own_list_of_routes() -> None:
    app = Starlette(routes=[*ROUTES], middleware=[Middleware(FrontDoor)])
    with TestClient(app) as client:
        app.router.routes.insert(0, Route("/native", refuses))
        assert client.get("/native").status_code == 418
        app.router.routes = []
        assert client.get("/native").status_code == 404


def test_a_router_that_looks_up_by_itself_is_refused() -> None:
    class Own(Router):
        async def app(self, scope: Scope, receive: Any, send: Any) -> None:
            raise AssertionError

    app = Starlette(middleware=[Middleware(FrontDoor)])
    app.router = Own()
    with pytest.raises(TypeError, match="Own looks its routes up by itself"):
        TestClient(app).get("/native")


def test_line_breaks_in_a_path_reach_the_legacy_app_too() -> None:
    assert gateway().get("/a%0ab").headers["x-served-by"] == "legacy"


def test_a_response_of_flasks_is_an_answer_and_what_is_none_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def page(request: Request) -> Any:
        answer = FlaskResponse("page", 201, {"X-A": "1"})
        answer.set_cookie("a", "1")
        answer.set_cookie("b", "2")
        return answer

    def stream(request: Request) -> Any:
        return FlaskResponse(iter(["one ", "two"]), mimetype="text/plain")

    async def text(request: Request) -> Any:
        return {"a": 1}

    client = gateway([Route("/page", page, methods=["GET"]), Route("/stream", stream), Route("/text", text)])
    got = client.get("/page")
    assert (got.status_code, got.text, got.headers["x-a"]) == (201, "page", "1")
    assert got.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2; Path=/"]
    assert client.head("/page").headers["content-length"] == "4"
    assert client.get("/stream").text == "one two"
    assert client.get("/text").status_code == 500
    assert "a native route returned dict, which is no response" in caplog.text


def test_a_websocket_is_one_line_and_one_count_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    client = gateway()
    with caplog.at_level(logging.INFO, "graft.access"):
        with client.websocket_connect("/talk", headers={"x-request-id": "ws-2"}) as websocket:
            websocket.receive_text()
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/nowhere"):
            pass
    native, legacy = (record for record in caplog.records if record.name == "graft.access")
    assert "WEBSOCKET /talk 101 native" in native.getMessage()
    assert (native.route, native.request_id) == ("WEBSOCKET /talk", "ws-2")  # type: ignore[attr-defined]
    assert "WEBSOCKET /nowhere 400 legacy" in legacy.getMessage()


async def test_a_client_who_left_before_the_answer_is_a_499_and_no_error(
    metric: Callable[..., float], caplog: pytest.LogCaptureFixture
) -> None:
    async def reads(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    app = Starlette(routes=[Route("/native-499", reads, methods=["POST"])], middleware=[Middleware(FrontDoor)])
    labels = {"route": "POST /native-499", "side": "native"}
    before = [metric("graft_requests_total", **labels, status=status) for status in ("499", "5xx")]
    conversation = Conversation(body_part(b"half", more=True), method="POST", path="/native-499")
    conversation.leave()
    with caplog.at_level("INFO"):
        await conversation.ask(app)
    assert conversation.sent == []
    assert metric("graft_requests_total", **labels, status="499") == before[0] + 1
    assert metric("graft_requests_total", **labels, status="5xx") == before[1]
    assert "POST /native-499 499 native" in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_client_who_left_the_flask_app_is_a_499(metric: Callable[..., float]) -> None:
    flask_app, begun, go_on = Flask(__name__), threading.Event(), threading.Event()

    @flask_app.post("/legacy-499")
    def view() -> str:
        begun.set()
        go_on.wait(5)
        return str(len(flask.request.get_data()))

    mount = LegacyMount(flask_app, 1)
    app = Starlette(routes=[Mount("/", mount)], middleware=[Middleware(FrontDoor, legacy=mount)])
    conversation = Conversation(
        body_part(b"x" * 10, more=True), method="POST", path="/legacy-499", headers=[("content-length", "300000")]
    )
    asking = asyncio.create_task(conversation.ask(app))
    await until_true(begun.is_set)
    conversation.leave()
    await asyncio.wait_for(asking, 5)
    go_on.set()
    await mount.aclose(5)
    assert metric("graft_requests_total", route="POST /legacy-499", side="legacy", status="499") == 1
