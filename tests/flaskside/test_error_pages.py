from __future__ import annotations

import logging
from typing import Any

import flask
import httpx2 as httpx
import pytest
from flask import Flask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope
from werkzeug.exceptions import NotFound, TooManyRequests, abort

from graft.flaskside.error_pages import ErrorPages
from graft.threads.executor import LegacyExecutor
from graft.threads.pool import Pool, PoolFull
from tests.flaskside.native import World

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PROGRAM = {"accept": "application/json"}


class OutOfStock(Exception):
    pass


RAISED: dict[str, Any] = {
    "starlette-404": lambda: HTTPException(404),
    "starlette-403": lambda: HTTPException(403, "No <entry> & so on", {"X-Why": "because"}),
    "starlette-401": lambda: HTTPException(401, headers={"WWW-Authenticate": "Basic"}),
    "starlette-499": lambda: HTTPException(499, "odd"),
    "starlette-303": lambda: HTTPException(303, headers={"Location": "/there"}),
    "starlette-304": lambda: HTTPException(304, headers={"ETag": '"1"'}),
    "werkzeug-404": lambda: NotFound("No such page"),
    "werkzeug-429": lambda: TooManyRequests(retry_after=7),  # type: ignore[arg-type]
    "own": lambda: OutOfStock("pear"),
    "crash": lambda: LookupError("planted detail"),
}


def make_world(app: Flask, hooked: bool = True) -> World:
    world = World(app)

    @world.native("/raise/{kind}", hooked=hooked)
    async def native(request: Request) -> Response:
        request.session["raised"] = request.path_params["kind"]
        if request.path_params["kind"] == "abort":
            abort(flask.Response("aborted", 409))
        raise RAISED[request.path_params["kind"]]()

    return world


def make_app(handlers: bool = True, hooks: bool = False, **config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="key", **config)
    if hooks:
        app.after_request(lambda response: response.headers.add("X-After", "once") or response)

    @app.get("/raise/<kind>")
    def legacy(kind: str) -> str:
        flask.session["raised"] = kind
        raise RAISED[kind]()

    if handlers:
        app.register_error_handler(404, lambda error: (f"our 404: {error.description} for {flask.request.path}", 404))
        app.register_error_handler(OutOfStock, lambda error: (f"no {error} left", 410))
        app.register_error_handler(500, lambda error: ("our 500", 500))
    return app


async def get(app: Flask, kind: str, accept: dict[str, str] = BROWSER, hooked: bool = True) -> httpx.Response:
    async with make_world(app, hooked).client() as client:
        return await client.get(f"/raise/{kind}", headers=accept)


@pytest.mark.parametrize("hooks", [True, False], ids=["hooked", "plain"])
@pytest.mark.parametrize("kind", ["starlette-404", "werkzeug-404", "werkzeug-429", "own", "crash"])
@pytest.mark.parametrize("handlers", [True, False], ids=["own pages", "Flask's pages"])
async def test_the_page_is_the_one_that_flask_gives(kind: str, hooks: bool, handlers: bool) -> None:
    app = make_app(handlers, hooks)
    expected = app.test_client().get(f"/raise/{kind}", headers=BROWSER) if not kind.startswith("starlette") else None
    found = await get(app, kind)
    if expected is None:
        assert found.status_code == 404
        assert "404" in found.text
    else:
        assert (found.status_code, found.text) == (expected.status_code, expected.text)
        assert found.headers.get("retry-after") == expected.headers.get("Retry-After")
    assert found.headers.get("x-after") == ("once" if hooks else None)
    assert "set-cookie" in found.headers, "Flask saves the session with an error page too"


async def test_starlettes_words_and_headers_reach_the_page_escaped() -> None:
    response = await get(make_app(), "starlette-403")
    assert response.status_code == 403
    assert "No &lt;entry&gt; &amp; so on" in response.text
    assert response.headers["x-why"] == "because"
    assert (await get(make_app(), "starlette-401")).headers["www-authenticate"] == "Basic"
    assert (await get(make_app(), "starlette-499")).status_code == 499


