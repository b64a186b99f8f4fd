"""The Flask blueprint of the docs and the Quart one that it becomes: one code but for async, and the same answers."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.frameworks.test_written_down import ROOT, blocks
from tests.parts.site import OpenGateway

pytest.importorskip("quart", reason="pip install quart")

LEGACY = """
from flask import Flask, flash, g, session
from notes_of_flask import notes as blueprint
app = Flask(__name__)
app.secret_key = "k"
app.jinja_env.filters["shout"] = str.upper
kept = ["first"]

@app.before_request
def load(): g.user, g.notes = session.get("user", "nobody"), kept

@app.after_request
def say_who(response): response.headers["x-user"] = g.user; return response

@app.errorhandler(404)
def missing(error): return f"the app's own page for {g.user}", 404

@app.context_processor
def shop(): return {"shop": f"the shop of {g.user}"}

@app.post("/login")
def login(): session["user"] = "ada"; flash("Welcome."); return "in"

app.register_blueprint(blueprint)
"""
TEMPLATE = """
{% extends "base.html" %}{% block main %}{{ shop }} {{ last }} {{ g.user|shout }} {{ request.path }} {{ session.user }}
{% for note in notes %}<a href="{{ url_for('notes.show', number=loop.index0) }}">{{ note }}</a>{% endfor %}
{{ url_for('login') }}{% for message in get_flashed_messages() %}[{{ message }}]{% endfor %}{% endblock %}
"""
BASE = "<title>{{ config.SERVER_NAME }}</title>{% block main %}{% endblock %}"
RULES = ("GET /notes/", "GET /notes/{number:int}", "POST /notes/new")
Answers = list[tuple[Any, ...]]


def of_the_docs() -> tuple[str, str]:
    """The blueprint in Flask, and in Quart."""
    text = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
    flask, quart = blocks(text.partition("## Quart")[2])[:2]
    return flask, quart


def shares(percent: int) -> str:
    return "\n".join(f'["{rule}"]\nshare = {percent}\nmirror = 0' for rule in RULES)


def story(client: TestClient) -> Answers:
    """One user's way through the notes: what each step answered, with all that an app may set."""
    steps: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/notes/", {}),
        ("POST", "/login", {}),
        ("GET", "/notes/", {}),
        ("GET", "/notes/", {}),
        ("POST", "/notes/new", {"data": {"title": "se\u00f1or & <b>"}}),
        ("GET", "/notes/", {}),
        ("GET", "/notes/1", {}),
        ("GET", "/notes/99", {}),
        ("GET", "/notes/x", {}),
        ("POST", "/notes/new", {}),
    ]
    told: Answers = []
    for method, path, options in steps:
        answer = client.request(method, path, **options)
        headers = {name: answer.headers.get(name) for name in ("content-type", "location", "x-user", "vary")}
        told.append((method, path, answer.status_code, headers, "set-cookie" in answer.headers, answer.text))
    return told


@pytest.fixture
def open_shop(open_gateway: OpenGateway, tmp_path: Path) -> Any:
    flask, quart = of_the_docs()
    (tmp_path / "notes_of_flask.py").write_text(flask)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "notes.html").write_text(TEMPLATE)
    (tmp_path / "templates" / "base.html").write_text(BASE)
    return lambda percent: open_gateway(LEGACY, shares(percent), notes=quart)


def test_only_the_import_and_async_and_await_differ() -> None:
    flask, quart = of_the_docs()
    assert (
        re.sub(r"\b(async|await) ", "", quart.split("\n", 1)[1]).replace("from quart", "from flask")
        == flask.split("\n", 1)[1]
    )


def test_it_answers_as_flask_does_step_by_step(open_shop: Any) -> None:
    with open_shop(0) as client:
        legacy = story(client)
        assert client.get("/notes/0").headers["x-served-by"] == "legacy"
    forget("shop", "natives", "notes_of_flask")
    with open_shop(100) as client:
        native = story(client)
        assert client.get("/notes/0").headers["x-served-by"] == "native"
    assert native == legacy
    assert [step[2] for step in native] == [200, 200, 200, 200, 302, 200, 200, 404, 404, 400]
    assert "[Welcome.]" in native[2][5]
    assert "[Saved.]" in native[5][5]


def test_a_user_who_is_moved_in_the_middle_keeps_his_session_and_messages(open_shop: Any) -> None:
    with open_shop(0) as client:
        client.post("/login")
        client.post("/notes/new", data={"title": "by flask"})
        cookies = client.cookies
    with open_shop(100) as client:
        client.cookies = cookies
        page = client.get("/notes/")
        assert page.headers["x-served-by"] == "native"
        for part in ("the shop of ada by flask ADA", "[Welcome.][Saved.]"):
            assert part in page.text
        client.post("/notes/new", data={"title": "by quart"})
        cookies = client.cookies
    with open_shop(0) as client:
        client.cookies = cookies
        assert "ada by quart ADA" in client.get("/notes/").text


def forget(*names: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]
