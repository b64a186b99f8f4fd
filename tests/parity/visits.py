"""Each app with its stories, told to both servers; what came of it."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from tests.parity.comparison import differences
from tests.parity.packages import overlay
from tests.parity.servers import gateway, plain
from tests.parity.visitor import Exchange, Visitor

Story = Callable[[Visitor], None]


@dataclass(frozen=True)
class App:
    """``module`` in apps/ has the app, the one of the same name in stories/ its stories."""

    module: str
    title: str
    factory: str = "app"
    env: Mapping[str, str] = field(default_factory=dict)
    native: Mapping[str, str] = field(default_factory=dict)
    """What X-Served-By has to say for some requests ("GET /": "native"); for the others it is "legacy"."""
    switches: str = ""

    @property
    def path(self) -> str:
        return f"tests.parity.apps.{self.module}:{self.factory}"

    @property
    def stories(self) -> list[Story]:
        module = import_module(f"tests.parity.stories.{self.module}")
        functions = [value for value in vars(module).values() if inspect.isfunction(value)]
        return [story for story in functions if story.__module__ == module.__name__ and story.__name__[0] != "_"]


APPS = (
    App(
        "flaskr_blog",
        "Flaskr, two native routes behind its hooks",
        native={
            **dict.fromkeys(("GET /", "HEAD /", "GET / (in a crowd)"), "native"),
            **dict.fromkeys(("GET /hello", "HEAD /hello"), "legacy; fallback"),
        },
        env={"GRAFT_NATIVE": "tests.parity.flaskr_native"},
        switches='["GET /"]\nshare = 100\n["GET /hello"]\nshare = 100\n',
    ),
    App("dash_board", "Dash, background callbacks"),
    App("caching", "Flask-Caching"),
    App("compress", "Flask-Compress"),
    App("httpauth", "Flask-HTTPAuth"),
    App("login", "Flask-Login, Flask-Principal, Flask-WTF"),
    App("extensions", "Flask-Session, -Mail, -Uploads, -Assets, -Executor, -JWT-Extended"),
    App("restx", "Flask-RESTX"),
    App("smorest", "Flask-Smorest"),
    App("babel", "Flask-Babel"),
    App("sqlalchemy_pool", "Flask-SQLAlchemy, Flask-Migrate, a pool of one"),
    App("peewee_notes", "peewee"),
    App("admin", "Flask-Admin"),
    App("security", "Flask-Security"),
    App("oauth", "Authlib's Flask client"),
    App("sentry", "Sentry SDK"),
    App("telemetry", "OpenTelemetry's Flask instrumentation"),
    App("exporter", "prometheus-flask-exporter"),
    App("django_site", "Django"),
    App("pyramid_site", "Pyramid"),
)


@dataclass
class Outcome:
    answers: int = 0
    seconds: float = 0.0
    differences: list[str] = field(default_factory=list)


def compare(app: App, folder: Path) -> Outcome:
    """Start both servers, tell each the stories of the app, compare what they answered."""
    began = time.monotonic()
    outcome = Outcome()
    overlay()
    with ExitStack() as stack, ThreadPoolExecutor(2) as threads:
        both = (
            plain(app.path, folder / "plain", app.env),
            gateway(app.path, folder / "gateway", app.env, app.switches),
        )
        running = list(threads.map(stack.enter_context, both))
        for story in app.stories:
            visits = list(threads.map(_tell, (story, story), (server.base_url for server in running)))
            outcome.answers += len(visits[1])
            told = [*differences(*visits), *_served_by_another(app, visits[1])]
            outcome.differences += [f"{story.__name__}: {line}" for line in told]
    outcome.seconds = time.monotonic() - began
    return outcome


def _served_by_another(app: App, exchanges: list[Exchange]) -> list[str]:
    sides = [
        (one.what, one.response.headers.get("x-served-by"), app.native.get(one.what, "legacy")) for one in exchanges
    ]
    return [f"{what}: served by {side}, not by {meant}" for what, side, meant in sides if side != meant]


def _tell(story: Story, base_url: str) -> list[Exchange]:
    with Visitor(base_url) as visitor:
        story(visitor)
        return visitor.exchanges