@pytest.mark.parametrize("hooks", [True, False])
async def test_an_exception_that_is_no_error_has_no_page(hooks: bool) -> None:
    response = await get(make_app(hooks=hooks), "starlette-303")
    assert (response.status_code, response.headers["location"], response.text) == (303, "/there", "")
    response = await get(make_app(hooks=hooks), "starlette-304")
    assert (response.status_code, response.headers["etag"], response.text) == (304, '"1"', "")
    response = await get(make_app(hooks=hooks), "abort")
    assert (response.status_code, response.text) == (409, "aborted")


@pytest.mark.parametrize(
    ("kind", "status", "code", "message"),
    [
        ("starlette-403", 403, "forbidden", "No <entry> & so on"),
        ("werkzeug-404", 404, "not_found", "No such page"),
        ("crash", 500, "internal_server_error", "Internal Server Error"),
        ("starlette-499", 499, "error", "odd"),
    ],
)
async def test_a_client_that_asks_for_json_gets_the_error_shape(
    kind: str, status: int, code: str, message: str
) -> None:
    response = await get(make_app(), kind, PROGRAM)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    error = response.json()["error"]
    assert (error["code"], error["message"]) == (code, message)
    assert error["request_id"] == response.headers["x-request-id"]


async def test_json_from_the_apps_own_handler_is_left_as_it_is() -> None:
    app = make_app(handlers=False)
    app.register_error_handler(404, lambda error: ({"mine": True}, 404))
    assert (await get(app, "werkzeug-404", BROWSER)).json() == {"mine": True}
    assert (await get(app, "werkzeug-404", PROGRAM)).json() == {"mine": True}


async def test_no_traceback_reaches_a_user_and_flask_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    response = await get(make_app(handlers=False), "crash")
    assert "planted" not in response.text
    assert "Traceback" not in response.text
    assert "planted detail" in caplog.text


async def test_debug_mode_shows_the_traceback() -> None:
    app = make_app(handlers=False)
    app.debug = True
    assert "planted detail" in (await get(app, "crash")).text


@pytest.mark.parametrize("config", [{"TESTING": True}, {"PROPAGATE_EXCEPTIONS": True}])
async def test_an_app_that_lets_exceptions_through_still_answers_a_plain_500(config: dict[str, Any]) -> None:
    response = await get(make_app(**config), "crash")
    assert response.status_code == 500
    assert "planted" not in response.text


async def test_an_error_handler_that_fails_itself_gives_a_plain_page() -> None:
    app = make_app(handlers=False)
    app.register_error_handler(500, lambda error: 1 / 0)
    response = await get(app, "crash")
    assert (response.status_code, "ZeroDivision" in response.text) == (500, False)


async def test_a_handler_for_every_exception_is_used_for_crashes() -> None:
    app = make_app(handlers=False)
    app.register_error_handler(Exception, lambda error: (f"caught {type(error).__name__}", 500))
    assert (await get(app, "crash")).text == "caught LookupError"


async def test_a_full_pool_is_a_503_that_needs_no_thread() -> None:
    world = make_world(make_app())

    @world.native("/full")
    async def full(request: Request) -> Response:
        raise PoolFull("full")

    async with world.client() as client:
        response = await client.get("/full", headers=PROGRAM)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json()["error"]["code"] == "service_unavailable"


def request_for(accept: str) -> Request:
    scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"accept", accept.encode())]}
    return Request(scope)


async def test_beside_an_app_that_is_no_flask_app_the_pages_are_plain() -> None:
    pages = ErrorPages(None, LegacyExecutor(Pool()))
    page = await pages.answer(request_for("text/html"), HTTPException(404))
    assert (page.status_code, b"<h1>Not Found</h1>" in bytes(page.body)) == (404, True)
    page = await pages.crash(request_for("application/json"), LookupError("planted"))
    assert (page.status_code, b"planted" in bytes(page.body)) == (500, False)
    page = await pages.answer(request_for("text/html"), HTTPException(303, headers={"Location": "/"}))
    assert (page.status_code, page.headers["location"]) == (303, "/")
    assert Exception in pages.handlers()


async def test_an_unknown_path_gets_flasks_own_404_from_the_mount() -> None:
    async with make_world(make_app()).client() as client:
        assert (await client.get("/nowhere")).text.endswith("for /nowhere")
