"""Quart apps and blueprints as native routes, beside the Flask app that they move away from."""

from __future__ import annotations

import pytest

from tests.parts.site import OpenGateway

pytest.importorskip("quart", reason="pip install quart")

LEGACY = """
from flask import Flask, Blueprint, flash, g, get_flashed_messages, session, jsonify
from jinja2 import DictLoader
app = Flask(__name__)
app.secret_key = "k"
app.config["SHOP_NAME"] = "shop"
app.jinja_loader = DictLoader({"page.html": "{{ shop }} {{ user }} {{ x|shout }} {{ url_for('login') }} "
                               "{% for m in get_flashed_messages() %}[{{ m }}]{% endfor %}"})
app.jinja_env.filters["shout"] = str.upper

@app.before_request
def load(): g.user = session.get("user", "nobody"); g.seen = []

@app.after_request
def seen(response): response.headers["x-seen"] = ",".join(g.seen); return response

@app.context_processor
def shop(): return {"shop": "context", "user": g.user}

@app.get("/login")
def login(): session["user"] = "ada"; flash("welcome"); return "in"

@app.get("/flashed")
def flashed(): return jsonify(get_flashed_messages())

notes = Blueprint("notes", __name__, url_prefix="/notes")
@notes.get("/<int:id>")
def show(id): return "legacy"
app.register_blueprint(notes)
"""

NOTES = """
from quart import Blueprint, abort, current_app, flash, g, jsonify, redirect, render_template, request, session, url_for
notes = Blueprint("notes", __name__, url_prefix="/notes")

@notes.get("/<int:id>")
async def show(id):
    return jsonify(id=id, user=session.get("user"), g=g.get("user"), config=current_app.config["SHOP_NAME"])

@notes.get("/page")
async def page():
    g.seen.append("native")
    return await render_template("page.html", x="loud")

@notes.post("/flash")
async def flash_it():
    form = await request.form
    await flash(form["text"])
    session["user"] = "bob"
    return redirect(url_for(".show", id=3))

@notes.get("/urls")
async def urls(): return [url_for("notes.show", id=1), url_for("login"), url_for("login", _external=True, a="b")]

@notes.get("/gone")
async def gone(): abort(404)
"""

SWITCHES = """
["GET /notes/{id:int}"]
share = 100
["GET /notes/page"]
hooks = true
"""


def test_a_blueprint_moves_by_its_imports_and_awaits(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY, notes=NOTES) as client:
        assert client.get("/notes/3").text == "legacy"
    with open_gateway(LEGACY, SWITCHES) as client:
        client.get("/login")
        answer = client.get("/notes/3")
        assert answer.json() == {"id": 3, "user": "ada", "g": "ada", "config": "shop"}
        assert answer.headers["x-served-by"] == "native"
        assert client.get("/notes/x").status_code == 404


def test_templates_context_processors_filters_and_flashes_are_the_flask_apps(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY, SWITCHES, notes=NOTES) as client:
        client.get("/login")
        answer = client.get("/notes/page")
        assert answer.text == "context ada LOUD /login [welcome]"
        assert answer.headers["x-seen"] == "native"
        assert client.get("/flashed").json() == []


def test_what_quart_puts_into_the_session_flask_has(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY, SWITCHES, notes=NOTES) as client:
        answer = client.post("/notes/flash", data={"text": "from quart"})
        assert (answer.status_code, answer.headers["location"]) == (302, "/notes/3")
        assert len(answer.headers.get_list("set-cookie")) == 1
        assert client.get("/notes/3").json()["user"] == "bob"
        assert client.get("/flashed").json() == ["from quart"]


def test_urls_of_both_apps(open_gateway: OpenGateway) -> None:
    with open_gateway(LEGACY, SWITCHES, notes=NOTES) as client:
        assert client.get("/notes/urls").json() == ["/notes/1", "/login", "http://testserver/login?a=b"]


def test_a_quart_app_keeps_its_own_session_websocket_and_lifespan(open_gateway: OpenGateway) -> None:
    source = """
from quart import Quart, session, websocket
app = Quart(__name__)
app.secret_key = "its own"
started = []

@app.before_serving
async def start(): started.append("started")

@app.get("/own")
async def own(): session["n"] = session.get("n", 0) + 1; return {"n": session["n"], "started": started}

@app.websocket("/ws/<name>")
async def ws(name):
    await websocket.send(f"{name} {await websocket.receive()}")

@app.errorhandler(404)
async def missing(error): return "own 404", 404

@app.get("/missing")
async def m():
    from quart import abort
    abort(404)
"""
    with open_gateway(LEGACY, own=source) as client:
        assert [client.get("/own").json()["n"] for _ in range(2)] == [1, 2]
        assert client.get("/own").json()["started"] == ["started"]
        assert (client.get("/missing").status_code, client.get("/missing").text) == (404, "own 404")
        with client.websocket_connect("/ws/ada") as socket:
            socket.send_text("hi")
            assert socket.receive_text() == "ada hi"


FAILING = """
from quart import Blueprint, abort
notes = Blueprint("notes", __name__, url_prefix="/notes")

@notes.get("/<int:id>")
async def show(id):
    if id == 1: raise RuntimeError("broken in quart")
    abort(410 if id == 2 else 404)

@notes.errorhandler(410)
async def gone(error): return "the blueprint's own", 410
"""


def test_errors_of_a_blueprint_are_its_own_handlers_then_the_flask_apps_and_what_fails_falls_back(
    open_gateway: OpenGateway,
) -> None:
    legacy = LEGACY + "\n@app.errorhandler(404)\ndef missing(error): return 'the Flask page', 404\n"
    with open_gateway(legacy, SWITCHES, notes=FAILING) as client:
        told = [client.get(f"/notes/{id}") for id in (1, 2, 3)]
    assert [(answer.status_code, answer.text) for answer in told] == [
        (200, "legacy"),
        (410, "the blueprint's own"),
        (404, "the Flask page"),
    ]
    assert [answer.headers["x-served-by"] for answer in told] == ["legacy; fallback", "native", "native"]


OWN = """
from quart import Quart, abort
app = Quart(__name__)

@app.get("/notes/<int:id>")
async def show(id): abort(id)

@app.errorhandler(410)
async def gone(error): return "the app's own", 410
"""


def test_errors_of_an_app_are_the_flask_apps_where_the_switch_says_so(open_gateway: OpenGateway) -> None:
    legacy = LEGACY + "\n@app.errorhandler(404)\ndef missing(error): return 'the Flask page', 404\n"
    with open_gateway(legacy, SWITCHES, own=OWN) as client:
        assert "<title>404 Not Found</title>" in client.get("/notes/404").text, "its own, unless told otherwise"
    with open_gateway(legacy, SWITCHES.replace("share = 100", 'share = 100\nerrors = "legacy"')) as client:
        told = [client.get(f"/notes/{id}") for id in (404, 410)]
        assert [(answer.status_code, answer.text) for answer in told] == [
            (404, "the Flask page"),
            (410, "the app's own"),
        ]
        assert {answer.headers["x-served-by"] for answer in told} == {"native"}
