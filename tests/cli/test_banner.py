"""What is said before the gateway serves."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from graft.cli import banner
from graft.cli.servers import Plan, Server
from graft.settings import Settings


def _answer(request: object) -> Response:
    return Response()


ROUTES: list[BaseRoute] = [
    Mount("/_graft", routes=[]),
    Route("/search", _answer),
    Route("/api/search", _answer),
    Mount("/", app=Response()),
]
GUNICORN = Plan(Server.GUNICORN, [], workers=2)


def _facts(plan: Plan = GUNICORN, routes: list[BaseRoute] | None = None, **settings: Any) -> dict[str, str]:
    return dict(banner.facts(Settings.load(**settings), plan, ROUTES if routes is None else routes))


def test_it_names_the_server_the_sides_and_the_addresses_worth_opening() -> None:
    facts = _facts(port=8123, data=Path("var"))
    assert facts["server"].endswith(", 2 workers")
    assert facts["native"] == "async_routes, 2 routes"
    assert facts["search"] == "embedded engine, in var/"
    assert facts["home"] == "http://127.0.0.1:8123/"
    assert facts["search page"] == "http://127.0.0.1:8123/search"
    assert facts["dashboard"] == "http://127.0.0.1:8123/_graft/"
    assert facts["loop"] in ("uvloop", "asyncio")


def test_only_pages_that_exist_are_offered() -> None:
    facts = _facts(routes=[ROUTES[2], ROUTES[3]], port=8123)
    assert facts["native"] == "async_routes, 1 route"
    assert "search page" not in facts
    assert "dashboard" not in facts


@pytest.mark.parametrize(
    ("host", "home"),
    [("0.0.0.0", "http://127.0.0.1:80/"), ("::", "http://[::1]:80/"), ("example.org", "http://example.org:80/")],
)
def test_the_home_address_is_one_that_a_browser_can_open(host: str, home: str) -> None:
    assert _facts(host=host, port=80)["home"] == home


def test_a_free_port_has_no_address_yet() -> None:
    facts = _facts(port=0)
    assert "free port" in facts["home"]
    assert "dashboard" not in facts


def test_an_elasticsearch_is_shown_without_its_credentials() -> None:
    shown = _facts(elasticsearch_url="https://user:secret@one:9200/es?key=1,http://two:9200")["search"]
    assert shown == "Elasticsearch at https://one:9200/es, http://two:9200"


def test_reload_says_what_it_does() -> None:
    assert "when a file changes" in _facts(Plan(Server.UVICORN, [], reload=True))["server"]


def test_the_flask_app_alone_promises_nothing_native() -> None:
    facts = _facts(Plan(Server.FLASK, [], lost=["no native routes"]))
    assert facts["warning"] == "no native routes"
    assert not {"native", "search", "loop", "dashboard"} & set(facts)


def test_without_uvloop_the_loop_is_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert _facts()["loop"] == "asyncio"
    broken = type(sys)("uvloop")
    broken.__spec__ = None
    monkeypatch.setitem(sys.modules, "uvloop", broken)
    assert _facts()["loop"] == "asyncio"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_plain_lines_and_a_terminal_a_panel() -> None:
    log, terminal = io.StringIO(), _Terminal()
    for file in (log, terminal):
        plan = Plan(Server.GUNICORN, [], lost=["[bold]not markup[/bold]"])
        banner.show(Settings.load(legacy="shop:app"), plan, ROUTES, file)
    assert log.getvalue().startswith("Graft ")
    assert "  legacy       shop:app\n" in log.getvalue()
    assert "\x1b" not in log.getvalue()
    assert "╭" in terminal.getvalue()
    assert "[bold]not markup[/bold]" in terminal.getvalue()


def test_it_tells_whether_the_express_way_is_open() -> None:
    settings, plan = Settings.load(legacy="shop:app"), GUNICORN
    assert dict(banner.facts(settings, plan, ROUTES))["express way"] == "open"
    closed = dict(banner.facts(settings, plan, ROUTES, "GZipMiddleware stands in front of the app"))
    assert closed["express way"] == "closed: GZipMiddleware stands in front of the app"
