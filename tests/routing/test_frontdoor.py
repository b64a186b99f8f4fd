from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from graft.bridge.mount import LegacyMount
from graft.observe import requestid
from graft.routing.frontdoor import FrontDoor
from graft.types import Side


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


def test_an_app_may_not_speak_for_graft() -> None:
    async def pretends(request: Request) -> PlainTextResponse:
        return PlainTextResponse("", headers={"x-served-by": "nobody", "x-request-id": "mine"})

    response = gateway([Route("/p", pretends)]).get("/p", headers={"x-request-id": "theirs"})
    assert response.headers.get_list("x-served-by") == ["native"]
    assert response.headers.get_list("x-request-id") == ["theirs"]


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


def test_the_access_record_tells_route_side_status_and_id(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "graft.access"):
        gateway().get("/native/7?token=secret", headers={"x-request-id": "r-1"})
    [record] = [vars(record) for record in caplog.records if record.name == "graft.access"]
    told = {name: record[name] for name in ("request_id", "method", "path", "status", "side", "route")}
    assert told == {
        "request_id": "r-1",
        "method": "GET",
        "path": "/native/7",
        "status": 200,
        "side": Side.NATIVE,
        "route": "GET /native/{id:int}",
    }
    assert record["duration_ms"] > 0
    assert "secret" not in record["message"]


def test_line_breaks_in_a_path_do_not_make_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "graft.access"):
        gateway().get("/a%0d%0aforged")
    assert "\n" not in next(record.getMessage() for record in caplog.records if record.name == "graft.access")


def test_requests_are_counted_by_route_side_and_status(metric: Callable[..., float]) -> None:
    labels = {"route": "GET /native/{id:int}", "side": "native", "status": "2xx"}
    before = metric("graft_requests_total", **labels)
    client = gateway()
    client.get("/native/1")
    client.get("/native/2")
    assert metric("graft_requests_total", **labels) - before == 2


def test_a_legacy_answer_is_counted_under_the_rule_that_flask_chose(metric: Callable[..., float]) -> None:
    labels = {"route": "GET /{path:path}", "side": "legacy", "status": "2xx"}
    before = metric("graft_requests_total", **labels)
    client = gateway()
    client.get("/anything/at/all")
    client.head("/else")
    assert metric("graft_requests_total", **labels) - before == 2
