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

    @property
    def path(self) -> str:
        return f"tests.parity.apps.{self.module}:{self.factory}"

    @property
    def stories(self) -> list[Story]:
        module = import_module(f"tests.parity.stories.{self.module}")
        functions = [value for value in vars(module).values() if inspect.isfunction(value)]
        return [story for story in functions if story.__module__ == module.__name__ and story.__name__[0] != "_"]


APPS = (
    App("caching", "Flask-Caching"),
    App("compress", "Flask-Compress"),
    App("httpauth", "Flask-HTTPAuth"),
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
        both = (plain(app.path, folder / "plain", app.env), gateway(app.path, folder / "gateway", app.env))
        running = list(threads.map(stack.enter_context, both))
        for story in app.stories:
            visits = list(threads.map(_tell, (story, story), (server.base_url for server in running)))
            outcome.answers += len(visits[1])
            outcome.differences += [f"{story.__name__}: {line}" for line in differences(*visits)]
    outcome.seconds = time.monotonic() - began
    return outcome


def _tell(story: Story, base_url: str) -> list[Exchange]:
    with Visitor(base_url) as visitor:
        story(visitor)
        return visitor.exchanges
