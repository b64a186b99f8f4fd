from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import flask
import pytest
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from graft.errors import LegacyAppError
from graft.flaskside.loading import flask_apps, load


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """Writes a module with this source and gives its name; each name is used once, as imports are kept."""

    def write(source: str) -> str:
        name = f"loaded_{abs(hash((request.node.nodeid, source)))}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return write


WSGI = "def {name}(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hi']\n"


def answer(app: Any) -> bytes:
    return b"".join(app({"REQUEST_METHOD": "GET"}, lambda *_: None))


@pytest.mark.parametrize(
    ("source", "attribute"),
    [
        (WSGI.format(name="app"), "app"),
        (WSGI.format(name="inner") + "def create_app():\n    return inner\n", "create_app"),
        (WSGI.format(name="inner") + "def create_app(config=None, debug=False):\n    return inner\n", "create_app"),
        (WSGI.format(name="inner") + "def make(*, config=None):\n    return inner\n", "make"),
        (WSGI.format(name="inner") + "def make(config):\n    return inner if config == 'x' else None\n", "make('x')"),
        (WSGI.format(name="inner") + "def make(config):\n    return inner\n", "make(config={'a': 1})"),
        (WSGI.format(name="inner") + "class Holder:\n    app = staticmethod(inner)\n", "Holder.app"),
        (WSGI.format(name="inner") + "def app(*args):\n    return inner(*args)\n", "app"),
        (
            "class App:\n    def __call__(self, environ, start_response):\n        return [b'hi']\n",
            "App",
        ),
        (
            "class App:\n    def __call__(self, environ, start_response):\n        return [b'hi']\napp = App()\n",
            "app",
        ),
        (
            "class App:\n    def __init__(self, environ, start_response):\n        pass\n"
            "    def __iter__(self):\n        yield b'hi'\n",
            "App",
        ),
    ],
)
def test_apps_and_factories_of_every_kind_are_taken(module: Any, source: str, attribute: str) -> None:
    assert answer(load(f"{module(source)}:{attribute}")) == b"hi"


@pytest.mark.parametrize(
    ("source", "attribute", "said"),
    [
        ("", "app", "has no 'app'"),
        ("def create_app():\n    pass\n", "application", "It has create_app"),
        ("app = 3\n", "app", "a int ('3'), which is not callable"),
        ("def create_app():\n    return None\n", "create_app", "leads to None"),
        ("async def app(scope, receive, send):\n    pass\n", "app", "an ASGI app"),
        (
            "def create_app():\n    raise RuntimeError('no\\ndatabase')\n",
            "create_app",
            "raised RuntimeError: no database",
        ),
        ("def create_app(config):\n    pass\n", "create_app", "arguments need defaults"),
        ("import sys\nsys.exit('config missing')\n", "app", "raised SystemExit: config missing"),
        ("import not_there_at_all\n", "app", "raised ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("1 / 0\n", "app", "raised ZeroDivisionError"),
        ("syntax error here\n", "app", "raised SyntaxError"),
        ("app = 1\n", "app(", "neither a name nor a call"),
        ("app = 1\n", "app(some_name)", "neither a name nor a call"),
    ],
)
def test_what_is_no_app_is_told_in_one_line(module: Any, source: str, attribute: str, said: str) -> None:
    target = f"{module(source)}:{attribute}"
    with pytest.raises(LegacyAppError) as error:
        load(target)
    assert str(error.value).startswith(f"GRAFT_LEGACY={target}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("", "not of the form module:attribute"),
        ("shop", "not of the form module:attribute"),
        ("shop:", "not of the form module:attribute"),
        ("no_such_module_at_all:app", "there is no module 'no_such_module_at_all'"),
        ("shop/web.py:app", "Write shop.web:app."),
    ],
)
def test_a_wrong_target_is_told_with_its_mend(target: str, said: str) -> None:
    with pytest.raises(LegacyAppError) as error:
        load(target)
    assert said in str(error.value)


def closure(app: Any) -> Any:
    def middleware(environ: Any, start_response: Any) -> Any:
        return app(environ, start_response) if environ else later

    if app is None:
        later = app  # never: the cell stays empty
    return middleware


class Holder:
    def __init__(self, app: Any) -> None:
        self.wrapped = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.wrapped(environ, start_response)


def passing_on(app: Any, environ: Any, start_response: Any, *, other: Any = None) -> Any:
    return (app or other)(environ, start_response)


WRAPPERS: dict[str, Callable[[Flask], Any]] = {
    "plain": lambda app: app,
    "proxy fix": ProxyFix,
    "dispatcher": lambda app: DispatcherMiddleware(Flask("outer"), {"/in": ProxyFix(app)}),
    "closure": closure,
    "partial": functools.partial,
    "partial of a middleware": lambda app: functools.partial(passing_on, app),
    "partial with a keyword": lambda app: functools.partial(passing_on, None, other=app),
    "bound method": lambda app: app.wsgi_app,
    "holder of a closure": lambda app: Holder(closure(app)),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_flask_app_is_found_inside_what_wraps_it(name: str) -> None:
    app = Flask("shop")
    assert app in flask_apps(WRAPPERS[name](app))


def test_a_flask_app_that_wraps_its_own_wsgi_app_is_found_once() -> None:
    app = Flask("shop")
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    assert list(flask_apps(app)) == [app]
    assert list(flask_apps(object())) == []


def test_the_outermost_flask_app_comes_first() -> None:
    shop, admin, inner = Flask("shop"), Flask("admin"), Flask("inner")
    shop.wsgi_app = ProxyFix(closure(inner))  # type: ignore[method-assign]
    wrapped = functools.partial(closure(ProxyFix(DispatcherMiddleware(shop, {"/admin": admin}))))
    assert list(flask_apps(wrapped)) == [shop, admin, inner]


def test_a_proxy_is_not_taken_for_the_app_that_it_stands_for() -> None:
    app = Flask("shop")

    def wsgi(environ: Any, start_response: Any) -> Any:
        return proxy.wsgi_app(environ, start_response)

    proxy = flask.current_app
    assert list(flask_apps(wsgi)) == []
    with app.app_context():
        assert list(flask_apps(wsgi)) == []


def test_an_app_context_that_is_pushed_at_import_is_not_that_of_the_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pushing_shop.py").write_text(
        "from flask import Flask\napp = Flask(__name__)\napp.app_context().push()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    load("pushing_shop:app")
    assert not flask.has_app_context()


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("gevent.monkey", "def is_module_patched(name): return name in ('socket', 'threading')"),
        ("eventlet.patcher", "def is_monkey_patched(name): return name in ('socket', 'thread')"),
    ],
)
def test_an_app_that_has_patched_the_library_for_another_loop_is_refused_in_a_sentence(
    package: str, source: str, module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    patched = ModuleType(package)
    exec(source, vars(patched))
    name = module("from flask import Flask\napp = Flask(__name__)")
    monkeypatch.setitem(sys.modules, package, patched)
    with pytest.raises(LegacyAppError, match=r"has socket, thread\w* patched by \S+\(\)\. Graft runs it in threads"):
        load(f"{name}:app")


def test_gevent_that_only_was_imported_is_fine(module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    unused = ModuleType("gevent.monkey")
    unused.is_module_patched = lambda name: False  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gevent.monkey", unused)
    assert load(module("from flask import Flask\napp = Flask(__name__)") + ":app")
