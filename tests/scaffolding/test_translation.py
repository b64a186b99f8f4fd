"""What a view becomes: read as text here, asked in test_real_apps.py and in the last test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from graft.flaskside.rules import legacy_rules
from graft.recordings.exchange import Exchange
from graft.recordings.har import write_recordings
from graft.scaffolding.models import NoScaffoldExtra
from graft.scaffolding.translation import Translation, translate
from graft.scaffolding.view import View
from tests.cli.project import Project

HEAD = """
from datetime import date
import flask
from flask import Flask, Response, abort, current_app, flash, g, jsonify, redirect, render_template_string
from flask import render_template, request, session, url_for
app = Flask(__name__)
app.secret_key = "3f1c9b7a5e2d"

@app.before_request
def load(): g.user = session.get("user")

def rows(limit): return [{"id": n} for n in range(limit)]
def wrapped(view): return view
LIMIT = 3
"""


@pytest.fixture
def shop(empty: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    empty.write("async_routes/__init__.py", "")
    monkeypatch.setenv("GRAFT_LEGACY", "shop:app")
    return empty


def translated(project: Project, view: str, path: str = "/a") -> Translation:
    project.write("shop.py", f"{HEAD}\n@app.get({path!r})\n{view}\n")
    sys.modules.pop("shop", None)
    import shop  # type: ignore[import-not-found]

    [rule] = [rule for rule in legacy_rules(shop.app) if rule.endpoint == "view"]
    return translate(View.of(rule))


def body(found: Translation) -> list[str]:
    assert found.marks == ()
    return [line.strip() for line in found.function.splitlines()[1:] if line.strip()]


@pytest.mark.parametrize(
    ("flasks", "natives"),
    [
        ("return 'text'", ["return HTMLResponse('text')"]),
        ("return f'{request.method}', 404", ["return HTMLResponse(f'{request.method}', 404)"]),
        ("return {'a': 1}", ["return request.state.legacy.json({'a': 1})"]),
        ("return jsonify(a=LIMIT)", ["return request.state.legacy.json(a=LIMIT)"]),
        ("return flask.jsonify([1])", ["return request.state.legacy.json([1])"]),
        (
            "return jsonify(a=1), 201, {'X-A': 'b'}",
            [
                "answer = request.state.legacy.json(a=1)",
                "answer.status_code = 201",
                "answer.headers.update({'X-A': 'b'})",
                "return answer",
            ],
        ),
        (
            "return {'q': request.args.get('q', 'x')}",
            ["return request.state.legacy.json({'q': (request.query_params.getlist('q') or ['x'])[0]})"],
        ),
        (
            "return {'q': request.args.getlist('q'), 'has': 'q' in request.args}",
            [
                "return request.state.legacy.json({'q': request.query_params.getlist('q'), "
                "'has': 'q' in request.query_params})"
            ],
        ),
        (
            "n = request.args.get('n', 1, type=int)\n    return {'n': n}",
            [
                "n = await request.state.legacy.run(request, lambda: flask_request.args.get('n', 1, type=int))",
                "return request.state.legacy.json({'n': n})",
            ],
        ),
        ("return redirect(url_for('view'))", ["return redirect(request.state.legacy.url_for(request, 'view'))"]),
        (
            "return render_template('a.html', user=g.user, rows=rows(LIMIT))",
            [
                "g = request.state.legacy.g(request)",
                "return await request.state.legacy.render(request, 'a.html', user=g.user, "
                "rows=await request.state.legacy.run(request, rows, LIMIT))",
            ],
        ),
        (
            "session['seen'] = session.get('seen', 0) + 1\n    return {'n': session['seen']}",
            [
                "request.session['seen'] = request.session.get('seen', 0) + 1",
                "return request.state.legacy.json({'n': request.session['seen']})",
            ],
        ),
        (
            "if not g.user: abort(401, 'who are you')\n    return ''",
            [
                "g = request.state.legacy.g(request)",
                "if not g.user: raise HTTPException(401, 'who are you')",
                "return HTMLResponse('')",
            ],
        ),
        (
            "for row in rows(2):\n        row.update(a=1)\n    return current_app.name",
            [
                "for row in await request.state.legacy.run(request, lambda: list(rows(2))):",
                "await request.state.legacy.run(request, lambda: row.update(a=1))",
                "return await request.state.legacy.run(request, lambda: make_response(current_app.name))",
            ],
        ),
        (
            "return Response('x', mimetype='text/plain')",
            [
                "return await request.state.legacy.run(request, "
                "lambda: make_response(flask_Response('x', mimetype='text/plain')))"
            ],
        ),
        (
            "return {'day': date(2026, 1, 1).isoformat(), 'n': len('abc'.upper())}",
            ["return request.state.legacy.json({'day': date(2026, 1, 1).isoformat(), 'n': len('abc'.upper())})"],
        ),
    ],
)
def test_what_has_one_right_translation(shop: Project, flasks: str, natives: list[str]) -> None:
    assert body(translated(shop, f"def view():\n    {flasks}")) == natives


def test_names_go_along_from_where_they_are(shop: Project) -> None:
    found = translated(shop, "def view():\n    flash('x')\n    return Response(str(rows(LIMIT)))")
    assert found.imports == ("from shop import LIMIT, Response as flask_Response, flash, make_response, rows",) or (
        "from flask import make_response" in found.imports
    )


def test_parts_of_the_path_defaults_and_the_documentation_stay(shop: Project) -> None:
    found = translated(
        shop, 'def view(id, page=2):\n    """Says it."""\n    return {"id": id, "p": page}', "/a/<int:id>"
    )
    assert body(found) == [
        '"""Says it."""',
        'id = request.path_params["id"]',
        "page = 2",
        'return request.state.legacy.json({"id": id, "p": page})',
    ]


@pytest.mark.parametrize(
    ("view", "mark"),
    [
        ("@wrapped\ndef view(): return ''", "@wrapped is the view's own"),
        ("async def view(): return ''", "async, or a generator"),
        ("def view():\n    with open('a') as f: return f.read()", "with: what it enters"),
        ("def view():\n    def inner(): pass\n    return ''", "the function inner inside it"),
        (
            "def view():\n    r = jsonify()\n    r.set_cookie('a', 'b')\n    return r",
            "r.set_cookie: a response of Starlette's",
        ),
        (
            "def view():\n    r = jsonify()\n    r.mimetype = 'a/b'\n    return r",
            "other attributes than one of Flask's",
        ),
        ("def view():\n    global LIMIT\n    LIMIT = 4\n    return ''", "global is left as it was"),
        ("def view():\n    from . import a\n    return ''", "an import by dots leads elsewhere"),
    ],
)
def test_what_has_none_bears_a_mark(shop: Project, view: str, mark: str) -> None:
    found = translated(shop, view)
    assert any(mark in each for each in found.marks), found.marks


def test_without_hooks_two_steps_in_threads_have_no_context_in_common(shop: Project) -> None:
    shop.write("plain.py", "")
    found = translated(shop, "def view():\n    a = rows(1)\n    b = rows(2)\n    return {'a': a, 'b': b}")
    assert found.is_whole
    shop.write("shop.py", (shop.folder / "shop.py").read_text().replace("@app.before_request\n", ""))
    sys.modules.pop("shop")
    import shop as without  # type: ignore[import-not-found]

    [rule] = [rule for rule in legacy_rules(without.app) if rule.endpoint == "view"]
    assert "without hooks of the app" in translate(View.of(rule)).marks[0]


def test_without_libcst_it_says_what_to_install(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libcst", None)
    monkeypatch.delitem(sys.modules, "graft.scaffolding.codemod", raising=False)
    with pytest.raises(NoScaffoldExtra, match="pip install libcst"):
        translated(shop, "def view(): return ''")


def test_the_command_writes_what_is_whole_and_shows_what_is_left(shop: Project) -> None:
    shop.write(
        "shop.py",
        HEAD
        + """
@app.get("/whole/<int:n>")
def whole(n):
    if n > 9: abort(404)
    return {"n": n, "q": request.args.get("q"), "user": g.user, "rows": rows(n)}, 203, {"X-A": "b"}

@app.get("/left")
def left():
    with app.app_context(): return "left"
""",
    )
    for route in ("GET /whole/{n:int}", "GET /left"):
        result = shop.run("scaffold", route, "--translate")
        assert result.exit_code == 0, result.output
    assert "left   with: what it enters and leaves may block" in result.stdout
    text = Path("async_routes/left.py").read_text()
    assert "return await request.state.legacy.view(request)" in text
    assert "#     # left: with: what it enters and leaves may block" in text
    assert "legacy.view" not in Path("async_routes/whole.py").read_text()
    targets = ["/whole/3?q=a&q=b", "/whole/3", "/whole/12", "/left"]
    write_recordings(
        Path("kept/a.har"),
        [Exchange("GET", f"http://a.test{each}", (), None, 200, (), None, each) for each in targets],
    )
    result = shop.run("verify", "kept")
    assert result.exit_code == 0, result.output
    assert "4 same" in result.output
    result = shop.run("scaffold", "GET /left", "--translate", "--quart")
    assert result.exit_code == 2
