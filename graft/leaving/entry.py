"""The text of ``asgi.py``, the whole shape of the written app on one screen, and of the test beside it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from textwrap import indent
from typing import Any

from flask import Flask
from starlette.routing import Route

from graft.frameworks import HostedApp
from graft.leaving.imports import SUPPORT
from graft.leaving.project import Project


class Entry:
    """``asgi.py`` of one project."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._flask = project.needs_flask
        self._modules = list(dict.fromkeys(native.module for native in project.natives))
        self._search = project.uses("elasticsearch", "Elasticsearch")

    def text(self) -> str:
        parts = [
            '"""The site: its routes, its lifespan, and what stands around them. `gunicorn asgi:app` serves it."""',
            "\n".join(self._imports()),
            *self._flask_app(),
            "\n".join(self._apps()),
            self._routes(),
            self._lifespan(),
            self._app(),
        ]
        text = "\n\n".join(part.strip("\n") for part in parts if part)
        return re.sub(r"\n+(?=@|router = |# Not behind)", "\n\n\n", text) + "\n"

    def _imports(self) -> Iterator[str]:
        """The groups of isort, each without empty lines."""
        for group in (self._of_the_library(), self._of_others(), self._own()):
            yield from sorted(filter(None, group), key=lambda line: (line.startswith("from"), line))
            yield ""

    def _of_the_library(self) -> Iterator[str]:
        yield "" if self._flask else "import os"
        yield "from collections.abc import AsyncIterator"
        yield "from contextlib import AsyncExitStack, asynccontextmanager"
        yield "from pathlib import Path" if self._project.static else ""

    def _of_others(self) -> Iterator[str]:
        yield "from fastapi import FastAPI" if any(not self._is_exported(each) for each in self._project.hosted) else ""
        yield "from starlette.applications import Starlette"
        yield "from starlette.exceptions import HTTPException"
        yield "from starlette.middleware import Middleware"
        if self._hosts():
            yield "from starlette.middleware.trustedhost import TrustedHostMiddleware"
        yield "from starlette.routing import Mount" if self._project.static else ""
        yield "from werkzeug.exceptions import HTTPException as WerkzeugException" if self._flask else ""

    def _own(self) -> Iterator[str]:
        for module in self._modules:
            yield f"import {module}"
        if self._flask:
            kept = self._project.stores_sessions
            yield f"from {SUPPORT}.flask_app import FlaskSide, Legacy{'' if kept else ', cookie_settings'}"
            yield f"from {SUPPORT}." + (
                "stored_session import StoredSessions" if kept else "flask_session import FlaskSessions"
            )
        else:
            yield f"from {SUPPORT}.errors import error_page"
            yield f"from {SUPPORT}.flask_session import CookieSettings, FlaskSessions"
        if any(self._project.told_by_flask(hosted) for hosted in self._project.hosted):
            yield f"from {SUPPORT}.fastapi_errors import raising_errors"
        yield f"from {SUPPORT}.lifespans import running" if self._project.hosted or self._project.mounts else ""
        yield f"from {SUPPORT}.request_ids import RequestIds"
        yield f"from {SUPPORT}.routing import {'RoutesOf, ' if self._project.hosted else ''}SiteRouter"
        yield f"from {SUPPORT}.static import FlaskStatic" if self._project.static else ""
        yield f"from {SUPPORT}.tasks import Runner"
        if self._search:
            yield f"from {SUPPORT}.search import open_client"

    def _flask_app(self) -> Iterator[str]:
        if not self._flask:
            return
        module, attribute = self._project.settings.legacy.split(":", 1)
        name = attribute.partition("(")[0]
        call = attribute.strip() if "(" in attribute else f"{name}()" if self._is_factory(module, name) else name
        imported = name.partition(".")[0]
        settings = "settings = cookie_settings(flask_app)\n"
        yield (
            "# A library, for what the routes still ask of it: functions, templates, hooks, error pages.\n"
            f"from {module} import {imported}  # noqa: E402\n\n"
            f"flask_app = {call}\n"
            f"{'' if self._project.stores_sessions else settings}"
            f"flask_side = FlaskSide(flask_app{', one_loop=True' if self._project.one_loop else ''})"
        )

    @staticmethod
    def _is_factory(module: str, name: str) -> bool:
        found: Any = sys.modules[module]
        for part in name.split("."):
            found = getattr(found, part)
        return not isinstance(found, Flask)

    def _apps(self) -> Iterator[str]:
        for hosted in self._project.hosted:
            name = self._name(hosted)
            if self._is_exported(hosted):
                yield f"{name} = {hosted.name}.app"
            else:
                yield f"{name} = FastAPI(openapi_url=None)"
                yield f"{name}.include_router({hosted.name}.router)"

    def _routes(self) -> str:
        entries: list[str] = []
        for module in self._modules:
            found = [native for native in self._project.natives if native.module == module]
            if any(not isinstance(getattr(native.route, "app", None), HostedApp) for native in found):
                entries.append(f"*{module}.routes,")
            for hosted in self._project.hosted:
                if hosted.name == module:
                    without = ', without=["/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"]'
                    entries.append(f"RoutesOf({self._name(hosted)}{without}{self._raised(hosted)}),")
        for row in self._project.static:
            assert row.legacy is not None
            prefix = row.legacy.rule.rule.partition("<")[0].rstrip("/")
            folder = self._project.static_folder(row).resolve()
            inside = folder.is_relative_to(self._project.folder)
            place = (
                f'str(Path(__file__).parent / "{folder.relative_to(self._project.folder)}")'
                if inside
                else f'"{folder}"'
            )
            entry = f'Mount("{prefix}", app=FlaskStatic({place}{self._max_age()}), name="{row.legacy.endpoint}"),'
            if entry not in entries:
                entries.append(entry)
        return "routes = [\n" + indent("\n".join(entries), "    ") + "\n]"

    def _raised(self, hosted: HostedApp) -> str:
        keys = self._project.told_by_flask(hosted)
        return f", raising=raising_errors({self._name(hosted)}), raised={keys}" if keys else ""

    def _max_age(self) -> str:
        age = self._project.app.config["SEND_FILE_MAX_AGE_DEFAULT"]
        seconds = age.total_seconds() if hasattr(age, "total_seconds") else age
        return f", max_age={int(seconds)}" if seconds is not None else ""

    def _lifespan(self) -> str:
        below = [self._name(hosted) for hosted in self._project.hosted]
        below += [f"{native.module}.routes[{self._index(native)}].app" for native in self._project.mounts]
        state = ['"tasks": await stack.enter_async_context(Runner.open()),']
        state += ['"legacy": Legacy(flask_side),'] if self._flask else []
        state += ['"elasticsearch": await stack.enter_async_context(open_client()),'] if self._search else []
        lines = [
            *([f"apps = [{', '.join(below)}]"] if below else []),
            "",
            "",
            "@asynccontextmanager",
            "async def lifespan(site: Starlette) -> AsyncIterator[dict[str, object]]:",
            "    async with AsyncExitStack() as stack:",
            *(_RUN if below else ()),
            "        yield {",
            *(f"            {line}" for line in state),
            "        }",
            "",
        ]
        return "\n".join(lines)

    def _index(self, native: Any) -> int:
        """Where in its module's list a mount stands: the list itself may have been made by any code."""
        return [id(route) for route in sys.modules[native.module].routes].index(id(native.route))

    def _app(self) -> str:
        around = ", around=flask_side.around" if self._project.has_hooks else ""
        listed = "".join(f'    "{key}",\n' for key in sorted(self._plain())) if around else ""
        kinds = ["HTTPException", *(["WerkzeugException", "*flask_side.handled()"] if self._flask else []), "Exception"]
        hosts = self._hosts()
        middleware = ["Middleware(RequestIds),"]
        middleware += [f"Middleware(TrustedHostMiddleware, allowed_hosts={hosts}),"] if hosts else []
        if self._project.stores_sessions:
            middleware.append("Middleware(StoredSessions, flask_side),")
        elif self._has_session:
            middleware.append("Middleware(FlaskSessions, settings),")
        lines = [
            *([f"# Not behind the Flask app's hooks.\nplain = [\n{listed}]"] if listed else []),
            *([] if self._flask else self._settings()),
            f"router = SiteRouter(routes, lifespan{around}{', plain=plain' if listed else ''})",
            "app = Starlette(",
            "    middleware=[",
            *(f"        {each}" for each in middleware),
            "    ],",
            "    exception_handlers=dict.fromkeys(",
            f"        [{', '.join(kinds)}], {'flask_side.error_page' if self._flask else 'error_page'}",
            "    ),",
            ")",
            "app.router = router",
        ]
        return "\n".join(lines)

    @property
    def _has_session(self) -> bool:
        return bool(self._project.app.secret_key)

    def _settings(self) -> list[str]:
        """Without Flask: what its configuration says, but for the key, which belongs in no file."""
        from graft.leaving.written.flask_app import cookie_settings

        if not self._has_session:
            return []
        found = cookie_settings(self._project.app)
        words = {name: getattr(found, name) for name in found.__dataclass_fields__ if name != "keys"}
        told = ", ".join(f"{name}={value!r}" for name, value in words.items())
        return [
            "# SECRET_KEY is Flask's; SECRET_KEY_FALLBACKS has older ones that still count, with commas between.",
            'old = [key for key in os.environ.get("SECRET_KEY_FALLBACKS", "").split(",") if key]',
            f'settings = CookieSettings((*old, os.environ["SECRET_KEY"]), {told})',
        ]

    def _plain(self) -> Iterator[str]:
        for row in self._project.table:
            if row.native is not None:
                hooks = self._project.switch(row.key).hooks
                if hooks is False or (not row.switched and hooks is not True):
                    yield str(row.key)

    def _hosts(self) -> list[str]:
        allowed = self._project.settings.allowed_hosts or ()
        return [each for host in allowed for each in ((f"*{host}", host[1:]) if host.startswith(".") else (host,))]

    def _name(self, hosted: HostedApp) -> str:
        twice = [each for each in self._project.hosted if each.name == hosted.name]
        number = str(twice.index(hosted) + 1) if len(twice) > 1 else ""
        return f"{hosted.name.replace('.', '_')}_app{number}"

    def _is_exported(self, hosted: HostedApp) -> bool:
        exported = getattr(sys.modules[hosted.name], "app", None)
        return exported is not None and exported is getattr(hosted, "_fastapi", None)


