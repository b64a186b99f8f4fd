from __future__ import annotations

import pytest

from graft.cli import discovery
from graft.cli.discovery import find_apps, flask_app
from tests.cli.project import Project

FACTORY = """
    from flask import Flask

    def create_app(config=None):
        app = Flask(__name__)
        return app
"""
WSGI = "from shop import create_app\napplication = create_app()\n"
TRY = "from flask import Flask\ntry:\n    a = application = Flask('x')\nfinally:\n    pass\n"
OBJECT = "import flask\napp = flask.Flask(__name__)\n"


def found(project: Project) -> list[str]:
    return [one.target for one in find_apps(project.folder)]


@pytest.mark.parametrize(
    ("files", "target"),
    [
        ({"app.py": OBJECT}, "app:app"),
        (
            {"wsgi.py": "from shop import create_app\napplication = create_app()\n", "shop/__init__.py": FACTORY},
            "wsgi:application",
        ),
        ({"flaskr/__init__.py": FACTORY}, "flaskr:create_app"),
        ({"shop/web/app.py": FACTORY}, "shop.web.app:create_app"),
        ({"src/shop/__init__.py": FACTORY}, "shop:create_app"),
        ({"server.py": "from flask import Flask\nif True:\n    api: Flask = Flask('x')\n"}, "server:api"),
        ({"main.py": "from apiflask import APIFlask\nwith open('x'):\n    app = APIFlask(__name__)\n"}, "main:app"),
        (
            {"main.py": "from flask import Flask\ntry:\n    a = application = Flask('x')\nfinally:\n    pass\n"},
            "main:application",
        ),
        ({"main.py": "import flask\nclass Shop(flask.Flask):\n    pass\napp = Shop('x')\n"}, "main:app"),
        ({"factory.py": "from flask import Flask\ndef build():\n    return Flask('x')\n"}, "factory:build"),
        (
            {"a.py": "from flask import Flask\ndef create_app(kind, *, db):\n    return Flask(kind)\n", "b.py": OBJECT},
            "b:app",
        ),
    ],
)
def test_the_app_is_found_by_reading(empty: Project, files: dict[str, str], target: str) -> None:
    for name, text in files.items():
        empty.write(name, text)
    assert found(empty)[0] == target


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"app.py": "from flask import Flask\nif __name__ == '__main__':\n    app = Flask('x')\n"},
        {"app.py": "def app(environ, start_response): ...\n"},
        {"app.py": "from flask import Flask\ndef _create():\n    return Flask('x')\n"},
        {"app.py": "import flask\nthis is no python\napp = flask.Flask('x')\n"},
        {"app.py": "app = Flask(" + "(" * 500 + "\n"},
        {"__init__.py": OBJECT},
        {"tests/app.py": OBJECT, "venv/app.py": OBJECT, "node_modules/app.py": OBJECT, ".hidden/app.py": OBJECT},
        {"own/pyvenv.cfg": "", "own/app.py": OBJECT, "test_app.py": OBJECT, "setup.py": OBJECT, "my-app.py": OBJECT},
        {"a/b/c/d/e/app.py": OBJECT},
    ],
)
def test_what_is_no_app_is_not_found(empty: Project, files: dict[str, str]) -> None:
    for name, text in files.items():
        empty.write(name, text)
    assert found(empty) == []


def test_nothing_is_imported(empty: Project) -> None:
    empty.write("app.py", "from flask import Flask\napp = Flask('x')\nraise SystemExit('imported')\n")
    assert found(empty) == ["app:app"]


def test_missing_arguments_are_told(empty: Project) -> None:
    empty.write("a.py", "from flask import Flask\ndef create_app(kind, size=1, *, db):\n    return Flask(kind)\n")
    (one,) = find_apps(empty.folder)
    assert (one.target, one.needs, one.place) == ("a:create_app", ("kind", "db"), "a.py:2")


@pytest.mark.parametrize(
    ("name", "said", "target"),
    [
        (".flaskenv", "shop/web.py", "shop.web:application"),
        (".flaskenv", "shop.web", "shop.web:application"),
        (".env", "shop.web:create_app('test')", "shop.web:create_app('test')"),
        (".env", "./elsewhere.py:app", "elsewhere:app"),
        (".env", "elsewhere", "elsewhere:app"),
    ],
)
def test_flask_app_comes_first(empty: Project, name: str, said: str, target: str) -> None:
    empty.write("app.py", OBJECT)
    empty.write("shop/web.py", "import flask\napplication = flask.Flask('x')\n")
    (empty.folder / name).write_text(f'FLASK_APP="{said}"\n')
    assert found(empty)[:2] == [target, "app:app"]


def test_flask_app_of_the_environment_counts_where_it_names_a_file_here(
    empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.write("shop/__init__.py", FACTORY)
    monkeypatch.setenv("FLASK_APP", "shop")
    assert flask_app(empty.folder) == "shop"
    monkeypatch.setenv("FLASK_APP", "other.py")
    assert flask_app(empty.folder) is None


def test_an_env_file_that_is_no_text_is_passed_over(empty: Project) -> None:
    empty.write("app.py", OBJECT)
    (empty.folder / ".env").write_bytes(b"FLASK_APP=\xff\xfe\n")
    assert found(empty) == ["app:app"]


def test_a_huge_project_is_read_up_to_a_bound(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_MOST_FILES", 3)
    monkeypatch.setattr(discovery, "_LARGEST", 100)
    for number in range(6):
        empty.write(f"m{number}.py", OBJECT)
    empty.write("m0.py", OBJECT + "#" * 200)
    assert found(empty) == ["m1:app", "m2:app"]