def test_text(project: Project) -> str:
    """A test of the written app that needs nothing but itself: it starts, and it knows Flask's cookie."""
    routes = [native.route for native in project.natives if isinstance(native.route, Route)]
    paths = sorted({route.path for route in routes if "GET" in (route.methods or ()) and "{" not in route.path})
    test = _TEST.format(paths="".join(f'    "{path}",\n' for path in paths))
    return test + _SESSIONS if project.app.secret_key and not project.stores_sessions else test


_RUN = (
    "        for each in apps:",
    "            router.states[id(each)] = await stack.enter_async_context(running(each))",
)
_TEST = '''"""The site starts, and answers."""

import pytest
from starlette.testclient import TestClient

from asgi import app

PATHS = [
{paths}]


@pytest.fixture(scope="module")
def client():
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
def test_it_answers(client, path):
    assert client.get(path).status_code < 500


def test_what_is_not_there_is_404(client):
    assert client.get("/no-such-page-anywhere").status_code == 404
'''
_SESSIONS = """

def test_a_cookie_of_flasks_is_read_and_one_of_ours_is_flasks():
    sessions = pytest.importorskip("flask.sessions")
    flask = pytest.importorskip("flask")
    from async_support.flask_session import FlaskSessions
    from asgi import settings

    theirs = flask.Flask("other")
    theirs.secret_key = settings.keys[-1]
    signed = sessions.SecureCookieSessionInterface().get_signing_serializer(theirs)
    ours = FlaskSessions(app, settings)._signed
    kept = {"user_id": 7, "_flashes": [("message", "Saved.")], "_permanent": True}
    assert ours.loads(signed.dumps(kept)) == signed.loads(ours.dumps(kept)) == kept
"""
